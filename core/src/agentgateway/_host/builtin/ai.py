"""The backend `ai`: a model call in any dialect, to a provider that speaks some."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar
from urllib.parse import urlsplit

from agentgateway._host.builtin.ai_config import Address, AiConfig, Vendor
from agentgateway._host.builtin.ai_entry import Entry, base_of, entry_of, url_of
from agentgateway._host.builtin.ai_kept import Ledger
from agentgateway._host.builtin.ai_reply import incoming
from agentgateway._host.builtin.ai_request import NOT_FORWARDED, AwaitedDefault, Default, Finish
from agentgateway._host.builtin.models import allowed
from agentgateway.errors import ConfigError, Forbidden, NotFound, UpstreamError
from agentgateway.exchange import Exchange, Outgoing, Reply, Target
from agentgateway.interfaces import Backend, Credential, Host, Layer, Participant, Provider
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect, operations
from agentgateway.llm.dialects.resources import Resource
from agentgateway.llm.encodings import ENCODINGS
from agentgateway.llm.realtime import RealtimeCall
from agentgateway.llm.resources import ResourceCall
from agentgateway.settings import Secret

KeyPath = tuple[str | int, ...]


class AiBackend(Backend):
    """Sends model calls to a provider, translating when they do not share a dialect."""

    Config = AiConfig
    protocol: ClassVar[str] = "llm"
    fails_over: ClassVar[bool] = True

    def __init__(self, config: AiConfig, host: Host) -> None:
        super().__init__(config, host)
        self._ledger = Ledger(host.store("usage"))
        if config.provider is not None:
            self._targets = [self._target(config, config.provider, (), 0, {}, 1)]
        else:
            self._targets = [
                self._target(one, one.provider, ("groups", g, "providers", p), g, one.policies, one.weight)
                for g, group in enumerate(config.groups)
                for p, one in enumerate(group.providers)
            ]
        self.unread = bool(config.resources)
        if self.unread:
            self._check_resources()

    def _check_resources(self) -> None:
        """What is kept at one provider is nowhere else. Raises `ConfigError`."""
        where = f"{self.host.at}.resources"
        if self.config.groups:
            raise ConfigError("what one provider keeps, no other has", path=where, hint="name a single `provider`")
        entry: Entry = self._targets[0].facts
        if entry.path_override:
            raise ConfigError("`pathOverride` would lead all of them to one path", path=where, hint="use `pathPrefix`")
        offered = [name for name, one in entry.dialects.items() if isinstance(one, Resource)]
        for index, name in enumerate(self.config.resources):
            if name not in offered:
                hint = f"it has: {', '.join(offered) or 'none'}"
                raise ConfigError(f"this provider has no resource `{name}`", path=f"{where}[{index}]", hint=hint)

    def _target(
        self, config: Address, vendor: Vendor, at: KeyPath, priority: int, policies: dict[str, Any], weight: int
    ) -> Target:
        ((kind, settings),) = vendor.items()
        where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in (*at, "provider", kind))
        provider: Provider = self.host.build("agentgateway.providers", kind, settings or {}, where.lstrip("."))
        spoken = {name: dialect(name) for operation in operations() for name in provider.dialects(operation)}
        url = url_of(config, provider)
        variable = provider.key_variable
        ambient = self.host.environment(variable) if variable else None
        model = getattr(provider.config, "model", None)
        key = Secret(ambient) if ambient else None
        layer = Layer((*self.host.path, *at, "policies"), policies, "backend")
        base, own = base_of(config), urlsplit(provider.url).path.rstrip("/")
        kept_back = NOT_FORWARDED | provider.unwanted
        credential = self._default_credential(provider, where) if key is None else None
        where_to = (url, config.path_override, base, own)
        varies = type(provider).speaks is not Provider.speaks
        how = config.passthrough or ""
        self._check_passing(how, provider, model)
        self.passes = self.passes or bool(how)
        entry = Entry(provider, spoken, *where_to, model, key, credential, layer, kept_back, varies, how)
        name = config.name or kind
        endpoint = urlsplit(url).netloc or url.rstrip(":")
        return Target(self, name, endpoint, provider.system, model, weight, priority, entry)

    def _check_passing(self, how: str, provider: Provider, model: str | None) -> None:
        """Raises ConfigError for a promise that cannot be kept."""
        at = f"{self.host.at}.passthrough"
        if how and provider.answers:
            raise ConfigError("this provider answers by itself: there is nowhere to pass calls on to", path=at)
        if how == "opaque" and model is not None:
            hint = "leave out `model`, or write `detect`"
            raise ConfigError(
                "nothing in an opaque call is changed, so no other model can be asked for", path=at, hint=hint
            )

    def _default_credential(self, provider: Provider, where: str) -> Credential | None:
        if provider.credential is None:
            return None
        kind, settings = provider.credential
        built: Credential = self.host.build("agentgateway.credentials", kind, settings, where.lstrip("."))
        return built

    @property
    def inline(self) -> bool:  # type: ignore[override]
        return not any(target.facts.provider.answers for target in self._targets)

    def targets(self) -> Sequence[Target]:
        return self._targets

    def layers(self, target: Target) -> Sequence[Layer]:
        return [target.facts.layer]

    def participants(self, target: Target) -> Iterable[Participant]:
        yield Participant(Finish(target.facts), "provider")
        credential = target.facts.credential
        if credential is not None:
            kind = AwaitedDefault if inspect.iscoroutinefunction(credential.apply) else Default
            yield Participant(kind(credential), "backendAuth.signing")

    async def start(self) -> None:
        for target in self._targets:
            if target.facts.credential is not None:
                await target.facts.credential.start()

    async def stop(self) -> None:
        for target in self._targets:
            if target.facts.credential is not None:
                await target.facts.credential.stop()

    async def prepare(self, exchange: Exchange) -> Reply | None:
        entry, call = entry_of(exchange), exchange.call
        if not isinstance(call, LlmCall):
            raise NotFound(f"no installed dialect reads {exchange.request.method} {exchange.request.path}")
        method = "POST"
        if isinstance(call, ResourceCall):
            self._admit(exchange, call)
            method = call.method
        if how := entry.passes(call):
            outbound = call.passed(how, entry.model)
            path = entry.passed_path(outbound, exchange.request)
        else:
            spoken = entry.dialect_for(call)
            if spoken is None:
                return await answered(exchange, call, entry.model or call.model)
            outbound = call.outbound(spoken, entry.model)
            path = entry.path(outbound)
        headers = exchange.request.headers.end_to_end(entry.kept_back)
        outgoing = exchange.outgoing = Outgoing(method, entry.url, path, headers)
        outgoing.call = outbound
        if exchange.request.upgrade and isinstance(call, RealtimeCall):
            named = entry.provider.realtime_model
            outgoing.method, outgoing.target = "GET", call.target(outgoing.target, outbound.model, named)
        return None

    def _admit(self, exchange: Exchange, call: ResourceCall) -> None:
        """Callers who are kept to certain models are not let at what was made with any. Raises `NotFound`,
        `Forbidden`."""
        if call.dialect.name not in self.config.resources:
            raise NotFound(f"`{call.dialect.name}` are not served here", code="unsupported_operation")
        if not all(allowed(one, "") for one in exchange.identities.values()):
            raise Forbidden("this caller may use certain models, and the request names none", code="model_not_allowed")

    async def send(self, exchange: Exchange) -> Reply:
        entry = entry_of(exchange)
        outgoing, call = exchange.outgoing, exchange.call
        if outgoing is None or not isinstance(call, LlmCall):
            raise UpstreamError(detail="the call was not prepared")
        outbound: LlmCall = outgoing.call
        if entry.provider.answers:
            reply = await entry.provider.answer(outbound, outgoing)
            reply.upstream = True
            exchange.answered_at = time.monotonic()
        else:
            streams = call.stream or not call.whole or not outbound.dialect.replies
            reply = await self.host.send(exchange, stream=streams)
        return await incoming(exchange, reply, call, outbound, self._ledger)


async def answered(exchange: Exchange, call: LlmCall, model: str) -> Reply:
    """What the gateway says itself, where the provider has nothing for such a call. Raises `NotFound`."""
    assert exchange.target is not None
    question = partial(call.dialect.answer, call, exchange.target.provider, model)
    document = await asyncio.to_thread(question) if ENCODINGS.of(model) is not None else question()
    if document is None:
        raise NotFound(f"this model's provider has no `{call.operation}`", code="unsupported_operation")
    return Reply.json(200, document)
