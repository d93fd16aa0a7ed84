"""ASGI to Exchange and back: the data plane behind Hypercorn, for HTTP/1.1 and HTTP/2.

A request is one `Conversation`, a WebSocket one `SocketConversation`. The former lends the pipeline a body that is read
as the pipeline asks for it, and a `write` that puts the reply on the wire at the pace the client reads it; a client
that leaves cancels its pipeline at once, whatever that is waiting for.
"""

from __future__ import annotations

from agentgateway._host.conversation import Conversation
from agentgateway._host.face import App, Receive, Runtime, Scope, Send


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
                await self._relay(port, scope, receive, send)
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

    async def _relay(self, port: int, scope: Scope, receive: Receive, send: Send) -> None:
        from agentgateway._host.socket_conversation import SocketConversation  # wsproto and the relay, on first use

        runtime = self.runtime
        gateway = runtime.gateway
        gateway.active += 1
        try:
            await SocketConversation(scope, receive, send, gateway, runtime).hold(gateway.binds.get(port))
        finally:
            gateway.active -= 1


async def lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop: the runtime does both."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
