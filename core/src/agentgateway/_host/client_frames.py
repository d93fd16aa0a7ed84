"""A client's end of a WebSocket, where Hypercorn's would lose something: the code and the reason of its close, and the
end of a reader whose message is too long or no message at all. Compression is not agreed to, since one small frame
could hold a thousand times its size.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.ws_stream import FrameTooLargeError
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping

from agentgateway.sockets import NO_CODE, TOO_BIG

if TYPE_CHECKING:
    from hypercorn.protocol.ws_stream import WSStream

    from agentgateway._host.face import Intake


LEAVING_SECONDS = 5.0
"""How long the messages of a client that has closed may take to get to the upstream."""


class Frames:
    """Takes the place of a stream's own reading of frames."""

    def __init__(self, stream: WSStream, intake: Intake) -> None:
        stream.handshake.extensions = None
        stream._handle_events = self._handle_events  # type: ignore[method-assign]
        intake.ping = partial(stream._send_wsproto_event, Ping())
        self._stream = stream
        self._intake = intake
        self._ended = False

    async def _handle_events(self) -> None:
        stream = self._stream
        for event in stream.connection.events():
            if isinstance(event, CloseConnection):
                await self._closed(event)
            elif self._ended:
                continue
            elif isinstance(event, Ping):
                await stream._send_wsproto_event(event.response())
            elif isinstance(event, Message):
                await self._take(event)

    async def _take(self, event: Message[Any]) -> None:
        stream = self._stream
        try:
            stream.buffer.extend(event)
        except FrameTooLargeError:
            stream.buffer.clear()
            await stream._send_wsproto_event(CloseConnection(TOO_BIG))
            await self._end(TOO_BIG, "")
            return
        if event.message_finished:
            message = stream.buffer.to_message()
            stream.buffer.clear()
            await self._intake.put(message)

    async def _closed(self, event: CloseConnection) -> None:
        """The client closes, or answers our close, or sent what is no frame: then the event has the code for it."""
        stream = self._stream
        if stream.connection.state in (ConnectionState.REMOTE_CLOSING, ConnectionState.OPEN):
            await stream._send_wsproto_event(event.response())
        await self._end(NO_CODE if event.code is None else int(event.code), event.reason or "")
        await stream.send(StreamClosed(stream_id=stream.stream_id))

    async def _end(self, code: int, reason: str) -> None:
        """Let what came before be passed on, but not for long. What Hypercorn says of the end is nothing new then."""
        if not self._ended:
            self._ended = True
            self._stream.app_put = ignore
            if self._intake.left is not None:
                asyncio.get_running_loop().call_later(LEAVING_SECONDS, self._intake.left)
            await self._intake.put({"type": "websocket.disconnect", "code": code, "reason": reason})


async def ignore(message: object) -> None:
    """Where messages go that nobody waits for."""
