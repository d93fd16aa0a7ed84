"""Conversations with child processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from agentgateway.exchange import Exchange
from agentgateway_mcp.child import Child, Launch
from agentgateway_mcp.conversations import Conversation
from agentgateway_mcp.correspondence import Correspondence
from agentgateway_mcp.multiplexed import Multiplexed
from agentgateway_mcp.servers import Answer


class ChildSession(Conversation):
    """A child of one client. `served` says that it has said something; `on_end` is told how it ended."""

    kind: ClassVar[type[Correspondence]] = Correspondence

    def __init__(self, launch: Launch, on_end: Callable[[ChildSession, str], None]) -> None:
        super().__init__()
        self.child = Child(launch, self._hear, self._over)
        self.correspondence = self.kind(self._reply, 2 * launch.line_limit)
        self.served = False
        self._on_end = on_end

    async def deliver(self, message: bytes, exchange: Exchange) -> Answer | None:
        await self.child.write(message)
        return None

    def cancel(self, notification: bytes, exchange: Exchange) -> None:
        self.child.tell(notification)

    async def close(self) -> None:
        await self.child.stop()

    def _reply(self, message: bytes) -> None:
        self.child.tell(message)

    def _hear(self, line: bytes) -> None:
        self.correspondence.hear(line)
        self.served = True

    def _over(self, how: str) -> None:
        self.ended = True
        self.correspondence.fail(how)
        self._on_end(self, how)


class SharedChild(ChildSession):
    """The child of all clients without sessions."""

    kind = Multiplexed
