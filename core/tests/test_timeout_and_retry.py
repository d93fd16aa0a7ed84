"""`timeout` and `retry`: what they tell the attempts."""

import pytest
from pydantic import TypeAdapter, ValidationError

from agentgateway._host.builtin.retry import Retry
from agentgateway._host.builtin.timeout import Timeout
from agentgateway._host.upstream import again, repeatable, retry_wanted
from agentgateway.errors import ConfigError, ConnectFailed, UpstreamError, UpstreamTimeout
from agentgateway.exchange import Exchange, Headers, Outgoing, Reply
from agentgateway.testing import LoopbackHost, http, run_phase


def built(kind, config):
    return kind(TypeAdapter(kind.Config).validate_python(config), LoopbackHost())


def sending(attempt: int = 1, head_timeout: float | None = None) -> Exchange:
    exchange = http("POST", "/p")
    exchange.attempt.number = attempt
    exchange.outgoing = Outgoing("POST", "http://127.0.0.1:9", "/", Headers(), head_timeout=head_timeout)
    return exchange


# --- timeout ----------------------------------------------------------------------------------------------------------


async def test_the_deadline_counts_from_the_requests_arrival():
    exchange = http()
    await run_phase(built(Timeout, {"requestTimeout": "1m30s"}), "accept", exchange)
    assert exchange.deadline == exchange.started + 90


@pytest.mark.parametrize(("before", "after"), [(5.0, 5.0), (50.0, 10.0)])
async def test_the_earlier_deadline_holds(before, after):
    exchange = http()
    exchange.deadline = exchange.started + before
    await run_phase(built(Timeout, {"requestTimeout": "10s"}), "accept", exchange)
    assert exchange.deadline == exchange.started + after


@pytest.mark.parametrize(("before", "after"), [(None, 10.0), (5.0, 5.0), (50.0, 10.0)])
async def test_an_attempt_may_wait_that_long_for_a_head(before, after):
    exchange = sending(head_timeout=before)
    await run_phase(built(Timeout, {"backendRequestTimeout": "10s"}), "upstream", exchange)
    assert exchange.outgoing.head_timeout == after


@pytest.mark.parametrize("config", [{}, {"requestTimeout": "0s", "backendRequestTimeout": "0"}])
def test_no_limit_takes_part_in_nothing(config):
    assert list(built(Timeout, config).participants()) == []


@pytest.mark.parametrize("config", [{"requestTimeout": 10}, {"requestTimeout": "-1s"}, {"timeout": "1s"}])
def test_a_wrong_timeout_is_refused(config):
    with pytest.raises(ValidationError):
        built(Timeout, config)


# --- retry ------------------------------------------------------------------------------------------------------------


async def ruled(config, attempt: int = 1) -> Exchange:
    exchange = sending(attempt)
    await run_phase(built(Retry, config), "accept", exchange)
    return exchange


async def tries(config, worth) -> int:
    """How many attempts there are when every one of them fails the same way."""
    exchange = await ruled(config)
    while worth(exchange):
        exchange.attempt.number += 1
    return exchange.attempt.number


@pytest.mark.parametrize(("config", "expected"), [({}, 2), ({"attempts": 3}, 4), ({"attempts": 0}, 1)])
async def test_attempts_come_on_top_of_the_first(config, expected):
    assert await tries(config, again) == expected


@pytest.mark.parametrize(
    ("config", "status", "expected"),
    [
        ({}, 503, False),
        ({"codes": [503, 429]}, 503, True),
        ({"codes": [503, 429]}, 500, False),
        ({"codes": [503], "condition": 'response.headers["x-retry"] == "yes"'}, 503, True),
        ({"codes": [503], "condition": 'response.headers["x-retry"] == "no"'}, 503, False),
        ({"codes": [503], "condition": 'response.headers["absent"] == "no"'}, 503, False),
        ({"condition": "response.code >= 500"}, 503, True),
        ({"condition": "response.code >= 500"}, 404, False),
    ],
)
async def test_a_reply_is_worth_another_attempt_by_its_status_and_condition(config, status, expected):
    exchange = await ruled(config)
    assert retry_wanted(exchange, Reply(status, Headers.of({"x-retry": "yes"}), upstream=True)) is expected


@pytest.mark.parametrize(
    ("precondition", "expected"),
    [
        ('request.method == "POST"', True),
        ('request.method == "GET"', False),
        ('request.headers["absent"] == ""', False),
    ],
)
async def test_only_requests_that_fit_the_precondition_are_tried_again(precondition, expected):
    assert again(await ruled({"precondition": precondition})) is expected


async def test_a_failed_connection_has_no_reply_to_ask_the_condition_about():
    assert again(await ruled({"condition": "response.code == 503"}))


@pytest.mark.parametrize(
    ("method", "config", "error", "expected"),
    [
        ("POST", {}, ConnectFailed(), True),
        ("POST", {}, UpstreamError(), False),
        ("POST", {}, UpstreamTimeout(), False),
        ("POST", {"codes": [504]}, UpstreamTimeout(), True),
        ("POST", {"codes": [504]}, UpstreamError(), False),
        ("POST", {"codes": [502, 503]}, UpstreamError(), True),
        ("POST", {"condition": "response.code == 502"}, UpstreamError(), False),
        ("PATCH", {}, UpstreamError(), False),
        *((method, {}, UpstreamError(), True) for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")),
    ],
)
async def test_what_may_have_been_executed_is_repeated_if_its_method_or_the_rule_allows(
    method, config, error, expected
):
    exchange = await ruled(config)
    exchange.outgoing.method = method
    assert repeatable(exchange, error) is expected


async def test_the_wait_between_attempts_is_in_seconds():
    assert (await ruled({"backoff": "250ms"})).retry.backoff == 0.25


@pytest.mark.parametrize(("attempt", "header"), [(1, None), (2, "1"), (3, "2")])
async def test_upstreams_learn_which_attempt_it_is(attempt, header):
    exchange = sending(attempt)
    await run_phase(built(Retry, {}), "upstream", exchange)
    assert exchange.outgoing.headers.get("x-retry-attempt") == header


def test_a_condition_that_does_not_compile_stops_the_start():
    for name in ("condition", "precondition"):
        with pytest.raises(ConfigError):
            built(Retry, {name: "no.such.variable"})


@pytest.mark.parametrize(
    "config",
    [
        {"attempts": -1},
        {"codes": ["5xx"]},
        {"codes": [99]},
        {"codes": [600]},
        {"codes": 503},
        {"backoff": 5},
        {"on": []},
    ],
)
def test_a_wrong_retry_is_refused(config):
    with pytest.raises(ValidationError):
        built(Retry, config)
