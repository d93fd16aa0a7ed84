"""A service `ExtMcp` in this process, and a processor that asks it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from agentgateway_guardrail_ext_mcp import wire
from agentgateway_mcp.messages import McpCall

from agentgateway.exchange import Exchange
from agentgateway.testing import LoopbackHost, http, make

PASSES = b"\x0a\x00"
"""A result with an empty field 1, `pass`."""


@asynccontextmanager
async def serving(
    port: int = 0, credentials: Any = None, answer: Callable[[bytes], Any] | None = None
) -> AsyncIterator[int]:
    """The port of a service."""

    async def check(raw: bytes, context: Any) -> bytes:
        said = answer(raw) if answer is not None else PASSES
        return await said if asyncio.iscoroutine(said) else said

    methods = {f"Check{kind}": grpc.unary_unary_rpc_method_handler(check) for kind in ("Request", "Response")}
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{wire.PACKAGE}.ExtMcp", methods),))
    place = f"127.0.0.1:{port}"
    bound = server.add_secure_port(place, credentials) if credentials else server.add_insecure_port(place)
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(None)


def calling(text: str = "hi") -> Exchange:
    exchange = http("POST", "/mcp")
    params = {"name": "echo", "arguments": {"text": text}}
    exchange.call = McpCall("send", b"", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return exchange


@asynccontextmanager
async def asking(host: str, **config: Any) -> AsyncIterator[Callable[[], Any]]:
    """A function that shows a request to a processor there."""
    one = {"host": host, "methods": {"*": "full"}, **config}
    host = LoopbackHost()
    policy = make("agentgateway.policies", "mcpGuardrails", {"processors": [one]}, host)
    await policy.start()

    async def ask() -> Any:
        exchange = calling()
        policy.authz(exchange)
        (processor,) = exchange.call.processors
        return await processor.before(exchange, ("a",), exchange.call.params)

    ask.host = host
    try:
        yield ask
    finally:
        await policy.stop()


@pytest.fixture
def served() -> Any:
    return serving


@pytest.fixture
def asked() -> Any:
    return asking
