"""What every request leaves behind in the metrics, under the reference's names (its section 9.1).

Labels that a client chooses are bounded: a method nobody knows is `OTHER`, a model's name is cut, and a metric has room
for so many label sets. Requests are counted some time after they ended, many in a row, since that costs half of what
it costs in between; whoever looks at the metrics sees all of them.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentgateway import __version__
from agentgateway._host.metrics import Cell, Count, Histogram, Metrics
from agentgateway.exchange import Exchange, Place, Usage
from agentgateway.hookspecs import hookimpl
from agentgateway.llm.prices import NO_CATALOG, PICODOLLARS, Priced, Status, priced

ROUTE = ("bind", "gateway", "listener", "route", "route_rule")
REQUEST = ("backend", "protocol", "method", "status", "reason", *ROUTE)
CALL = ("gen_ai_operation_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model", *ROUTE)
OWN = frozenset((*REQUEST, *CALL, "gen_ai_token_type"))
"""Labels that a configuration cannot add."""

DURATION = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 20.0, 80.0)
PROCESSING = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25)
CALL_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
TOKENS = tuple(4**power for power in range(14))

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
LONGEST = 128
UNKNOWN = "unknown"

ROOM = 10_000
"""Rows that are remembered. What does not vary among requests is looked up once, not eleven times."""
BATCH = 32
"""Requests that are counted in a row."""

Label = Callable[[Exchange], str]

logger = logging.getLogger("agentgateway.metrics")


@dataclass(frozen=True, slots=True)
class CallRow:
    """The cells that a model call adds to, and its labels for those that not every call has. `looked_up` has those of
    the statuses that there were."""

    labels: tuple[str, ...]
    input: Cell
    output: Cell
    call: Cell
    first: Cell
    each: Cell
    looked_up: dict[Status, Cell] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """The cells that a request adds to, found by the place it came to and the values of its labels. It keeps the
    place, so that the place's identity cannot become another's."""

    place: Place
    requests: Cell
    bytes: Cell
    duration: Cell
    sent: Cell
    call: CallRow | None


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
        name, text = "agentgateway_gen_ai_client_cost_usd_total", "USD that calls cost, where the price is known."
        self._cost = metrics.counter(name, text, call)
        name, text = "agentgateway_cost_catalog_lookups_total", "Prices that were looked up, by what was found."
        self._lookups = metrics.counter(name, text, ("status", *call))
        metrics.gauge("agentgateway_build_info", "The version.", ("tag",), lambda: {(__version__,): 1}, keep="max")
        metrics.before.append(self.count)
        self._ended: deque[tuple[Any, ...]] = deque()
        self._rows: dict[tuple[object, ...], Row] = {}

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        error, reply, call, usage, asked = exchange.error, exchange.reply, exchange.call, exchange.usage, None
        if usage is not None:
            model = (getattr(call, "model", None) or UNKNOWN)[:LONGEST]
            operation, first = getattr(call, "operation", UNKNOWN), exchange.first_token_at
            asked = (operation, model, exchange.response_model, first, priced(exchange))
        self._ended.append(
            (
                exchange.place,
                exchange.target,
                exchange.request.method,
                reply.status if reply is not None else exchange.status,
                error.reason if error is not None else None,
                reply is not None and reply.upstream,
                tuple([read(exchange) for read in self._extra]) if self._extra else (),
                exchange.started,
                exchange.sent_at,
                exchange.ended,
                exchange.sent_bytes,
                exchange.attempt.number,
                usage,
                asked,
            )
        )
        if len(self._ended) >= BATCH:
            self.count()

    def count(self) -> None:
        """Count the requests that ended."""
        while self._ended:
            ended = self._ended.popleft()
            try:
                self._count(ended)
            except Exception:
                logger.exception("a request could not be counted")

    def _count(self, facts: tuple[Any, ...]) -> None:
        place, target, method, status, reason, upstream, extra, started, sent, ended, size, tries, usage, asked = facts
        name, protocol, system = UNKNOWN, UNKNOWN, ""
        if target is not None:
            name, protocol, system = target.name, target.backend.protocol, target.provider
        if method not in METHODS:
            method = "OTHER"
        if reason is None:
            reason = "Upstream" if upstream else "DirectResponse"
        operation = model = answered = first = None
        cost = NO_CATALOG
        if asked is not None and sent is not None:
            operation, model, answered, first, cost = asked
            answered = (answered or UNKNOWN)[:LONGEST]
        key = (id(place), name, protocol, method, status, reason, extra, operation, system, model, answered)
        row = self._rows.get(key)
        if row is None or row.place is not place:
            row = self._meet(place, key)
        ended = ended or started
        row.requests[0] += 1
        row.bytes[0] += size
        seconds = ended - started
        row.duration[bisect_left(DURATION, seconds)] += 1
        row.duration[-1] += seconds
        if tries > 1:
            self._retries.add(request_labels(place, key), tries - 1)
        if sent is not None:
            seconds = sent - started
            row.sent[bisect_left(PROCESSING, seconds)] += 1
            row.sent[-1] += seconds
        if row.call is not None:
            count_call(row.call, usage, sent, first, ended)
            self._count_cost(row.call, cost)

    def _count_cost(self, row: CallRow, priced: Priced) -> None:
        status, cost = priced
        looked_up = row.looked_up.get(status)
        if looked_up is None:
            looked_up = row.looked_up[status] = self._lookups.cell((status, *row.labels))
        looked_up[0] += 1
        if cost is not None:
            self._cost.add(row.labels, cost.total / PICODOLLARS)

    def _meet(self, place: Place, key: tuple[Any, ...]) -> Row:
        labels = request_labels(place, key)
        name, more = labels[0], labels[5:]
        operation, system, model, answered = key[7:]
        asked = (str(operation) or UNKNOWN, system or UNKNOWN, model, answered, *more)
        row = Row(
            place,
            self._requests.cell(labels),
            self._bytes.cell(labels),
            self._duration.cell(labels),
            self._sent.cell((name, *more)),
            self._call_row(asked) if model is not None else None,
        )
        if len(self._rows) >= ROOM:
            self._rows.clear()
        self._rows[key] = row
        return row

    def _call_row(self, labels: tuple[str, ...]) -> CallRow:
        return CallRow(
            labels,
            self._tokens.cell(("input", *labels)),
            self._tokens.cell(("output", *labels)),
            self._call.cell(labels),
            self._first.cell(labels),
            self._each.cell(labels),
        )


def count_call(row: CallRow, usage: Usage, sent: float, first: float | None, ended: float) -> None:
    """Add a call's tokens and its times."""
    input, output, *_ = usage
    row.input[bisect_left(TOKENS, input)] += 1
    row.input[-1] += input
    row.output[bisect_left(TOKENS, output)] += 1
    row.output[-1] += output
    seconds = ended - sent
    row.call[bisect_left(CALL_DURATION, seconds)] += 1
    row.call[-1] += seconds
    if first is not None:
        seconds = first - sent
        row.first[bisect_left(FIRST_TOKEN, seconds)] += 1
        row.first[-1] += seconds
        if output > 1:
            seconds = (ended - first) / (output - 1)
            row.each[bisect_left(PER_TOKEN, seconds)] += 1
            row.each[-1] += seconds


def request_labels(place: Place, key: tuple[Any, ...]) -> tuple[str, ...]:
    return (*(str(one) for one in key[1:6]), *route_labels(place), *key[6])


def route_labels(place: Place) -> tuple[str, ...]:
    return (place.bind, place.gateway, place.listener, place.route, place.route_rule)
