"""What the backend `host` makes of a request before it is sent."""

import pytest

from agentgateway.exchange import Body, Exchange, RetryRule, Source
from agentgateway.testing import http, make


async def prepared(exchange: Exchange) -> Exchange:
    backend = make("agentgateway.backends", "host", "127.0.0.1:9")
    (exchange.target,) = backend.targets()
    await backend.prepare(exchange)
    return exchange


async def test_hops_are_added_to_and_connection_fields_stay_here():
    client = {"x-forwarded-for": "10.0.0.1", "connection": "x-hop", "x-hop": "1", "te": "trailers", "accept": "*/*"}
    exchange = await prepared(http("GET", "/a?b=c", headers=client, source=Source("10.0.0.2", 1)))
    assert exchange.outgoing is not None
    assert exchange.outgoing.target == "/a?b=c"
    assert dict(exchange.outgoing.headers) == {
        "host": "gateway.test",
        "accept": "*/*",
        "x-forwarded-for": "10.0.0.1, 10.0.0.2",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "gateway.test",
    }


@pytest.mark.parametrize(
    ("announced", "retried", "held"), [(3, True, True), (3, False, False), (2**30, True, False), (None, True, False)]
)
async def test_a_body_is_held_for_a_retry_only_when_it_fits(announced, retried, held):
    pieces = [b"abc", None]

    async def receive() -> bytes | None:
        return pieces.pop(0)

    exchange = http("POST", "/")
    exchange.request.body = Body(None, receive=receive, length=announced)
    exchange.retry = RetryRule(1) if retried else None
    await prepared(exchange)
    assert (exchange.request.body.data == b"abc") is held
