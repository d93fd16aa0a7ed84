"""Which target gets a request: priority, health, weight, affinity, and the targets' own rules."""

import time
from collections import Counter
from email.utils import formatdate

import pytest

from agentgateway._host.balancing import Balancer, NothingFits
from agentgateway._host.chains import Step
from agentgateway._host.resets import retry_after
from agentgateway.errors import Forbidden
from agentgateway.exchange import Exchange, Headers, Target
from agentgateway.expressions import compile as compile_expression
from agentgateway.health import Health, HealthRule
from agentgateway.interfaces import Backend
from agentgateway.testing import LoopbackHost, chat
from agentgateway.variables import environment

EVICTS = HealthRule(evicts=True, duration=60.0)


def target(name: str, **fields) -> Target:
    return Target(Backend(None, LoopbackHost()), name, f"{name}:1", **fields)


def drawn(balancer: Balancer, times: int = 2000) -> Counter:
    counted: Counter = Counter()
    for _ in range(times):
        counted[chosen(balancer).target.name] += 1
    return counted


def chosen(balancer: Balancer, exchange: Exchange | None = None) -> Exchange:
    exchange = exchange or chat()
    balancer.route(exchange)
    return exchange


def test_one_target_is_nobodys_choice():
    exchange = chosen(Balancer([target("only")]))
    assert exchange.target.name == "only"
    assert not exchange.attempt.others and not exchange.attempt.watched


def test_shares_are_as_written():
    counted = drawn(Balancer([target("a", weight=9), target("b", weight=1), target("never", weight=0)]))
    assert set(counted) == {"a", "b"}
    assert 1650 < counted["a"] < 1950


def test_shares_hold_also_by_health_while_all_are_alike():
    counted = drawn(Balancer([target("a", weight=9), target("b", weight=1)], "health"))
    assert 1650 < counted["a"] < 1950


def test_the_healthier_of_two_draws_wins():
    slow, fast = target("slow"), target("fast")
    slow.health.succeeded(2.0)
    fast.health.succeeded(0.1)
    counted = drawn(Balancer([slow, fast], "health"))
    assert counted["fast"] > 1350  # three of four draws have it among them


def test_a_lower_priority_goes_first_while_any_of_it_is_active():
    first, second, spare = target("first"), target("second"), target("spare", priority=1)
    balancer = Balancer([spare, first, second], "health")
    first.health.failed(EVICTS)
    assert set(drawn(balancer)) == {"second"}
    second.health.failed(EVICTS)
    assert set(drawn(balancer)) == {"spare"}


def test_evictions_are_forgotten_rather_than_traffic_refused():
    first, spare = target("first"), target("spare", priority=1)
    first.health.failed(EVICTS)
    spare.health.failed(EVICTS)
    assert set(drawn(Balancer([first, spare], "health"), 20)) == {"first"}


def test_what_failed_this_exchange_is_left_out_until_nothing_else_is_left():
    one, other = target("one"), target("other", priority=1)
    balancer, exchange = Balancer([one, other], "health"), chat()
    assert chosen(balancer, exchange).target is one
    assert exchange.attempt.others
    exchange.attempt.failed.append(one)
    assert chosen(balancer, exchange).target is other
    assert not exchange.attempt.others
    exchange.attempt.failed.append(other)
    assert chosen(balancer, exchange).target is one


def refuses(exchange: Exchange) -> None:
    raise Forbidden("not for you")


def test_a_target_that_does_not_admit_the_caller_is_never_chosen():
    closed = target("closed", weight=1000, admits=(Step(refuses, False, "authorization"),))
    assert set(drawn(Balancer([closed, target("open")]), 50)) == {"open"}


def test_a_caller_whom_no_target_admits_is_refused():
    closed = target("closed", admits=(Step(refuses, False, "authorization"),))
    with pytest.raises(Forbidden, match="not for you"):
        chosen(Balancer([closed]))


def when(source: str):
    return compile_expression(source, environment())


def test_the_first_whose_condition_holds_and_no_other():
    vip = target("vip", when=when('request.headers["x-tier"] == "vip"'))
    rest = target("rest")
    balancer = Balancer([vip, rest], "first")
    exchange = chat()
    exchange.request.headers.add("x-tier", "vip")
    assert chosen(balancer, exchange).target is vip
    assert not exchange.attempt.others
    assert chosen(balancer).target is rest


def test_no_condition_that_holds_is_the_clients_error():
    with pytest.raises(NothingFits) as caught:
        chosen(
            Balancer(
                [target("never", when=when("false")), target("broken", when=when('request.headers["nope"] == "1"'))],
                "first",
            )
        )
    assert (caught.value.status, caught.value.code) == (400, "virtual_model_no_matching_target")


def test_a_key_of_affinity_stays_where_it_is_when_another_target_goes():
    targets = [target(f"t{i}") for i in range(5)]
    balancer = Balancer(targets, "health")

    def home(key: str) -> Target:
        exchange = chat()
        exchange.attempt.affinity = key
        return chosen(balancer, exchange).target

    homes = {f"user-{i}": home(f"user-{i}") for i in range(300)}
    assert min(Counter(one.name for one in homes.values()).values()) > 20
    assert all(home(key) is one for key, one in homes.items())
    targets[2].health.failed(EVICTS)
    moved = {key for key, one in homes.items() if home(key) is not one}
    assert moved == {key for key, one in homes.items() if one is targets[2]}


# --- health -----------------------------------------------------------------------------------------------------------


def test_averages_follow_the_published_formulas():
    health = Health()
    health.succeeded(1.0)
    health.succeeded(2.0)
    assert health.latency == pytest.approx(1.3)
    health.failed(None)
    assert health.score == pytest.approx(0.7)
    health.in_flight = 10
    assert health.rank == pytest.approx(0.7 / (1 + 1.3 * 2))


def test_without_thresholds_one_failure_evicts_and_with_them_either_does():
    assert Health().failed(EVICTS) == 60.0
    rule = HealthRule(evicts=True, duration=1.0, consecutive=3, threshold=0.5)
    health = Health()
    assert [health.failed(rule) for _ in range(2)] == [None, None]
    assert health.failed(rule) == 1.0
    health.succeeded(0.1)
    health.score = 0.4
    assert health.failed(rule) == 1.0


def test_the_next_eviction_is_longer_until_something_succeeds():
    health = Health()
    assert [health.failed(EVICTS) for _ in range(3)] == [60.0, 120.0, 180.0]
    health.succeeded(0.1)
    assert health.failed(EVICTS) == 60.0


def test_the_upstream_says_how_long_when_the_file_does_not():
    assert Health().failed(HealthRule(evicts=True), 17.0) == 17.0
    assert Health().failed(HealthRule(evicts=True)) == 3.0
    assert Health().failed(EVICTS, 17.0) == 60.0


def test_an_eviction_ends_with_the_score_that_the_file_says():
    health = Health()
    health.failed(HealthRule(evicts=True, duration=5.0, restore=0.25))
    now = time.monotonic()
    assert not health.active(now)
    assert health.active(now + 6)
    assert health.score == 0.25


def test_what_is_in_flight_is_counted_once():
    health, other = Health(), Health()
    attempt = chat().attempt
    attempt.take(health)
    attempt.take(other)
    assert (health.in_flight, other.in_flight) == (0, 1)
    attempt.release()
    attempt.release()
    assert (health.in_flight, other.in_flight) == (0, 0)


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "Mon, 01 Jan 1990 00:00:00 GMT"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-requests": "7 minutes"}, None),
        ({"x-ratelimit-reset-requests-day": "33.5"}, 33.5),
        ({"x-ratelimit-reset": "30"}, 30),
        ({"anthropic-ratelimit-tokens-reset": "tomorrow"}, None),
        ({"retry-after": "١٢"}, None),
        ({}, None),
    ],
)
def test_vendors_say_when_they_want_to_be_asked_again(fields, seconds):
    headers = Headers([(name.encode(), value.encode()) for name, value in fields.items()])
    found = retry_after(headers)
    assert found == (pytest.approx(seconds) if seconds is not None else None)


def test_moments_are_seconds_from_now():
    at = time.time() + 90
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    for fields in ({"retry-after": formatdate(at, usegmt=True)}, {"x-ratelimit-reset": str(int(at))}):
        assert 80 < (retry_after(Headers.of(fields)) or 0) <= 91
    assert 80 < (retry_after(Headers.of({"anthropic-ratelimit-requests-reset": moment})) or 0) <= 91
