"""The access log: one line a request, on success, failure, refusal and disconnect alike, with the reference's names.

A line is built by hand and handed to a buffer that is written every 100 ms: the standard library's logging costs more
than the rest of the pipeline.
"""

from __future__ import annotations

import asyncio
import copy
import re
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, TextIO

from pydantic_core import to_json

from agentgateway.exchange import Exchange, Headers
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway.settings import CelText, PluginConfig

Fields = dict[str, Any]
SENSITIVE = frozenset(
    (
        *(b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"),
        *(b"x-api-key", b"api-key", b"x-goog-api-key"),
    )
)
"""Headers that carry credentials; `config.sensitiveHeaders` adds to them."""
LONGEST = 1024
"""Characters of what a client chose, in a line."""


class LogFields(PluginConfig):
    """`frontendPolicies.accessLog`."""

    filter: CelText | None = None
    """Only requests for which this expression is true are logged."""
    add: dict[str, CelText] = {}
    """Fields of your own: a name and an expression; left out when it cannot be evaluated."""
    remove: list[str] = []
    """Fields to leave out."""


class Lines:
    """Where log lines go: a text stream, written in batches while an event loop runs."""

    FLUSH_AFTER = 0.1

    def __init__(self, out: TextIO | None = None, *, json: bool = False) -> None:
        self.json = json
        self.sensitive = SENSITIVE
        self._out = out
        self._waiting: list[str] = []
        self._scheduled = False

    def write(self, fields: Fields) -> None:
        self._waiting.append(as_json(fields) if self.json else as_text(fields))
        if self._scheduled:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._scheduled = True
        loop.call_later(self.FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        self._scheduled = False
        waiting, self._waiting = self._waiting, []
        if waiting:
            out = self._out or sys.stdout
            out.write("".join(waiting))
            out.flush()


LINES = Lines()
"""The process's own log; the command line decides its form before the first request."""


class AccessLog(Policy):
    """Writes the access log."""

    Config = LogFields
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway"})

    def __init__(self, config: LogFields, host: Host, lines: Lines = LINES) -> None:
        super().__init__(config, host)
        self._lines = lines
        self._filter = host.expression(config.filter) if config.filter else None
        self._add = [(name, host.expression(source)) for name, source in config.add.items()]
        self._reads_headers = any(name.endswith(".headers") for _, one in self._add for name in one.reads)
        self._remove = frozenset(config.remove)

    @hookimpl
    def log(self, exchange: Exchange) -> None:
        if self._filter is not None and not _true(self._filter, exchange):
            return
        fields = described(exchange)
        shown = without_secrets(exchange, self._lines.sensitive) if self._reads_headers else exchange
        for name, expression in self._add:
            try:
                value = expression.value(shown)
                value = dict(value) if isinstance(value, Mapping) else value
                fields[name] = value if self._lines.json else loggable(value)
            except ExpressionError:
                continue
        for name in self._remove:
            fields.pop(name, None)
        self._lines.write(fields)


def timestamp(seconds: float) -> str:
    """RFC 3339 with microseconds."""
    whole = int(seconds)
    return Plain(f"{_second(whole)}.{int((seconds - whole) * 1_000_000):06d}Z")


@lru_cache(16)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def loggable(value: Any) -> Any:
    """A value of an expression as a line of text takes it: anything but text and numbers becomes JSON."""
    return value if isinstance(value, str | int | float) else Plain(_json(value))


def without_secrets(exchange: Exchange, sensitive: frozenset[bytes]) -> Exchange:
    """The exchange as a log may show it: headers that carry credentials read `***`."""
    shown = copy.copy(exchange)
    shown.request = copy.copy(exchange.request)
    shown.request.headers = hidden(exchange.request.headers, sensitive)
    if exchange.reply is not None:
        shown.reply = copy.copy(exchange.reply)
        shown.reply.headers = hidden(exchange.reply.headers, sensitive)
    return shown


def hidden(headers: Headers, sensitive: frozenset[bytes]) -> Headers:
    return Headers([(name, b"***" if name in sensitive else value) for name, value in headers.raw])


def described(exchange: Exchange) -> Fields:
    """A request's facts under the reference's names (its section 9.2); absent ones are left out."""
    request, place, error = exchange.request, exchange.place, exchange.error
    fields: Fields = {
        "time": timestamp(exchange.started_at),
        "scope": "request",
        "gateway": place.gateway,
        "listener": place.listener,
        "route": place.route,
        "src.addr": Plain(f"{exchange.source.address}:{exchange.source.port}"),
        "http.method": request.method,
        "http.host": request.authority[:LONGEST],
        "http.path": request.path[:LONGEST],
        "http.version": request.version,
        "http.status": exchange.status,
        "duration": Plain(f"{((exchange.ended or exchange.started) - exchange.started) * 1000:.3f}ms"),
    }
    if place.route_rule != "unknown":
        fields["route_rule"] = place.route_rule
    if exchange.target is not None:
        fields["protocol"] = exchange.target.backend.protocol
        if exchange.target.endpoint:
            fields["endpoint"] = exchange.target.endpoint
    if exchange.principal is not None:
        fields[f"{exchange.principal.kind}.sub"] = exchange.principal.name
    if exchange.attempt.number > 1:
        fields["retry.attempt"] = exchange.attempt.number - 1
    if exchange.call is not None:
        _describe_call(fields, exchange)
    if error is not None:
        fields["error"] = f"{error.message}: {error.detail}" if error.detail else error.message
        fields["reason"] = error.reason
        if error.by is not None:
            fields["error.by"] = error.by
    return fields


def _describe_call(fields: Fields, exchange: Exchange) -> None:
    call, usage = exchange.call, exchange.usage
    fields["gen_ai.operation.name"] = getattr(call, "operation", "unknown")
    fields["gen_ai.request.model"] = getattr(call, "requested_model", "unknown")[:LONGEST]
    if exchange.target is not None and exchange.target.provider:
        fields["gen_ai.provider.name"] = exchange.target.provider
    if exchange.response_model:
        fields["gen_ai.response.model"] = exchange.response_model
    if usage is not None:
        fields["gen_ai.usage.input_tokens"] = usage.input_tokens
        fields["gen_ai.usage.output_tokens"] = usage.output_tokens
        if usage.cached_input_tokens:
            fields["gen_ai.usage.cache_read.input_tokens"] = usage.cached_input_tokens
        if usage.cache_creation_input_tokens:
            fields["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_creation_input_tokens
        if usage.reasoning_tokens:
            fields["gen_ai.usage.reasoning_tokens"] = usage.reasoning_tokens
        if usage.estimated:
            fields["gen_ai.usage.estimated"] = True
    if exchange.first_token_at is not None and getattr(call, "stream", False):
        fields["agw.ai.time_to_first_token"] = f"{(exchange.first_token_at - exchange.started) * 1000:.3f}ms"


def _true(expression: Expression, exchange: Exchange) -> bool:
    try:
        return expression.holds(exchange)
    except ExpressionError:
        return False


def as_json(fields: Fields) -> str:
    return to_json(fields, fallback=str).decode() + "\n"


def as_text(fields: Fields) -> str:
    """`key=value` pairs; a value with anything but plain characters is quoted as JSON, so that a line stays a line."""
    texts = [value for value in fields.values() if type(value) is str]
    if "" in texts or _PLAIN.fullmatch("".join(texts)) is None:
        fields = {key: quoted(value) if type(value) is str else value for key, value in fields.items()}
    return " ".join([f"{key}={value}" for key, value in fields.items()]) + "\n"


class Plain(str):
    """A text that cannot end a value."""

    __slots__ = ()


def quoted(text: str) -> str:
    """The text as it is when nothing in it could end a value."""
    return text if _PLAIN.fullmatch(text) is not None else _json(text)


def _json(value: Any) -> str:
    return to_json(value, fallback=str).decode()


_PLAIN = re.compile(r"[\w.\-:/*@+%~]+", re.ASCII)
