"""The written form of a price catalogue, the reference's: `providers.NAME.models.NAME` with `rates`, `tiers`, `tags`.

Rates are text, since a decimal number in YAML or JSON would be read as a binary one: USD for a million tokens, at most
six decimals, never negative. Beyond the reference, a model's name may have `*` in it, and a provider `inherits` others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator
from pydantic_core import from_json

from agentgateway.llm.prices import Layer, ModelPrices, Pattern, ProviderPrices, Rates, Tier
from agentgateway.settings import PluginConfig, problem

_RATE = r"^[0-9]{1,9}(\.[0-9]{1,6})?$"
NOTHING = Rates()
HINT = 'write it as text, USD for a million tokens: "2.50"'


def parse_rate(value: object) -> int | None:
    """Picodollars a token of a decimal number of dollars for a million tokens."""
    if value is None:
        return None
    if isinstance(value, int | float):
        raise problem("a rate is text", HINT, "rate")
    if not isinstance(value, str) or not re.fullmatch(_RATE, value):
        negative = isinstance(value, str) and value.startswith("-")
        what = "a rate must not be negative" if negative else "not a rate: digits, and at most six decimals"
        raise problem(what, HINT, "rate")
    whole, _, decimals = value.partition(".")
    return int(whole) * 1_000_000 + int(decimals.ljust(6, "0"))


def rate_text(rate: int | None) -> str | None:
    """The rate as it is written."""
    if rate is None:
        return None
    whole, decimals = divmod(rate, 1_000_000)
    return f"{whole}.{decimals:06}".rstrip("0").rstrip(".") if decimals else str(whole)


Rate = Annotated[
    int | None,
    BeforeValidator(parse_rate),
    PlainSerializer(rate_text, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": _RATE, "examples": ["2.50"]}),
]


class RatesConfig(PluginConfig):
    """USD for a million tokens."""

    input: Rate = None
    """Input that no cache had a part in, and what of the input has no rate of its own."""
    output: Rate = None
    """Output, with the reasoning in it unless that has a rate of its own."""
    cache_read: Rate = None
    """Input that came from a cache."""
    cache_write: Rate = None
    """Input that was written to a cache."""
    reasoning: Rate = None
    """Output that was thought and not said."""
    input_audio: Rate = None
    """Audio in the input."""
    output_audio: Rate = None
    """Audio in the output."""

    def rates(self, otherwise: Rates = NOTHING) -> Rates:
        own = [getattr(self, name) for name in Rates._fields]
        return Rates(*[rate if rate is not None else other for rate, other in zip(own, otherwise, strict=True)])


class TierConfig(PluginConfig):
    context_over: int = Field(ge=0)
    """The tier is for calls with more input tokens than this, cached ones included."""
    rates: RatesConfig
    """Its rates, for all tokens of such a call; those it leaves out are the model's."""


class ModelPricesConfig(PluginConfig):
    rates: RatesConfig = RatesConfig()
    """What its tokens cost."""
    tiers: list[TierConfig] = []
    """Other rates for calls with much input."""
    tags: list[str] = []
    """Words about the model, for whoever knows them."""

    @model_validator(mode="after")
    def _each_tier_once(self) -> ModelPricesConfig:
        if len({tier.context_over for tier in self.tiers}) < len(self.tiers):
            raise ValueError("two `tiers` have the same `contextOver`")
        return self

    def prices(self) -> ModelPrices:
        rates = self.rates.rates()
        ordered = sorted(self.tiers, key=lambda tier: -tier.context_over)
        tiers = tuple(Tier(tier.context_over, tier.rates.rates(rates)) for tier in ordered)
        return ModelPrices(rates, tiers, tuple(self.tags))


class ProviderPricesConfig(PluginConfig):
    models: dict[Annotated[str, Field(min_length=1)], ModelPricesConfig] = {}
    """Prices by the model's name; `*` in a name stands for anything."""
    inherits: list[str] = []
    """Providers whose models it has at the same prices."""

    def prices(self) -> ProviderPrices:
        models = {name.lower(): model.prices() for name, model in self.models.items()}
        patterns = sorted(((pattern(name), prices) for name, prices in models.items() if "*" in name), key=breadth)
        plain = {name: prices for name, prices in models.items() if "*" not in name}
        return ProviderPrices(plain, patterns, tuple(name.lower() for name in self.inherits))


class CatalogConfig(PluginConfig):
    """A price catalogue."""

    providers: dict[Annotated[str, Field(min_length=1)], ProviderPricesConfig]
    """Models by provider, as `gen_ai.provider.name` has it in the access log."""

    def layer(self) -> Layer:
        return {name.lower(): provider.prices() for name, provider in self.providers.items()}


def pattern(name: str) -> Pattern:
    return tuple(name.split("*"))


def breadth(entry: tuple[Pattern, Any]) -> int:
    """For putting the patterns that say most first."""
    return -sum(map(len, entry[0]))


def layer_of(text: bytes) -> Layer:
    """The catalogue of a JSON text, for one that nobody wrote by hand: provider by provider, since the whole of it in
    pieces would take many times its room. Raises ValueError."""
    document = from_json(text)
    if not isinstance(document, dict) or not isinstance(document.get("providers"), dict):
        raise ValueError("no catalogue")
    providers = document["providers"]
    return shared(
        (name.lower(), ProviderPricesConfig.model_validate(providers.pop(name)).prices()) for name in [*providers]
    )


def shared(providers: Iterable[tuple[str, ProviderPrices]]) -> Layer:
    """The same, where equal prices are one object."""
    known: dict[ModelPrices, ModelPrices] = {}
    return {
        name: ProviderPrices(
            {model: known.setdefault(prices, prices) for model, prices in one.models.items()},
            [(pattern, known.setdefault(prices, prices)) for pattern, prices in one.patterns],
            one.inherits,
        )
        for name, one in providers
    }
