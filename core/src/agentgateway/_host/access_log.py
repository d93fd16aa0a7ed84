"""The access log: one line a request, on success, failure, refusal and disconnect alike, with the reference's names.

What a line says is noted when its request ends; many lines are made in a row, and written every 100 ms. The standard
library's logging costs more than the rest of the pipeline.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, TextIO

from pydantic_core import from_json

from agentgateway._host.log_line import COST, JSON, TEXT, Facts, Plain, as_json, as_text, described, facts
from agentgateway._host.outlet import Outlet
from agentgateway.exchange import Exchange, Headers
from agentgateway.expressions import Expression, ExpressionError
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway.settings import CelText, PluginConfig

logger = logging.getLogger("agentgateway.access_log")

SENSITIVE = frozenset(
    (
        *(b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"),
        *(b"x-api-key", b"api-key", b"x-goog-api-key"),
    )
)
"""Headers that carry credentials; `config.sensitiveHeaders` adds to them."""

BATCH = 32
"""Lines that are made in a row."""


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
        self.outlet = Outlet()
        self._ended: deque[Facts] = deque()
        self._waiting: list[str] = []
        self._scheduled = False

    def add(self, ended: Facts) -> None:
        """The line of a request. It is made later, with others."""
        self._ended.append(ended)
        if len(self._ended) >= BATCH:
            self._describe()
        if not self._scheduled:
            self._schedule()

    def write(self, line: str) -> None:
        """A line as it is."""
        self._describe()
        self._waiting.append(line)
        if not self._scheduled:
            self._schedule()

    def flush(self) -> None:
        self._scheduled = False
        self._describe()
        waiting, self._waiting = self._waiting, []
        if waiting and self._out is None:
            self.outlet.put("\n".join(waiting) + "\n")
        elif waiting and self._out is not None:
            self._out.write("\n".join(waiting) + "\n")
            self._out.flush()

    def _describe(self) -> None:
        form = JSON if self.json else TEXT
        while self._ended:
            ended = self._ended.popleft()
            try:
                self._waiting.append(described(ended, form))
            except Exception:
                logger.exception("a request could not be described")

    def _schedule(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
            return
        self._scheduled = True
        loop.call_later(self.FLUSH_AFTER, self.flush)


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
        if not (self._add or self._remove):
            self._lines.add(facts(exchange))
            return
        fields = from_json(described(facts(exchange), JSON))
        if not self._lines.json and COST in fields:
            fields[COST] = loggable(fields[COST])
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
        self._lines.write(as_json(fields) if self._lines.json else as_text(fields))


def loggable(value: Any) -> Any:
    """A value of an expression as a line of text takes it: numbers without an exponent, and anything but text and
    numbers as JSON."""
    if isinstance(value, float) and "e" in (written := repr(value)):
        return Plain(f"{Decimal(written):f}")
    return value if isinstance(value, str | int | float) else Plain(as_json(value))


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


def _true(expression: Expression, exchange: Exchange) -> bool:
    try:
        return expression.holds(exchange)
    except ExpressionError:
        return False
