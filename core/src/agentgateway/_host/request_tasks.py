"""The requests of a connection behind Hypercorn: a task each, in which the application runs."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.protocol.ws_stream import WSStream

from agentgateway._host.client_frames import Frames
from agentgateway._host.face import INTAKE, PEER, TARGET, Intake
from agentgateway._host.h11_protocol import H11

if TYPE_CHECKING:
    from agentgateway._host.connection import Connection
    from agentgateway._host.face import App, Peer

logger = logging.getLogger("agentgateway.server")


class Requests(TaskGroup):
    """Runs the application on behalf of one peer."""

    def __init__(self, connection: Connection, app: App, peer: Peer) -> None:
        super().__init__(connection.loop)
        self._connection = connection
        self._app = app
        self._peer = peer

    def begin(self, scope: Any, send: Any) -> Intake:
        """Begin a request, which takes what is put there."""
        intake = Intake()
        self.spawn(self._serve, scope, intake, send)
        return intake

    async def spawn_app(self, app: object, config: object, scope: Any, send: Any) -> Callable[..., Awaitable[None]]:
        """As Hypercorn's streams ask for it."""
        return self.begin(scope, send).put

    async def _serve(self, scope: Any, intake: Intake, send: Any) -> None:
        connection, stream, extensions = self._connection, send.__self__, scope["extensions"]
        if isinstance(stream, WSStream):
            Frames(stream, intake)
            connection.sockets.add(intake)
        extensions[PEER] = self._peer
        extensions[INTAKE] = intake
        spoken = connection.protocol.protocol
        if isinstance(spoken, H11):
            extensions[TARGET] = spoken.target
        try:
            await self._app(scope, intake.get, send)
        except Exception:
            logger.exception("the application failed")
        finally:
            intake.abandon()  # else the connection could be waiting for somebody to take more
            connection.sockets.discard(intake)
            await connection.reset(stream)
            await send(None)
