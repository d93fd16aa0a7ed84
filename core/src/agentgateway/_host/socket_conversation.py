"""A request for a WebSocket, in terms of ASGI: the eight phases of any request, whose reply is a relay."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from agentgateway._host.entrance import entrance
from agentgateway._host.face import (
    INTAKE,
    PEER,
    TARGET,
    UNKNOWN,
    Intake,
    Peer,
    Receive,
    Runtime,
    Scope,
    Send,
    note_departure,
)
from agentgateway._host.inbound_head import Head, read_head, size_of
from agentgateway._host.pipeline import discard, run
from agentgateway._host.relay import ClientClosed, relay
from agentgateway._host.reply_head import CLOSE, HOP, Field, check, fields, head_of_whole
from agentgateway.exchange import Body, ClientGone, Exchange, Headers, Reply, Source, UpgradeRequest
from agentgateway.llm.realtime import split_credential
from agentgateway.sockets import LOST, NO_CODE, Duplex, Message

if TYPE_CHECKING:
    from agentgateway._host.gateway import Bind, Gateway

logger = logging.getLogger("agentgateway.server")

HANDSHAKE = b"sec-websocket-"
LINGER_SECONDS = 1.0
"""How long a client may take to answer our close. Closing on what it still sends would take the reason from it."""


class SocketConversation:
    """One WebSocket, from its request to its end. `hold` is its whole life."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, gateway: Gateway, runtime: Runtime) -> None:
        extensions = scope["extensions"]
        self._scope = scope
        self._send = send
        self._runtime = runtime
        self._peer: Peer = extensions.get(PEER, UNKNOWN)
        self._intake: Intake = extensions.get(INTAKE) or Intake()
        self._limits = gateway.http
        self._client = Client(receive, send, gateway.http.body_timeout, self._intake)
        self._exchange: Exchange | None = None
        self._task: asyncio.Task[Any] | None = asyncio.current_task()
        self._stopped = False  # whatever goes on was cancelled, because the client left or the server ends
        self._done = False

    async def hold(self, bind: Bind | None) -> None:
        """The whole conversation. Raises nothing but cancellation that came from neither client nor server."""
        self._intake.left = self._intake.dismiss = self._stop
        try:
            head = self._head()
            listener = entrance(bind, head, self._peer)
            self._exchange = exchange = self._made(head)
            exchange.place = listener.place
            await run(exchange, listener, self._write)
        except asyncio.CancelledError:
            if not self._stopped or self._task is None or self._task.uncancel():
                raise
        except Exception:
            logger.exception("the server could not finish a reply")
        finally:
            self._done = True
            self._intake.left = self._intake.dismiss = None

    def _stop(self) -> None:
        """The client is gone, or is to be sent away."""
        if not (self._done or self._stopped):
            self._stopped = True
            note_departure(self._runtime, self._exchange)
            if self._task is not None:
                self._task.cancel()

    def _head(self) -> Head:
        scope = self._scope
        url = scope["extensions"].get(TARGET) or scope["raw_path"] + (
            b"?" + scope["query_string"] if scope["query_string"] else b""
        )
        size = size_of("GET", url, scope["headers"])
        return read_head("GET", url, scope["headers"], scope["http_version"], size, self._limits.of_heads)

    def _made(self, head: Head) -> Exchange:
        """The exchange. What belongs to the handshake is in no header any more, nor the credential that browsers put
        there because they cannot put it elsewhere: it becomes an ordinary one, unless there is one."""
        scope = self._scope
        offered, key = split_credential(scope["subprotocols"])
        headers = Headers([field for field in head.headers if not field[0].lower().startswith(HANDSHAKE)])
        if key and "authorization" not in headers:
            headers.add("authorization", f"Bearer {key}")
        version = "HTTP/2" if scope["http_version"] == "2" else "HTTP/1.1"
        scheme = "https" if scope["scheme"] in ("wss", "https") else "http"
        request = UpgradeRequest("GET", head.target, headers, Body(), scheme, head.authority, version)
        request.subprotocols = offered
        address, port = scope["client"] or ("", 0)
        return Exchange(request, Source(address.removeprefix("::ffff:"), port, self._peer.certificate))

    # --- out ---------------------------------------------------------------------------------------------------------

    async def _write(self, exchange: Exchange) -> None:
        """The relay, or a refusal. Raises `ClientGone`, and whatever ended the relay early."""
        reply = exchange.reply
        if reply is None:
            return
        if reply.status != 101 or not isinstance(reply.body, Duplex):
            await self._refuse(exchange, reply)
            return
        upstream = reply.body
        try:
            headers = [field for field in fields(reply, HOP) if not field[0].startswith(HANDSHAKE)]
            check(200, headers)
            await self._send({"type": "websocket.accept", "subprotocol": upstream.subprotocol, "headers": headers})
            await relay(self._client, upstream)
        except ClientClosed as closed:
            if closed.code == LOST:
                raise ClientGone from None
        finally:
            exchange.sent_bytes = self._client.sent
            await upstream.aclose()
        exchange.finished = True

    async def _refuse(self, exchange: Exchange, reply: Reply) -> None:
        body = reply.body
        if isinstance(body, bytes):
            headers = head_of_whole("GET", reply, body)
            await self._start(reply.status, headers)
            await self._send({"type": "websocket.http.response.body", "body": body})
            exchange.sent_bytes = len(body)
            return
        try:
            await self._start(reply.status, fields(reply, HOP))
            async for chunk in body:
                exchange.sent_bytes += len(chunk)
                await self._send({"type": "websocket.http.response.body", "body": chunk, "more_body": True})
            await self._send({"type": "websocket.http.response.body", "body": b""})
        finally:
            await discard(reply)

    async def _start(self, status: int, headers: list[Field]) -> None:
        if self._scope["http_version"] != "2":
            headers.append(CLOSE)
        check(status, headers)
        await self._send({"type": "websocket.http.response.start", "status": status, "headers": headers})


class Client(Duplex):
    """The client's end. `sent` are the bytes of the messages it was sent."""

    def __init__(self, receive: Receive, send: Send, patience: float, intake: Intake) -> None:
        self._receive = receive
        self._send = send
        self._patience = patience
        self._intake = intake
        self._gone = False
        self.sent = 0

    async def receive(self) -> Message:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
                raise ClientClosed(message.get("code", NO_CODE), message.get("reason") or "")
            if message["type"] == "websocket.receive":
                text: str | None = message.get("text")
                return text if text is not None else bytes(message["bytes"])

    async def send(self, message: Message) -> None:
        """Send, no longer than a client may pause its reading."""
        text = isinstance(message, str)
        self.sent += len(message.encode()) if isinstance(message, str) else len(message)
        try:
            async with asyncio.timeout(self._patience):
                await self._send({"type": "websocket.send", "text" if text else "bytes": message})
        except TimeoutError:
            raise ClientClosed(LOST) from None

    async def ping(self) -> None:
        if self._intake.ping is not None:
            await self._intake.ping()

    async def close(self, code: int, reason: str = "") -> None:
        if self._gone:
            return
        self._gone = True
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
                while (await self._receive())["type"] != "websocket.disconnect":
                    pass
        except TimeoutError:
            pass

    async def aclose(self) -> None:
        """Hypercorn closes when the conversation is over."""
