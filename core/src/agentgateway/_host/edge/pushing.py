"""A stream that nobody wrapped, from the upstream's socket to the client's in one callback."""

from __future__ import annotations

import asyncio

from agentgateway._host.edge.sending import Sending
from agentgateway._host.edge.wire import chunk_of
from agentgateway._host.suspension import Suspension
from agentgateway.exchange import Exchange
from agentgateway.llm.replies import LlmStream
from agentgateway.streams import Taskless


class Pushing(Suspension):
    """Chunks on their way from the upstream's socket to the client's: whoever waits for the end is woken for it, and
    for a client that reads too slowly or has left, not for each chunk."""

    __slots__ = ("_body", "_exchange", "_fault", "_over", "_sending")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sending: Sending, exchange: Exchange, body: LlmStream | Taskless
    ) -> None:
        super().__init__(loop)
        self._exchange = exchange
        self._sending = sending
        self._body = body
        self._over = False
        self._fault: Exception | None = None

    async def over(self) -> None:
        """Until the upstream's bytes end, or at once where they cannot be pushed; the end itself is still to be told.
        Raises `ClientGone`."""
        if not self._body.push(self._push, self._end):
            return
        while not self._over:
            if self._sending.congested is None:
                await self.suspend()
            else:
                await self._sending.drained()
                self._body.resume()
        if self._fault is not None:
            raise self._fault

    def _push(self, chunk: bytes) -> None:
        if self._fault is not None:
            return
        sending = self._sending
        try:
            sending.push(chunk_of(chunk))
        except Exception as fault:  # it is the client's side that failed, not the upstream's, whose callback this is
            self._fault, self._over = fault, True
            self.wake()
            return
        self._exchange.sent_bytes += len(chunk)
        if sending.congested is not None:
            self._body.pause()
            self.wake()

    def _end(self, _: Exception | None) -> None:
        self._over = True
        self.wake()
