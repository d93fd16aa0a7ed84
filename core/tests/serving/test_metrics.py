"""Counting, adding up, and showing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as families
from pydantic_core import from_json, to_json

from agentgateway._host import metrics as module
from agentgateway._host import request_metrics
from agentgateway._host.metrics import Metrics, lasting, merge, render
from agentgateway._host.request_metrics import BATCH, RequestMetrics
from agentgateway.errors import RateLimited
from agentgateway.exchange import Exchange, Place, Reply, Target, Usage
from agentgateway.interfaces import Backend
from agentgateway.testing.exchanges import http


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_counters_count_by_labels():
    metrics = Metrics()
    counter = metrics.counter("agentgateway_things_total", "Things.", ("kind",))
    counter.add(("a",))
    counter.add(("a",), 2.5)
    counter.add(("b",))
    assert samples(metrics.render()) == {"agentgateway_things_total": {(("kind", "a"),): 3.5, (("kind", "b"),): 1}}


def test_asking_twice_gives_the_same_metric_and_another_one_is_refused():
    metrics = Metrics()
    first = metrics.counter("agentgateway_things_total", "Things.", ("kind",))
    assert metrics.counter("agentgateway_things_total", "Things.", ("kind",)) is first
    with pytest.raises(ValueError, match="another metric"):
        metrics.counter("agentgateway_things_total", "Things.", ("other",))
    with pytest.raises(ValueError, match="another metric"):
        metrics.histogram("agentgateway_things_total", "Things.", ("kind",), (1,))


def test_histograms_are_cumulative_and_bounds_belong_to_their_bucket():
    metrics = Metrics()
    histogram = metrics.histogram("agentgateway_seconds", "Seconds.", (), (1, 2.5))
    for value in (0.5, 1, 2, 100):
        histogram.observe((), value)
    assert samples(metrics.render()) == {
        "agentgateway_seconds_bucket": {(("le", "1.0"),): 2, (("le", "2.5"),): 3, (("le", "+Inf"),): 4},
        "agentgateway_seconds_sum": {(): 103.5},
        "agentgateway_seconds_count": {(): 4},
    }


@pytest.mark.parametrize("value", ['quo"te', "back\\slash", "new\nline", "ünïcode", "", "\ud800", "a,b={}"])
def test_any_label_value_survives_the_parsers(value):
    metrics = Metrics()
    metrics.counter("agentgateway_things_total", "With a \\ and a\nline end.", ("kind",)).add((value,))
    shown = value.replace("\ud800", "?")
    ((_, cells),) = samples(metrics.render()).items()
    assert list(cells) == [(("kind", shown),)]
    (family,) = openmetrics_families(render(metrics.snapshot(), openmetrics=True))
    assert family.samples[0].labels == {"kind": shown}


def test_openmetrics_is_valid_for_every_kind():
    metrics = Metrics()
    metrics.counter("agentgateway_things_total", "Things.", ("kind",)).add(("a",))
    metrics.histogram("agentgateway_seconds", "Seconds.", ("kind",), (0.001, 10)).observe(("a",), 0.5)
    metrics.gauge("agentgateway_open", "Open.", (), lambda: {(): 3})
    shown = {family.name: family.type for family in openmetrics_families(render(metrics.snapshot(), openmetrics=True))}
    assert shown == {
        "agentgateway_things": "counter",
        "agentgateway_seconds": "histogram",
        "agentgateway_open": "gauge",
    }


def test_label_sets_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "ROOM", 3)
    metrics = Metrics()
    counter = metrics.counter("agentgateway_things_total", "Things.", ("kind", "more"))
    histogram = metrics.histogram("agentgateway_seconds", "Seconds.", ("kind",), (1,))
    for number in range(10):
        counter.add((str(number), "x"))
        histogram.observe((str(number),), number)
    counter.add(("0", "x"))
    assert len(counter.cells) == len(histogram.cells) == 4
    assert counter.cells[("_overflow", "_overflow")] == [7]
    assert counter.cells[("0", "x")] == [2]
    assert sum(histogram.cells[("_overflow",)][:-1]) == 7


@pytest.mark.parametrize("name", ["agentgateway_things_total", "things_total", "agentgateway_things", "things"])
def test_metrics_can_be_left_out(name):
    metrics = Metrics(remove=[name])
    metrics.counter("agentgateway_things_total", "Things.").add(())
    metrics.counter("agentgateway_others_total", "Others.").add(())
    assert set(samples(metrics.render())) == {"agentgateway_others_total"}


def test_the_snapshots_of_workers_add_up_also_after_a_journey_as_json():
    def worker(things: int, second: float) -> Any:
        metrics = Metrics()
        metrics.counter("agentgateway_things_total", "Things.", ("kind",)).add(("a",), things)
        metrics.histogram("agentgateway_seconds", "Seconds.", (), (1,)).observe((), second)
        metrics.gauge("agentgateway_open", "Open.", (), lambda: {(): things})
        metrics.gauge("agentgateway_build_info", "Build.", ("tag",), lambda: {("1",): 1}, keep="max")
        return from_json(to_json(metrics.snapshot()))

    total = samples(render(merge([worker(1, 0.5), worker(2, 5), [], worker(3, 0.1)])))
    assert total["agentgateway_things_total"] == {(("kind", "a"),): 6}
    assert total["agentgateway_seconds_count"] == {(): 3}
    assert total["agentgateway_seconds_sum"] == {(): 5.6}
    assert total["agentgateway_open"] == {(): 6}
    assert total["agentgateway_build_info"] == {(("tag", "1"),): 1}
    assert {family["name"] for family in lasting(worker(1, 1))} == {"agentgateway_things_total", "agentgateway_seconds"}


def finished(**changes: Any) -> Exchange:
    exchange = http("POST", "/v1/chat/completions")
    exchange.place = Place("*:4000", "default", "http", "chat", "rule")
    exchange.reply = Reply.text(200, "fine")
    exchange.ended = exchange.started + 0.5
    for name, value in changes.items():
        setattr(exchange, name, value)
    return exchange


def test_a_request_is_counted_with_everything_that_is_known_of_it():
    metrics = Metrics()
    exchange = finished(sent_bytes=42, target=Target(Backend(None, None), "openai"))
    exchange.reply.upstream = True
    exchange.attempt.number = 3
    RequestMetrics(metrics).log(exchange)
    shown = samples(metrics.render())
    labels = {
        "backend": "openai", "protocol": "http", "method": "POST", "status": "200", "reason": "Upstream",
        "bind": "*:4000", "gateway": "default", "listener": "http", "route": "chat", "route_rule": "rule",
    }  # fmt: skip
    key = tuple(sorted(labels.items()))
    assert shown["agentgateway_requests_total"] == {key: 1}
    assert shown["agentgateway_response_bytes_total"] == {key: 42}
    assert shown["agentgateway_retries_total"] == {key: 2}
    assert shown["agentgateway_request_duration_seconds_sum"] == {key: 0.5}


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({}, "200", "DirectResponse"),
        ({"error": RateLimited(), "reply": Reply.text(429, "")}, "429", "RateLimit"),
        ({"reply": None}, "499", "DirectResponse"),
    ],
)
def test_refusals_and_departures_are_counted_too(changes, status, reason):
    metrics = Metrics()
    RequestMetrics(metrics).log(finished(**changes))
    ((labels, count),) = samples(metrics.render())["agentgateway_requests_total"].items()
    assert (dict(labels)["status"], dict(labels)["reason"], dict(labels)["backend"], count) == (
        status,
        reason,
        "unknown",
        1,
    )


def test_model_calls_leave_their_tokens_and_times():
    metrics = Metrics()
    exchange = finished(
        target=Target(Backend(None, None), "openai", provider="openai"),
        usage=Usage(10, 5),
        response_model="gpt-x-2026",
        call=SimpleNamespace(model="m" * 1000, operation="chat"),
    )
    exchange.sent_at = exchange.started + 0.1
    exchange.first_token_at = exchange.started + 0.3
    RequestMetrics(metrics).log(exchange)
    shown = samples(metrics.render())
    tokens = {dict(k)["gen_ai_token_type"]: v for k, v in shown["agentgateway_gen_ai_client_token_usage_sum"].items()}
    assert tokens == {"input": 10, "output": 5}
    ((labels, seconds),) = shown["agentgateway_gen_ai_server_request_duration_sum"].items()
    assert seconds == pytest.approx(0.4)
    named = dict(labels)
    assert (named["gen_ai_system"], named["gen_ai_response_model"]) == ("openai", "gpt-x-2026")
    assert named["gen_ai_request_model"] == "m" * 128
    ((_, first),) = shown["agentgateway_gen_ai_server_time_to_first_token_sum"].items()
    ((_, each),) = shown["agentgateway_gen_ai_server_time_per_output_token_sum"].items()
    assert (first, each) == (pytest.approx(0.2), pytest.approx(0.05))


def test_methods_that_nobody_knows_share_a_label_and_labels_of_ones_own_are_added():
    metrics = Metrics()
    exchange = finished()
    exchange.request.method = "BREW"
    RequestMetrics(metrics, [("team", lambda exchange: exchange.request.authority)]).log(exchange)
    ((labels, _),) = samples(metrics.render())["agentgateway_requests_total"].items()
    assert (dict(labels)["method"], dict(labels)["team"]) == ("OTHER", "gateway.test")


def test_whoever_looks_sees_every_request_that_ended():
    metrics = Metrics()
    log = RequestMetrics(metrics).log
    for number in range(1, 2 * BATCH + 3):
        log(finished())
        if number in (1, BATCH, BATCH + 1, 2 * BATCH + 2):
            assert list(samples(metrics.render())["agentgateway_requests_total"].values()) == [number]


def test_a_place_that_took_another_ones_room_in_memory_is_not_taken_for_it():
    metrics = Metrics()
    requests = RequestMetrics(metrics)
    for number in range(50):
        requests.log(finished(place=Place(route=f"r{number}")))
        requests.count()
    shown = samples(metrics.render())["agentgateway_requests_total"]
    assert {dict(labels)["route"] for labels in shown} == {f"r{number}" for number in range(50)}
    assert set(shown.values()) == {1}


def test_rows_are_remembered_within_bounds_and_count_on_when_they_were_forgotten(monkeypatch):
    monkeypatch.setattr(request_metrics, "ROOM", 3)
    metrics = Metrics()
    requests = RequestMetrics(metrics)
    places = [Place(route=f"r{number}") for number in range(10)]
    for place in places * 2:
        requests.log(finished(place=place))
    assert set(samples(metrics.render())["agentgateway_requests_total"].values()) == {2}
    assert len(requests._rows) <= 3


def test_a_call_whose_tokens_cannot_be_counted_costs_no_request_its_count(caplog):
    metrics = Metrics()
    log = RequestMetrics(metrics).log
    odd = finished(usage=SimpleNamespace(), sent_at=0.0)
    for exchange in (finished(), odd, finished()):
        log(exchange)
    assert max(samples(metrics.render())["agentgateway_request_duration_seconds_count"].values()) == 3
    assert "could not be counted" in caplog.text


async def test_counting_is_safe_between_steps_of_many_requests():
    metrics = Metrics()
    counter = metrics.counter("agentgateway_things_total", "Things.", ("kind",))

    async def many() -> None:
        for number in range(100):
            counter.add((str(number % 3),))
            await asyncio.sleep(0)

    await asyncio.gather(*(many() for _ in range(10)))
    assert sum(value for (value,) in counter.cells.values()) == 1000
