"""Requests are counted when they come, tokens when they were used."""

from typing import Any

import pytest
from pydantic import ValidationError

from agentgateway.errors import ConfigError, Forbidden, RateLimited
from agentgateway.exchange import Exchange, Usage
from agentgateway.interfaces import Policy
from agentgateway.testing import LoopbackHost, PolicyContract, chat, http, make, run_phase


class TestRequests(PolicyContract):
    name = "localRateLimit"
    config = [{"maxTokens": 10, "tokensPerFill": 10, "fillInterval": "1s"}]


class TestTokens(PolicyContract):
    name = "localRateLimit"
    config = [{"maxTokens": 10, "tokensPerFill": 1, "fillInterval": "1s", "type": "tokens"}]


def limit(tokens: int, **fields: Any) -> dict[str, Any]:
    return {"maxTokens": tokens, "tokensPerFill": 1, "fillInterval": "1h", **fields}


def policy(*limits: dict[str, Any], host: LoopbackHost | None = None) -> Policy:
    made = make("agentgateway.policies", "localRateLimit", list(limits), host)
    assert isinstance(made, Policy)
    return made


def test_limits_of_tokens_are_about_model_calls_alone() -> None:
    assert policy(limit(1), limit(2, type="tokens"), limit(3)).models_only == ["[1].type"]


async def ask(limits: Policy, exchange: Exchange | None = None) -> dict[str, str]:
    exchange = exchange or http("GET", "/")
    await run_phase(limits, "pre_request", exchange)
    return dict(exchange.reply_headers)


async def call(limits: Policy, usage: Usage | None, *, sent: bool = True, **headers: str) -> Exchange:
    exchange = chat(headers=headers)
    exchange.attempt.number = 1
    await run_phase(limits, "route", exchange)
    exchange.sent_at = 1.0 if sent else None
    exchange.usage = usage
    await run_phase(limits, "log", exchange)
    return exchange


async def call_refused(limits: Policy, exchange: Exchange) -> None:
    exchange.attempt.number = 1
    await run_phase(limits, "route", exchange)


# --- requests ---------------------------------------------------------------------------------------------------------


async def test_requests_pass_until_the_bucket_is_empty() -> None:
    limits = policy(limit(2))
    assert await ask(limits) == {"x-ratelimit-limit": "2", "x-ratelimit-remaining": "1", "x-ratelimit-reset": "3600"}
    assert (await ask(limits))["x-ratelimit-remaining"] == "0"
    exchange = http("GET", "/")
    with pytest.raises(RateLimited) as refused:
        await ask(limits, exchange)
    assert refused.value.status == 429 and dict(refused.value.headers) == {"retry-after": "3600"}
    assert dict(exchange.reply_headers)["x-ratelimit-remaining"] == "0"


async def test_all_limits_hold_and_the_tightest_is_reported() -> None:
    limits = policy(limit(5), limit(1))
    assert (await ask(limits))["x-ratelimit-limit"] == "1"
    with pytest.raises(RateLimited) as refused:
        await ask(limits)
    assert refused.value.detail == "localRateLimit[1]"


async def test_a_refusal_takes_nothing_from_the_limits_after_it() -> None:
    limits = policy(limit(2), limit(1), limit(9))
    await ask(limits)
    with pytest.raises(RateLimited) as refused:
        await ask(limits)
    assert refused.value.detail == "localRateLimit[1]"
    with pytest.raises(RateLimited) as refused:
        await ask(limits)
    assert refused.value.detail == "localRateLimit[0]"
    (participant,) = limits.participants()
    last = participant.hooks._others[-1]  # type: ignore[attr-defined]
    assert last.buckets.take("", last.rule, 0).remaining == 8


async def test_of_equally_tight_limits_the_first_is_reported() -> None:
    assert await ask(policy(limit(3), limit(3, fillInterval="2h"))) == {
        "x-ratelimit-limit": "3",
        "x-ratelimit-remaining": "2",
        "x-ratelimit-reset": "3600",
    }


async def test_who_told_the_client_first_is_not_contradicted() -> None:
    exchange = http("GET", "/")
    await ask(policy(limit(9)), exchange)
    assert await ask(policy(limit(5)), exchange) == {
        "x-ratelimit-limit": "9",
        "x-ratelimit-remaining": "8",
        "x-ratelimit-reset": "3600",
    }
    strict = policy(limit(1))
    await ask(strict)
    with pytest.raises(RateLimited):
        await ask(strict, exchange)
    assert dict(exchange.reply_headers)["x-ratelimit-limit"] == "1"


async def test_each_key_has_a_bucket_of_its_own() -> None:
    limits = policy(limit(1, key='request.headers["x-user"]'))
    for user in ("ann", "bob", "x" * 1000, "x" * 1001):
        await ask(limits, http(headers={"x-user": user}))
    with pytest.raises(RateLimited):
        await ask(limits, http(headers={"x-user": "ann"}))


@pytest.mark.parametrize("key", ["1", "1.5", "true", '"text"', 'b"bytes"'])
async def test_a_key_may_be_any_scalar(key: str) -> None:
    assert (await ask(policy(limit(3, key=key))))["x-ratelimit-remaining"] == "2"


@pytest.mark.parametrize("key", ['request.headers["x-user"]', "null", "[1]", '{"a": 1}'])
async def test_without_a_key_the_request_is_refused(key: str) -> None:
    with pytest.raises(Forbidden) as refused:
        await ask(policy(limit(3, key=key)))
    assert refused.value.detail.startswith("localRateLimit[0]: its key")


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_tokens_are_charged_when_they_were_used_and_may_go_below_zero() -> None:
    limits = policy(limit(100, type="tokens"))
    first = await call(limits, Usage(input_tokens=60, output_tokens=30))
    assert dict(first.reply_headers)["x-ratelimit-remaining"] == "100"
    second = await call(limits, Usage(input_tokens=60, output_tokens=30))
    assert dict(second.reply_headers)["x-ratelimit-remaining"] == "10"
    with pytest.raises(RateLimited) as refused:
        await call(limits, Usage(1, 1))
    assert "retry-after" in dict(refused.value.headers)


async def test_the_limit_with_fewest_tokens_left_is_reported() -> None:
    limits = policy(limit(100, type="tokens"), limit(50, type="tokens"), limit(70, type="tokens"))
    await call(limits, Usage(60, 0))
    exchange = chat()
    with pytest.raises(RateLimited) as refused:
        await call_refused(limits, exchange)
    assert refused.value.detail == "localRateLimit[1]"
    assert dict(exchange.reply_headers)["x-ratelimit-limit"] == "50"


async def test_estimated_tokens_are_charged_as_well() -> None:
    limits = policy(limit(10, type="tokens"))
    await call(limits, Usage(5, 5, estimated=True))
    with pytest.raises(RateLimited):
        await call(limits, None)


async def test_what_never_reached_the_upstream_costs_nothing() -> None:
    limits = policy(limit(10, type="tokens"))
    await call(limits, Usage(50, 50), sent=False)
    await call(limits, None)
    assert dict((await call(limits, None)).reply_headers)["x-ratelimit-remaining"] == "10"


async def test_a_refused_call_is_not_charged() -> None:
    limits = policy(limit(10, type="tokens"))
    await call(limits, Usage(10, 0))
    exchange = chat()
    exchange.attempt.number, exchange.sent_at, exchange.usage = 1, 1.0, Usage(10**6, 0)
    with pytest.raises(RateLimited):
        await run_phase(limits, "route", exchange)
    (participant,) = limits.participants()
    await run_phase(limits, "log", exchange)
    assert participant.hooks._owners == {}  # type: ignore[attr-defined]


async def test_a_retry_is_not_asked_again() -> None:
    limits = policy(limit(10, type="tokens"))
    await call(limits, Usage(10, 0))
    exchange = chat()
    exchange.attempt.number = 2
    assert await run_phase(limits, "route", exchange) is None


async def test_tokens_are_charged_to_who_asked() -> None:
    limits = policy(limit(10, type="tokens", key='request.headers["x-user"]'))
    await call(limits, Usage(10, 0), **{"x-user": "ann"})
    await call(limits, Usage(10, 0), **{"x-user": "bob"})
    with pytest.raises(RateLimited):
        await call(limits, None, **{"x-user": "ann"})


async def test_a_request_that_calls_no_model_needs_no_tokens() -> None:
    limits = policy(limit(1, type="tokens"))
    await call(limits, Usage(10, 0))
    listing = http("GET", "/v1/models")
    listing.attempt.number = 1
    assert await run_phase(limits, "route", listing) is None


# --- configuration ----------------------------------------------------------------------------------------------------


async def test_a_reload_leaves_the_buckets_of_an_unchanged_limit() -> None:
    host = LoopbackHost()
    await ask(policy(limit(1), host=host))
    with pytest.raises(RateLimited):
        await ask(policy(limit(1), host=host))
    await ask(policy(limit(2), host=host))


async def test_equal_limits_do_not_share_a_bucket() -> None:
    assert (await ask(policy(limit(2), limit(2))))["x-ratelimit-remaining"] == "1"


@pytest.mark.parametrize(
    "fields",
    [
        {"tokensPerFill": 11},
        {"tokensPerFill": 0},
        {"maxTokens": 0},
        {"fillInterval": "0"},
        {"fillInterval": 5},
        {"type": "dollars"},
        {"burst": 3},
        {"key": ""},
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        policy(limit(10, **fields))


def test_a_key_that_is_no_expression_is_refused() -> None:
    with pytest.raises(ConfigError):
        policy(limit(10, key="request."))


def test_requests_and_tokens_stand_in_their_own_places() -> None:
    slots = [part.slot for part in policy(limit(1, type="tokens"), limit(1)).participants()]
    assert slots == ["localRateLimit", "localRateLimit.tokens"]
    assert list(policy().participants()) == []
