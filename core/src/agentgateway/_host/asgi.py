"""ASGI to Exchange and back: the data plane behind Hypercorn, for HTTP/1.1 and HTTP/2.

A request is one `Conversation`. It lends the pipeline a body that is read as the pipeline asks for it, and a `write`
that puts the reply on the wire at the pace the client reads it; a client that leaves cancels its pipeline at once,
whatever that is waiting for.
"""

from __future__ import annotations

from agentgateway._host.conversation import Conversation
from agentgateway._host.face import App, Receive, Runtime, Scope, Send
from agentgateway._host.reply_head import CLOSE


class DataPlane:
    """The ASGI applications of the ports."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def app(self, port: int) -> App:
        """The application behind the bind of that (configured) port."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            kind = scope["type"]
            if kind == "http":
                await self._serve(port, scope, receive, send)
            elif kind == "websocket":
                await refuse_websocket(scope, send)
            else:
                await lifespan(receive, send)

        return application

    async def _serve(self, port: int, scope: Scope, receive: Receive, send: Send) -> None:
        runtime = self.runtime
        gateway = runtime.gateway
        gateway.active += 1
        try:
            await Conversation(scope, receive, send, gateway, runtime).hold(gateway.binds.get(port))
        finally:
            gateway.active -= 1


async def refuse_websocket(scope: Scope, send: Send) -> None:
    """WebSockets are not served yet: 501."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = b"websockets are not supported"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body)), CLOSE]
    await send({"type": "websocket.http.response.start", "status": 501, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


async def lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop: the runtime does both."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
