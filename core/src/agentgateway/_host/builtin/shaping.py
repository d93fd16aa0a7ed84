"""The policy `ai`: what happens to the document of a model call before it is routed.

Order as in the reference (section 2.5): `overrides`, then `transformations` computed on the original document (an
error removes the key), then `defaults`, then aliases, then prompt enrichment. Guards come after it. Marks of prompt
caching and `finalTransformations` are for the provider's own document, so they are put there at each attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from agentgateway._host.builtin.guarding import PromptGuard, PromptGuardConfig
from agentgateway._host.builtin.outbound import Caching, FinalTransformations, PromptCaching, compute
from agentgateway._host.builtin.placed_guard import Guarding, PlacedGuard
from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Participant, Policy
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects import dialect, installed
from agentgateway.settings import CelText, PluginConfig


class PromptMessage(PluginConfig):
    role: Literal["system", "user", "assistant"] = "system"
    """Who says it."""
    content: str
    """What is said."""


class Prompts(PluginConfig):
    prepend: list[PromptMessage] = []
    """Messages before those of the call."""
    append: list[PromptMessage] = []
    """Messages after those of the call."""


class AiPolicyConfig(PluginConfig):
    """What happens to model calls before they are routed."""

    defaults: dict[str, Any] = {}
    """Top-level keys to set where the client said nothing."""
    overrides: dict[str, Any] = {}
    """Top-level keys to set whatever the client said."""
    transformations: dict[str, CelText] = {}
    """Top-level keys to compute from the original document (`llmRequest`)."""
    final_transformations: dict[str, CelText] = {}
    """Top-level keys to compute from the provider's own document (`llmRequest`), just before it is sent."""
    prompt_caching: PromptCaching | None = None
    """What of a prompt the vendor is asked to keep, where it has words for that."""
    model_aliases: dict[str, str] = {}
    """Names of models by the name the client uses; a key may hold `*`, the longest that fits wins."""
    prompts: Prompts = Prompts()
    """Messages to put around those of the call."""
    prompt_guard: PromptGuardConfig | None = None
    """Guardrails of requests and replies."""
    routes: dict[str, str] = Field({})
    """Path endings and the dialect that is spoken there; the installed dialects' own paths when empty."""


class AiPolicy(Policy, Guarding):
    """Edits model calls."""

    Config = AiPolicyConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})
    composes: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("accept", "pre_request", "upstream", "post_response")
    models_only = ("",)

    def __init__(self, config: AiPolicyConfig, host: Host) -> None:
        super().__init__(config, host)
        for name in config.routes.values():
            if name not in {one.name for one in installed()}:
                known = ", ".join(one.name for one in installed())
                raise ConfigError(f"no installed dialect is called `{name}`", path=host.at, hint=f"installed: {known}")
        self._routes = sorted(config.routes.items(), key=lambda item: -len(item[0]))
        self._computed = {key: host.expression(source) for key, source in config.transformations.items()}
        self._final = {key: host.expression(source) for key, source in config.final_transformations.items()}
        self._aliases = sorted(config.model_aliases.items(), key=lambda item: ("*" in item[0], -len(item[0])))
        self._prepend = [{"role": m.role, "content": m.content} for m in config.prompts.prepend]
        self._append = [{"role": m.role, "content": m.content} for m in config.prompts.append]
        self._shapes = bool(
            config.defaults or config.overrides or self._computed or self._aliases or self._prepend or self._append
        )
        self.reads_calls = config.prompt_guard is not None
        self._guard = PromptGuard(config.prompt_guard, host, "promptGuard") if config.prompt_guard else None

    def participants(self) -> Iterable[Participant]:
        if self._routes:
            yield Participant(Rereading(self._routes))
        if self._shapes:
            yield Participant(self)
        if self._guard is not None:
            yield from self._guard.participants()
        if self.config.prompt_caching is not None:
            yield Participant(Caching(self.config.prompt_caching.rule()))
        if self._final:
            yield Participant(FinalTransformations(self._final), "ai.final")

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None:
        call = exchange.call
        if not isinstance(call, LlmCall) or not call.model:
            return
        self._edit_document(call, exchange)
        for pattern, name in self._aliases:
            if fits(pattern, call.model):
                call.ask(name)
                break
        if self._prepend or self._append:
            call.enrich(self._prepend, self._append)

    def _edit_document(self, call: LlmCall, exchange: Exchange) -> None:
        config: AiPolicyConfig = self.config
        computed, dropped = compute(self._computed, exchange)
        changes = {key: value for key, value in config.overrides.items() if key not in dropped} | computed
        left = (call.document.keys() - dropped) | changes.keys()
        absent = {key: value for key, value in config.defaults.items() if key not in left}
        if not (changes or absent or any(key in call.document for key in dropped)):
            return
        document = call.edit()
        for key in dropped:
            document.pop(key, None)
        document.update(changes)
        document.update(absent)
        call.reread()

    def placed_guards(self) -> Sequence[PlacedGuard]:
        return self._guard.placed_guards() if self._guard is not None else ()

    async def start(self) -> None:
        if self._guard is not None:
            await self._guard.start()

    async def stop(self) -> None:
        if self._guard is not None:
            await self._guard.stop()


class Rereading:
    """`routes`: read a call in the dialect that the operator's own map of paths names."""

    def __init__(self, routes: list[tuple[str, str]]) -> None:
        self._routes = routes

    @hookimpl
    def accept(self, exchange: Exchange) -> None:
        path, raw = exchange.request.path, exchange.request.body.data
        if isinstance(exchange.call, LlmCall) and not exchange.call.whole:
            return
        for ending, name in self._routes:
            if raw and (ending == "*" or path.endswith(ending)):
                spoken = dialect(name)
                if not isinstance(exchange.call, LlmCall) or exchange.call.dialect.name != name:
                    exchange.call = LlmCall.read(spoken, raw, path)
                    exchange.unread = None
                return


def fits(pattern: str, model: str) -> bool:
    """Whether a name fits a pattern with any number of `*`."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == model
    if not model.startswith(first) or len(model) < len(pattern) - len(rest):
        return False
    at = len(first)
    for part in rest[:-1]:
        at = model.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return model.endswith(rest[-1]) and len(model) - len(rest[-1]) >= at
