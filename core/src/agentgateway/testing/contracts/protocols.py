"""The suite for protocols."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import entry_points
from typing import ClassVar

from agentgateway.errors import GatewayError, InternalError, NotFound, RateLimited
from agentgateway.interfaces import (
    Protocol,
)
from agentgateway.testing.contracts.plugin import CANARY
from agentgateway.testing.exchanges import http
from agentgateway.testing.hosts import LoopbackHost


class ProtocolContract:
    """`name` is a protocol's entry point."""

    __test__ = False
    name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.__test__ = hasattr(cls, "name")

    @property
    def protocol(self) -> Protocol:
        (point,) = entry_points(group="agentgateway.protocols", name=self.name)
        made: Protocol = point.load()(LoopbackHost())
        return made

    async def test_it_writes_every_error_with_its_status_and_headers(self) -> None:
        for error in (NotFound(), RateLimited(headers=[("retry-after", "7")]), InternalError(detail=CANARY)):
            reply = self.protocol.error(http("POST", "/"), error)
            assert reply.status == error.status
            assert isinstance(reply.body, bytes)
            assert error.message.encode() in reply.body
            assert CANARY.encode() not in reply.body
            assert [reply.headers.get(name) for name, _ in error.headers] == [value for _, value in error.headers]

    async def test_what_it_cannot_read_is_an_error_and_not_a_crash(self) -> None:
        for body in (b"", b"{", b"\xff", b"[]", b"null", b'{"model": 7}', b"[" * 10_000):
            exchange = http("POST", "/", body=body)
            with suppress(GatewayError):
                await self.protocol.decode(exchange)
