"""The variables of expressions: a dotted name, and the function that reads it from an exchange.

The names are the reference's (its section 7.1). A plugin adds its own root through the entry-point group
`agentgateway.variables`. Only what an expression reads is ever computed; a getter raises KeyError when it has nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from agentgateway.exchange import Exchange, Headers, Usage
from agentgateway.expressions import Deferred, Environment
from agentgateway.llm.prices import cost_of, rates_of

Getter = Callable[[Exchange], Any]


class HeaderView(Mapping[str, Any]):
    """Headers as expressions see them: names in any case; one value is a string, several are a list."""

    __slots__ = ("_headers",)

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def __getitem__(self, name: str) -> Any:
        wanted = name.lower().encode("latin-1")
        values = [value for key, value in self._headers.raw if key == wanted]
        if not values:
            raise KeyError(name)
        if len(values) == 1:
            return values[0].decode("latin-1")
        return [value.decode("latin-1") for value in values]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self._headers))

    def __len__(self) -> int:
        return len({name for name, _ in self._headers.raw})


PARAMETERS = (
    *("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed"),
    *("max_tokens", "encoding_format", "dimensions"),
)


def _present(value: Any) -> Any:
    if value is None:
        raise KeyError
    return value


def _text(body: Any) -> str:
    if not isinstance(body, bytes):
        raise KeyError("body")
    return body.decode("utf-8", "replace")


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _usage(exchange: Exchange) -> Usage:
    if exchange.usage is None:
        raise KeyError("usage")
    return exchange.usage


def _certificate(exchange: Exchange) -> Mapping[str, Any]:
    if exchange.source.certificate is None:
        raise KeyError("certificate")
    return exchange.source.certificate


def _of_call(name: str) -> Getter:
    """What the call says of itself, if there is a call and it does."""

    def read(exchange: Exchange) -> Any:
        value = getattr(exchange.call, name, None)
        if value is None:
            raise KeyError(name)
        return value

    return read


_document = _of_call("document")


def _params(exchange: Exchange) -> dict[str, Any]:
    document = _document(exchange)
    return {name: document[name] for name in PARAMETERS if name in document}


def _prompt(exchange: Exchange) -> list[dict[str, str]]:
    call = _present(exchange.call)
    return [{"role": segment.role, "content": segment.text} for segment in call.segments()]


def _completion(exchange: Exchange) -> list[str]:
    content = exchange.protocol.content(exchange) if exchange.protocol is not None else None
    return [segment.text for segment in _present(content).segments() if segment.scope == "messages"]


def _first_token(exchange: Exchange) -> float:
    return float(_present(exchange.first_token_at)) - exchange.started


def _per_token(exchange: Exchange) -> float:
    usage = _usage(exchange)
    ended = _present(exchange.ended)
    if usage.output_tokens < 2:
        raise KeyError("timePerOutputToken")
    return float(ended - _present(exchange.first_token_at)) / (usage.output_tokens - 1)


def _target(exchange: Exchange, name: str) -> Any:
    return _present(getattr(exchange.target, name, None) or None)


def _processing(exchange: Exchange) -> float:
    return float(_present(exchange.sent_at)) - exchange.started


VARIABLES: dict[str, Getter] = {
    "request.method": lambda e: e.request.method,
    "request.uri": lambda e: f"{e.request.scheme}://{e.request.authority}{e.request.target}",
    "request.host": lambda e: e.request.authority,
    "request.scheme": lambda e: e.request.scheme,
    "request.path": lambda e: e.request.path,
    "request.pathAndQuery": lambda e: e.request.target,
    "request.version": lambda e: e.request.version,
    "request.headers": lambda e: HeaderView(e.request.headers),
    "request.body": lambda e: _text(e.request.body.data),
    "request.startTime": lambda e: _time(e.started_at),
    "request.endTime": lambda e: _time(e.started_at + _present(e.ended) - e.started),
    "response.code": lambda e: _present(e.reply).status,
    "response.headers": lambda e: HeaderView(_present(e.reply).headers),
    "response.body": lambda e: _text(_present(e.reply).body),
    "source.address": lambda e: e.source.address,
    "source.port": lambda e: e.source.port,
    "source.rawAddress": lambda e: e.source.address,
    "source.rawPort": lambda e: e.source.port,
    "source.certificate": _certificate,
    "source.subject": lambda e: _certificate(e)["subject"],
    "source.subjectCn": lambda e: _certificate(e)["subjectCn"],
    "source.issuer": lambda e: _certificate(e)["issuer"],
    "source.subjectAltNames": lambda e: _certificate(e)["subjectAltNames"],
    "source.spiffeId": lambda e: _certificate(e)["spiffeId"],
    "destination.address": lambda e: _target(e, "endpoint"),
    "proxy.bind": lambda e: e.place.bind,
    "proxy.gateway.name": lambda e: e.place.gateway,
    "proxy.listener.name": lambda e: e.place.listener,
    "proxy.route.name": lambda e: e.place.route,
    "proxy.route.rule": lambda e: e.place.route_rule,
    "proxy.requestProcessingDuration": _processing,
    "proxy.upstreamDuration": lambda e: _present(e.answered_at) - _present(e.sent_at),
    "backend.name": lambda e: _target(e, "name"),
    "backend.protocol": lambda e: e.target.backend.protocol if e.target else _present(None),
    "env.podName": lambda e: ENVIRONMENT["podName"],
    "env.namespace": lambda e: ENVIRONMENT["namespace"],
    "llmRequest": _document,
    "llm.streaming": _of_call("stream"),
    "llm.requestModel": _of_call("requested_model"),
    "llm.responseModel": lambda e: _present(e.response_model),
    "llm.provider": lambda e: _target(e, "provider"),
    "llm.prompt": _prompt,
    "llm.completion": _completion,
    "llm.params": _params,
    "llm.inputTokens": lambda e: _usage(e).input_tokens,
    "llm.providerInputTokens": lambda e: _usage(e).provider_input_tokens,
    "llm.cachedInputTokens": lambda e: _usage(e).cached_input_tokens,
    "llm.cacheCreationInputTokens": lambda e: _usage(e).cache_creation_input_tokens,
    "llm.outputTokens": lambda e: _usage(e).output_tokens,
    "llm.reasoningTokens": lambda e: _usage(e).reasoning_tokens,
    "llm.totalTokens": lambda e: _usage(e).total_tokens,
    "llm.inputAudioTokens": lambda e: _usage(e).input_audio_tokens,
    "llm.outputAudioTokens": lambda e: _usage(e).output_audio_tokens,
    "llm.cost": lambda e: _present(cost_of(e)).dollars(),
    "llm.costRates": lambda e: _present(rates_of(e)),
    "llm.timeToFirstToken": _first_token,
    "llm.timePerOutputToken": _per_token,
}

ENVIRONMENT: dict[str, str] = {}
"""`env.*`, filled once at start by the loader, the only reader of the process's environment."""


@cache
def environment() -> Environment:
    """The variables of this process: the core's, and one root for each installed plugin that offers one."""
    return Environment({**VARIABLES, **{point.name: Deferred(point.load) for point in entry_points(group=GROUP)}})


GROUP = "agentgateway.variables"
