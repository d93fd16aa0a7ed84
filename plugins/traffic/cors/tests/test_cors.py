"""Who asks, and what a browser is told."""

from typing import Any

import pytest
from pydantic import ValidationError

from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.interfaces import Policy
from agentgateway.testing import PolicyContract, http, make, run_phase

APP = "https://app.example.com"


class TestCors(PolicyContract):
    name = "cors"
    config = {"allowOrigins": [APP], "allowMethods": ["GET"], "maxAge": "10s"}
    levels = ("gateway", "route")


def cors(*origins: str, **config: Any) -> Policy:
    made = make("agentgateway.policies", "cors", {"allowOrigins": list(origins), **config})
    assert isinstance(made, Policy)
    return made


def preflight(origin: str, method: str = "PUT", headers: str = "") -> Exchange:
    asked = {"origin": origin, "access-control-request-method": method}
    return http("OPTIONS", "/", headers=asked | ({"access-control-request-headers": headers} if headers else {}))


async def answered(policy: Policy, exchange: Exchange) -> dict[str, str]:
    """The headers of the reply to that exchange, as the pipeline would send them."""
    reply = await run_phase(policy, "accept", exchange)
    exchange.reply = reply or exchange.reply or Reply(200, Headers(), upstream=True)
    await run_phase(policy, "post_response", exchange)
    for name, value in exchange.reply_headers:
        exchange.reply.headers.set(name, value)
    return dict(exchange.reply.headers)


async def test_a_preflight_from_an_allowed_origin_is_answered() -> None:
    policy = cors(APP, allowMethods=["PUT", "DELETE"], allowHeaders=["X-One", "x-two"], maxAge="1m30s")
    exchange = preflight(APP)
    assert await answered(policy, exchange) == {
        "access-control-allow-origin": APP,
        "access-control-allow-methods": "PUT, DELETE",
        "access-control-allow-headers": "x-one, x-two",
        "access-control-max-age": "90",
        "vary": "access-control-request-method, access-control-request-headers, origin",
    }
    assert exchange.reply is not None and (exchange.reply.status, exchange.reply.body) == (200, b"")


async def test_a_preflight_from_another_origin_gets_a_200_that_says_nothing() -> None:
    exchange = preflight("https://evil.example")
    assert await answered(cors(APP), exchange) == {"vary": "origin"}
    assert exchange.reply is not None and exchange.reply.status == 200 and not exchange.reply.upstream


async def test_any_options_from_an_allowed_origin_is_answered_here() -> None:
    assert await run_phase(cors(APP), "accept", http("OPTIONS", "/", headers={"origin": APP})) is not None


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}])
async def test_other_options_pass(headers: dict[str, str]) -> None:
    assert await run_phase(cors(APP), "accept", http("OPTIONS", "/", headers=headers)) is None


async def test_a_request_from_an_allowed_origin_passes_and_its_reply_says_so() -> None:
    policy = cors(APP, exposeHeaders=["X-Id"], allowCredentials=True)
    exchange = http("POST", "/", headers={"origin": APP})
    assert await run_phase(policy, "accept", exchange) is None
    exchange = http("POST", "/", headers={"origin": APP})
    assert await answered(policy, exchange) == {
        "access-control-allow-origin": APP,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "x-id",
        "vary": "origin",
    }


async def test_a_refusal_can_be_read_by_the_page() -> None:
    exchange = http("POST", "/", headers={"origin": APP})
    exchange.reply = Reply.text(401, "authentication required")
    assert (await answered(cors(APP), exchange))["access-control-allow-origin"] == APP


@pytest.mark.parametrize("headers", [{}, {"origin": "https://evil.example"}])
async def test_other_requests_pass_without_headers(headers: dict[str, str]) -> None:
    assert await answered(cors(APP), http("POST", "/", headers=headers)) == {"vary": "origin"}


async def test_an_upstream_does_not_decide_who_may_read() -> None:
    exchange = http("POST", "/", headers={"origin": "https://evil.example"})
    fields = {"access-control-allow-origin": "*", "access-control-allow-credentials": "true", "x-other": "stays"}
    exchange.reply = Reply(200, Headers.of(fields), upstream=True)
    assert await answered(cors(APP), exchange) == {"x-other": "stays", "vary": "origin"}


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ([], "origin"),
        (["Accept-Encoding"], "Accept-Encoding, origin"),
        (["a", "b"], "a, b, origin"),
        (["*"], "*"),
        (["accept, Origin"], "accept, Origin"),
    ],
)
async def test_vary_keeps_what_the_upstream_says(said: list[str], sent: str) -> None:
    exchange = http("GET", "/")
    exchange.reply = Reply(200, Headers([(b"vary", value.encode()) for value in said]), upstream=True)
    assert (await answered(cors(APP), exchange))["vary"] == sent


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        (APP, APP, True),
        (APP, "https://APP.example.com", True),
        (APP, "http://app.example.com", False),
        (APP, "https://app.example.com:8443", False),
        (APP, "https://app.example.com.evil.example", False),
        (APP, "https://appXexample.com", False),
        ("https://app.example.com:8443", "https://app.example.com:8443", True),
        ("https://*.example.com", APP, True),
        ("https://*.example.com", "https://a.b.example.com", True),
        ("https://*.example.com", "https://example.com", False),
        ("https://*.example.com", "https://evilexample.com", False),
        ("https://*.example.com", "https://evil.com/.example.com", False),
        ("https://*.example.com", "https://user@app.example.com", False),
        ("http://localhost:*", "http://localhost:5173", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "http://localhost:5173.evil.example", False),
        ("https://*:8443", "https://any.example:8443", True),
        ("http://*:*", "http://any.example:1", True),
        ("http://[::1]:*", "http://[::1]:3000", True),
        ("capacitor://localhost", "capacitor://localhost", True),
        ("*", "https://any.example:1", True),
        ("*", "null", True),
        ("null", "null", True),
        (APP, "null", False),
        ("*", "two words", False),
    ],
)
async def test_origins_match_their_patterns(pattern: str, origin: str, allowed: bool) -> None:
    headers = await answered(cors(pattern), http("GET", "/", headers={"origin": origin}))
    assert headers.get("access-control-allow-origin") == (origin if allowed else None)


async def test_with_credentials_any_origin_does_not_mean_sandboxed_pages() -> None:
    policy = cors("*", allowCredentials=True)
    assert "access-control-allow-origin" not in await answered(policy, http("GET", "/", headers={"origin": "null"}))
    assert "access-control-allow-origin" in await answered(policy, http("GET", "/", headers={"origin": APP}))


async def test_a_star_allows_the_methods_and_headers_that_are_asked_for() -> None:
    policy = cors("*", allowMethods=["*"], allowHeaders=["*"])
    headers = await answered(policy, preflight(APP, "PATCH", "x-one,x-two"))
    assert headers["access-control-allow-methods"] == "PATCH"
    assert headers["access-control-allow-headers"] == "x-one,x-two"
    headers = await answered(policy, preflight(APP, "PATCH /", "x one"))
    assert "access-control-allow-methods" not in headers and "access-control-allow-headers" not in headers


@pytest.mark.parametrize(
    "origin", ["app.example.com", "https://", "https://a*.example.com", "https://*example.com", "https://x/path", ""]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(ValidationError):
        cors(origin)


def test_what_is_no_method_is_refused() -> None:
    with pytest.raises(ValidationError):
        cors(APP, allowMethods=["GET, POST"])
