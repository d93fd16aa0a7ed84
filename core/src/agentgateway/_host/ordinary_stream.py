"""An ordinary request as a stream of Hypercorn's, without the events between a stream and its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from hypercorn.events import RawData
from hypercorn.protocol.events import StreamClosed
from hypercorn.protocol.h11 import STREAM_ID
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import ConnectionState
from hypercorn.utils import UnexpectedMessageError

from agentgateway._host.ordinary_reply import OrdinaryReply

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hypercorn.protocol.events import Event

    from agentgateway._host.h11_protocol import H11
    from agentgateway._host.ordinary_head import OrdinaryHead
    from agentgateway._host.request_tasks import Requests

_REQUEST, _RESPONSE, _CLOSED = ASGIHTTPState.REQUEST, ASGIHTTPState.RESPONSE, ASGIHTTPState.CLOSED


class OrdinaryStream(HTTPStream):
    """Made when its head has come, and begun with that. `owed` are the bytes of the body still to come. What is sent
    while it is `void` comes to nothing."""

    def __init__(self, protocol: H11, head: OrdinaryHead) -> None:
        known = (protocol.app, protocol.config, protocol.context, protocol.task_group, protocol.ssl)
        super().__init__(*known, protocol.client, protocol.server, protocol.stream_send, STREAM_ID)
        self.owed = head.length
        self.void = False
        self.reply = OrdinaryReply()
        self._protocol = protocol
        path, _, query = head.target.partition(b"?")
        self.scope = {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": head.method,
            "scheme": self.scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": self.config.root_path,
            "headers": head.headers,
            "client": self.client,
            "server": self.server,
            "state": ConnectionState(protocol.connection_state.copy()),
            "extensions": {},
        }
        self._intake = cast("Requests", protocol.task_group).begin(self.scope, self.app_send)
        self.app_put = cast("Callable[[Any], Awaitable[None]]", self._intake.put)
        if not head.length:
            self.put_first(b"")

    def put_first(self, body: bytes) -> None:
        """What of the request's body came with its head."""
        self.owed -= len(body)
        self._intake.put_first({"type": "http.request", "body": body, "more_body": self.owed > 0})

    async def put(self, body: bytes) -> None:
        """A piece of the request's body. Waits while nobody takes what came before."""
        self.owed -= len(body)
        await self.app_put({"type": "http.request", "body": body, "more_body": self.owed > 0})

    async def handle(self, event: Event) -> None:
        """Of Hypercorn's events there is one left: the client has gone, or the reply is out."""
        if type(event) is StreamClosed and not self.closed:
            self.closed = True
            await self.app_put({"type": "http.disconnect"})

    async def app_send(self, message: Any) -> None:
        """What the application has to say; None when it is through."""
        if message is None:
            await self._through()
        elif message["type"] == "http.response.start" and self.state is _REQUEST:
            await self._write(self.reply.head(message["status"], message.get("headers", ())))
            self.state = _RESPONSE
        elif message["type"] == "http.response.body" and self.state is _RESPONSE:
            data = self.reply.part(message.get("body", b""))
            if message.get("more_body", False):
                await self._write(data)
            else:
                await self._write(data + self.reply.end())
                await self._end()
        else:
            raise UnexpectedMessageError(self.state, message["type"])

    async def _through(self) -> None:
        if self.closed:
            return
        if self.state is _REQUEST:
            head = self.reply.head(500, [(b"content-length", b"0"), (b"connection", b"close")])
            await self._write(head + self.reply.end())
        await self._end()

    async def _end(self) -> None:
        self.state = _CLOSED
        await self._protocol.ended(self)

    async def _write(self, data: bytes) -> None:
        if data and not self.void:
            await self._protocol.send(RawData(data))
