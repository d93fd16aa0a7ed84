"""What every request leaves behind in the metrics, under the reference's names (its section 9.1).

Labels that a client chooses are bounded: a method nobody knows is `OTHER`, a model's name is cut, and a metric has room
for so many label sets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agentgateway import __version__
from agentgateway._host.metrics import Cell, Count, Histogram, Metrics
from agentgateway.exchange import Exchange, Place, Usage
from agentgateway.hookspecs import hookimpl

ROUTE = ("bind", "gateway", "listener", "route", "route_rule")
REQUEST = ("backend", "protocol", "method", "status", "reason", *ROUTE)
CALL = ("gen_ai_operation_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model", *ROUTE)

DURATION = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0, 80.0)
PROCESSING = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25)
CALL_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(4.0**power for power in range(14))

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
LONGEST = 128
UNKNOWN = "unknown"

ROOM = 10_000
"""Combinations whose cells are remembered. What does not vary among requests is looked up once, not eleven times."""

Label = Callable[[Exchange], str]


class Cells(NamedTuple):
    place: Place
    requests: Cell
    bytes: Cell
    duration: Cell
    sent: Cell


class CallCells(NamedTuple):
    place: Place
    input: Cell
    output: Cell
    call: Cell
    first: Cell
    each: Cell


class RequestMetrics:
    """Log participant. `extra` are labels of the configuration's own (`config.metrics.fields.add`): a name, and what
    reads it from an exchange; it raises nothing."""

    def __init__(self, metrics: Metrics, extra: Sequence[tuple[str, Label]] = ()) -> None:
        self._extra = tuple(read for _, read in extra)
        more = tuple(name for name, _ in extra)
        request, call, place = (*REQUEST, *more), (*CALL, *more), ("backend", *ROUTE, *more)
        tokens = ("gen_ai_token_type", *call)

        def counter(name: str, text: str) -> Count:
            return metrics.counter(f"agentgateway_{name}_total", text, request)

        def histogram(name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
            return metrics.histogram(f"agentgateway_{name}", text, labels, buckets)

        self._requests = counter("requests", "Requests.")
        self._bytes = counter("response_bytes", "Bytes of reply bodies sent to clients.")
        self._retries = counter("retries", "Attempts after the first one.")
        self._duration = histogram("request_duration_seconds", "From head to last byte.", request, DURATION)
        self._sent = histogram("request_processing_seconds", "From head to sent upstream.", place, PROCESSING)
        self._tokens = histogram("gen_ai_client_token_usage", "Tokens of a call.", tokens, TOKENS)
        self._call = histogram("gen_ai_server_request_duration", "Seconds of a model call.", call, CALL_DURATION)
        self._first = histogram("gen_ai_server_time_to_first_token", "Seconds to the first token.", call, FIRST_TOKEN)
        self._each = histogram("gen_ai_server_time_per_output_token", "Seconds a later token.", call, PER_TOKEN)
        metrics.gauge("agentgateway_build_info", "The version.", ("tag",), lambda: {(__version__,): 1}, keep="max")
        self._known: dict[tuple[object, ...], Cells] = {}
        self._known_calls: dict[tuple[object, ...], CallCells] = {}

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        target, error, method = exchange.target, exchange.error, exchange.request.method
        extra = tuple([read(exchange) for read in self._extra]) if self._extra else ()
        seen = (
            target.name if target is not None else UNKNOWN,
            target.backend.protocol if target is not None else UNKNOWN,
            method if method in METHODS else "OTHER",
            exchange.status,
            error.reason if error is not None else reason(exchange),
            extra,
        )
        place = exchange.place
        cells = self._known.get((id(place), *seen))
        if cells is None or cells.place is not place:
            cells = self._meet(place, seen, extra)
        ended = exchange.ended or exchange.started
        cells.requests[0] += 1
        cells.bytes[0] += exchange.sent_bytes
        observe(cells.duration, DURATION, ended - exchange.started)
        if exchange.attempt.number > 1:
            self._retries.add(request_labels(place, seen, extra), exchange.attempt.number - 1)
        if exchange.sent_at is not None:
            observe(cells.sent, PROCESSING, exchange.sent_at - exchange.started)
            if exchange.usage is not None:
                self._log_call(exchange, exchange.usage, exchange.sent_at, ended, extra)

    def _log_call(self, exchange: Exchange, usage: Usage, sent: float, ended: float, extra: tuple[str, ...]) -> None:
        call, target, place = exchange.call, exchange.target, exchange.place
        seen = (
            getattr(call, "operation", UNKNOWN),
            target.provider if target is not None else "",
            (getattr(call, "model", None) or UNKNOWN)[:LONGEST],
            (exchange.response_model or UNKNOWN)[:LONGEST],
            extra,
        )
        cells = self._known_calls.get((id(place), *seen))
        if cells is None or cells.place is not place:
            cells = self._meet_call(place, seen, extra)
        observe(cells.input, TOKENS, usage.input_tokens)
        observe(cells.output, TOKENS, usage.output_tokens)
        observe(cells.call, CALL_DURATION, ended - sent)
        first = exchange.first_token_at
        if first is not None:
            observe(cells.first, FIRST_TOKEN, first - sent)
            if usage.output_tokens > 1:
                observe(cells.each, PER_TOKEN, (ended - first) / (usage.output_tokens - 1))

    def _meet(self, place: Place, seen: tuple[object, ...], extra: tuple[str, ...]) -> Cells:
        labels = request_labels(place, seen, extra)
        cells = Cells(
            place,
            self._requests.cell(labels),
            self._bytes.cell(labels),
            self._duration.cell(labels),
            self._sent.cell((labels[0], *labels[5:])),
        )
        if len(self._known) >= ROOM:
            self._known.clear()
        self._known[(id(place), *seen)] = cells
        return cells

    def _meet_call(self, place: Place, seen: tuple[object, ...], extra: tuple[str, ...]) -> CallCells:
        operation, system, asked, answered = (str(one) or UNKNOWN for one in seen[:4])
        labels = (operation, system, asked, answered, *route_labels(place), *extra)
        cells = CallCells(
            place,
            self._tokens.cell(("input", *labels)),
            self._tokens.cell(("output", *labels)),
            self._call.cell(labels),
            self._first.cell(labels),
            self._each.cell(labels),
        )
        if len(self._known_calls) >= ROOM:
            self._known_calls.clear()
        self._known_calls[(id(place), *seen)] = cells
        return cells


def observe(cell: Cell, buckets: Sequence[float], value: float) -> None:
    cell[bisect_left(buckets, value)] += 1
    cell[-1] += value


def request_labels(place: Place, seen: tuple[object, ...], extra: tuple[str, ...]) -> tuple[str, ...]:
    return (*(str(one) for one in seen[:5]), *route_labels(place), *extra)


def route_labels(place: Place) -> tuple[str, ...]:
    return (place.bind, place.gateway, place.listener, place.route, place.route_rule)


def reason(exchange: Exchange) -> str:
    """Why a reply without an error is what it is."""
    return "Upstream" if exchange.reply is not None and exchange.reply.upstream else "DirectResponse"
