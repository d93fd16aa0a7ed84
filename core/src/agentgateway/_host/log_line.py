"""What a line of the access log says of a request, as text or as JSON.

Lines are made some time after their requests ended, many in a row, since that costs half of what it costs in between.
Most of a line was in many lines before: such pieces are made once and remembered, only numbers are written anew.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import Any, TypeAlias

from pydantic_core import to_json

from agentgateway.errors import GatewayError
from agentgateway.exchange import Content, Exchange, Usage
from agentgateway.llm.prices import cost_of, decimal

Fields: TypeAlias = dict[str, Any]
Facts: TypeAlias = tuple[Any, ...]
"""What `facts` takes from a request, for `described`."""

LONGEST = 1024
"""Characters of what a client chose, in a line."""
KEPT = 1024
"""Pieces of each sort that are remembered; the one unused for longest makes room."""
UNKNOWN = "unknown"
COST = "agw.ai.usage.cost.total"


class Form:
    """How a line is written. Attributes stand before the value of the field that they name, `quote` behind a text that
    is not a piece, `end` behind all."""

    def __init__(self, quote: str = "", end: str = "") -> None:
        self.quote = quote
        self.end = end
        self.time = self.label("time", first=True)
        self.source = self.label("src.addr")
        self.duration = self.label("duration")
        self.input = self.label("gen_ai.usage.input_tokens", number=True)
        self.output = self.label("gen_ai.usage.output_tokens", number=True)
        self.first = self.label("agw.ai.time_to_first_token")
        self.cost = self.label(COST, number=True)

    def label(self, name: str, *, first: bool = False, number: bool = False) -> str:
        raise NotImplementedError

    def piece(self, fields: Fields) -> str:
        """Some fields as they stand behind others."""
        raise NotImplementedError

    def part(self, text: str) -> str:
        """A text as part of a value that is plain otherwise."""
        raise NotImplementedError


class Text(Form):
    """`key=value` pairs."""

    def label(self, name: str, *, first: bool = False, number: bool = False) -> str:
        return f"{name}=" if first else f" {name}="

    def piece(self, fields: Fields) -> str:
        return f" {as_text(fields)}" if fields else ""

    def part(self, text: str) -> str:
        return text


class Json(Form):
    """One object."""

    def label(self, name: str, *, first: bool = False, number: bool = False) -> str:
        return f'{"{" if first else ","}"{name}":{"" if number else self.quote}'

    def piece(self, fields: Fields) -> str:
        return f",{as_json(fields)[1:-1]}" if fields else ""

    def part(self, text: str) -> str:
        return as_json(text)[1:-1]


TEXT, JSON = Text(), Json('"', "}")


def facts(exchange: Exchange) -> Facts:
    """What a line says of a request that ended: little things, which do not change any more."""
    request, call, reply, error, asked = exchange.request, exchange.call, exchange.reply, exchange.error, None
    told: Fields | None = None
    model = getattr(call, "requested_model", UNKNOWN)
    if model is UNKNOWN and isinstance(call, Content):
        told = dict(call.told())
    elif call is not None:
        operation = getattr(call, "operation", "unknown")
        first = exchange.first_token_at if getattr(call, "stream", False) else None
        asked = (operation, model, exchange.response_model, exchange.usage, first, cost_of(exchange))
    return (
        exchange.started_at,
        exchange.started,
        exchange.ended,
        exchange.place,
        exchange.source,
        request.method,
        request.authority,
        request.path,
        request.version,
        reply.status if reply is not None else exchange.status,
        exchange.target,
        exchange.principal,
        exchange.attempt.number,
        asked,
        failure(error) if error is not None else None,
        told,
    )


def described(facts: Facts, form: Form) -> str:
    """A request under the reference's names (its section 9.2); what is absent is left out."""
    at, started, ended, place, source, method, host, path, version, status, target, who, tries, *rest = facts
    asked, failed, told = rest
    protocol, endpoint, provider = None, "", ""
    if target is not None:
        protocol, endpoint, provider = target.backend.protocol, target.endpoint, target.provider
    entry, way = _route(form, place.gateway, place.listener, place.route, place.route_rule, protocol, endpoint)
    request = _request(form, method, host[:LONGEST], path[:LONGEST], version, status)
    caller = _caller(form, *who[:2]) if who is not None else ""
    retries = form.piece({"retry.attempt": tries - 1}) if tries > 1 else ""
    call = tokens = waited = ""
    if asked is not None:
        operation, model, answered, usage, first, cost = asked
        call = _call(form, operation, model[:LONGEST], provider, answered)
        if usage is not None:
            input, output, *others = usage
            tokens = f"{form.input}{input}{form.output}{output}{_other_tokens(form, usage) if any(others) else ''}"
            if cost is not None:
                tokens += f"{form.cost}{decimal(cost.total)}"
        if first is not None:
            waited = f"{form.first}{(first - started) * 1000:.3f}ms{form.quote}"
    if told:
        call = form.piece({key: value[:LONGEST] if isinstance(value, str) else value for key, value in told.items()})
    fault = form.piece(failed) if failed is not None else ""
    quote, second = form.quote, int(at)
    address, port, _ = source
    return (
        f"{form.time}{_second(second) % ((at - second) * 1_000_000)}{quote}{entry}"
        f"{form.source}{form.part(address)}:{port}{quote}{request}"
        f"{form.duration}{((ended or started) - started) * 1000:.3f}ms{quote}{way}"
        f"{caller}{retries}{call}{tokens}{waited}{fault}{form.end}"
    )


@lru_cache(16)
def _second(seconds: int) -> str:
    """RFC 3339, with room for the microseconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%%06dZ", time.gmtime(seconds))


@lru_cache(KEPT)
def _route(
    form: Form, gateway: str, listener: str, route: str, rule: str, protocol: str | None, endpoint: str
) -> tuple[str, str]:
    """Where the request came in, and where it went."""
    way: Fields = {}
    if rule != "unknown":
        way["route_rule"] = rule
    if protocol is not None:
        way["protocol"] = protocol
    if endpoint:
        way["endpoint"] = endpoint
    return form.piece({"scope": "request", "gateway": gateway, "listener": listener, "route": route}), form.piece(way)


@lru_cache(KEPT)
def _request(form: Form, method: str, host: str, path: str, version: str, status: int) -> str:
    return form.piece(
        {"http.method": method, "http.host": host, "http.path": path, "http.version": version, "http.status": status}
    )


@lru_cache(KEPT)
def _caller(form: Form, kind: str, name: str) -> str:
    return form.piece({f"{kind}.sub": name})


@lru_cache(KEPT)
def _call(form: Form, operation: str, model: str, provider: str, answered: str | None) -> str:
    fields: Fields = {"gen_ai.operation.name": operation}
    if model:
        fields["gen_ai.request.model"] = model
    if provider:
        fields["gen_ai.provider.name"] = provider
    if answered:
        fields["gen_ai.response.model"] = answered
    return form.piece(fields)


def _other_tokens(form: Form, usage: Usage) -> str:
    """What few calls have."""
    fields: Fields = {}
    if usage.cached_input_tokens:
        fields["gen_ai.usage.cache_read.input_tokens"] = usage.cached_input_tokens
    if usage.cache_creation_input_tokens:
        fields["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_creation_input_tokens
    if usage.reasoning_tokens:
        fields["gen_ai.usage.reasoning_tokens"] = usage.reasoning_tokens
    if usage.input_audio_tokens:
        fields["gen_ai.usage.input_audio_tokens"] = usage.input_audio_tokens
    if usage.output_audio_tokens:
        fields["gen_ai.usage.output_audio_tokens"] = usage.output_audio_tokens
    if usage.estimated:
        fields["gen_ai.usage.estimated"] = True
    return form.piece(fields)


def failure(error: GatewayError) -> Fields:
    fields = {"error": f"{error.message}: {error.detail}" if error.detail else error.message, "reason": error.reason}
    if error.by is not None:
        fields["error.by"] = error.by
    return fields


def as_json(value: Any) -> str:
    return to_json(value, fallback=str).decode()


def as_text(fields: Fields) -> str:
    """`key=value` pairs; a value with anything but plain characters is quoted as JSON, so that a line stays a line."""
    texts = [value for value in fields.values() if type(value) is str]
    if texts and ("" in texts or _PLAIN.fullmatch("".join(texts)) is None):
        fields = {key: quoted(value) if type(value) is str else value for key, value in fields.items()}
    return " ".join([f"{key}={value}" for key, value in fields.items()])


class Plain(str):
    """A text that cannot end a value."""

    __slots__ = ()


def quoted(text: str) -> str:
    """The text as it is when nothing in it could end a value."""
    return text if _PLAIN.fullmatch(text) is not None else as_json(text)


_PLAIN = re.compile(r"[\w.\-:/*@+%~]+", re.ASCII)
