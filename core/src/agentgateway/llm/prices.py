"""What calls cost: rates by provider and model, and the arithmetic.

Money is counted in whole picodollars (1e-12 USD). A rate has at most six decimals of USD for a million tokens, which
makes it a whole number of picodollars a token; so every product and every sum is exact, like decimals, and as fast as
integers. Nothing here is a float but what expressions read.

Vendors report tokens in conventions of their own; `Usage` has one, in which input includes what was cached or audio,
and output includes reasoning and audio. Prices are the vendors': fresh input, input read from a cache and input written
to one each have a rate, and all of a call is charged by the tier that its whole input falls into, whatever of it came
from a cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from agentgateway.exchange import Exchange, Usage

PICODOLLARS = 10**12
"""In a dollar."""
ROOM = 4096
"""Models whose prices are remembered. Clients choose names, so there has to be an end."""
LONGEST = 512
"""Characters of a model's name. A longer one is in no catalogue, and not worth remembering."""
_QUALIFIED = re.compile(r"(?:arn:.+|models|(?:projects/.+/)?publishers/[^/]+/models)/([^/]+)")
_DATED = re.compile(r"(.+?)[-@](\d{4})-?(\d{2})-?(\d{2})")


class Rates(NamedTuple):
    """Picodollars a token; None where nothing is known."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None


class Tier(NamedTuple):
    """Rates of calls whose input is larger than `context_over` tokens."""

    context_over: int
    rates: Rates


class ModelPrices(NamedTuple):
    """A model's rates. `tiers` have the largest first."""

    rates: Rates = Rates()
    tiers: tuple[Tier, ...] = ()
    tags: tuple[str, ...] = ()

    def rates_for(self, context: int) -> Rates:
        if self.tiers:
            for tier in self.tiers:
                if context > tier.context_over:
                    return tier.rates
        return self.rates


class Status(StrEnum):
    """What a catalogue said of a call."""

    EXACT = "Exact"
    MISSING = "Missing"
    """It does not have the model."""
    UNPRICED = "Unpriced"
    """It has the model, but no rate for some of the tokens."""
    NO_CATALOG = "NoCatalog"
    """There is none, or not yet."""


class Cost(NamedTuple):
    """What a call cost, in picodollars. Tokens without a rate of their own are in `input` or in `output`."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0

    @property
    def total(self) -> int:
        return sum(self)

    def dollars(self) -> dict[str, float]:
        """As expressions read it (`llm.cost`)."""
        parts = zip(PARTS, self, strict=True)
        return {"total": self.total / PICODOLLARS, **{name: part / PICODOLLARS for name, part in parts}}


PARTS = ("input", "output", "cacheRead", "cacheWrite", "reasoning", "inputAudio", "outputAudio")
"""The parts of a cost, and the rates, as expressions call them."""


Priced = tuple[Status, Cost | None]
"""What a catalogue says of a call, and its cost when that is `EXACT`."""
NO_CATALOG: Priced = (Status.NO_CATALOG, None)
MISSING: Priced = (Status.MISSING, None)
UNPRICED: Priced = (Status.UNPRICED, None)
_EXACT = Status.EXACT
_AT_OTHER_RATES = "batches"
"""The operation whose tokens have rates of their own, half of the others, which no catalogue has a word for."""
Names = tuple[str | None, ...]
"""The names that a call's model may be listed under; the first that is known counts."""


def decimal(picodollars: int) -> str:
    """Dollars as an exact decimal number, without an exponent: `0.0000125`."""
    digits = f"{picodollars:013}"
    rest = digits[-12:].rstrip("0")
    return f"{digits[:-12]}.{rest}" if rest else digits[:-12]


def cost(rates: Rates, usage: Usage) -> Cost | None:
    """None when there are tokens that no rate is for. Cached tokens and audio without a rate of their own are ordinary
    input; reasoning and audio without one are ordinary output."""
    input, output, cached, written, reasoning, _, heard, voiced = usage
    if not (cached or written or reasoning or heard or voiced):
        return plain_cost(rates, input, output)
    fresh = max(0, input - cached - written)
    heard = min(heard, fresh) if rates.input_audio is not None else 0
    fresh -= heard
    if rates.cache_read is None:
        fresh, cached = fresh + cached, 0
    if rates.cache_write is None:
        fresh, written = fresh + written, 0
    thought = min(reasoning, output) if rates.reasoning is not None else 0
    output -= thought
    voiced = min(voiced, output) if rates.output_audio is not None else 0
    output -= voiced
    if (fresh and rates.input is None) or (output and rates.output is None):
        return None
    return Cost(
        fresh * (rates.input or 0),
        output * (rates.output or 0),
        cached * (rates.cache_read or 0),
        written * (rates.cache_write or 0),
        thought * (rates.reasoning or 0),
        heard * (rates.input_audio or 0),
        voiced * (rates.output_audio or 0),
    )


def plain_cost(rates: Rates, input: int, output: int) -> Cost | None:
    """That of most calls, whose tokens are all of the ordinary kinds."""
    entered, left, *_ = rates
    if (input and entered is None) or (output and left is None):
        return None
    return Cost(input * (entered or 0), output * (left or 0))


Pattern = tuple[str, ...]
"""What stands between the `*` of a name."""


@dataclass(frozen=True, slots=True)
class ProviderPrices:
    """The models of a provider by name, in lower case; `patterns` are names with `*`, the most specific first.
    `inherits` names providers whose models it has as well."""

    models: Mapping[str, ModelPrices] = field(default_factory=dict)
    patterns: Sequence[tuple[Pattern, ModelPrices]] = ()
    inherits: tuple[str, ...] = ()

    def find(self, model: str) -> ModelPrices | None:
        for name in spellings(model):
            found = self.models.get(name)
            if found is not None:
                return found
        return next((prices for pattern, prices in self.patterns if fits(pattern, model)), None)


Layer = Mapping[str, ProviderPrices]
"""One catalogue as it was written: providers by name, in lower case."""


class PriceCatalogue:
    """Several catalogues as one, immutable; where two know a model, the later one counts."""

    __slots__ = ("_found", "_layers")

    def __init__(self, layers: Sequence[Layer] = ()) -> None:
        self._layers = tuple(reversed(layers))
        self._found: dict[tuple[str, Names], ModelPrices | None] = {}

    def find(self, provider: str, models: Names) -> ModelPrices | None:
        """The prices of a provider's model, by the first of its names that is known. A name may be dated or qualified
        (`models/…`, an ARN)."""
        key = (provider, models)
        try:
            return self._found[key]
        except KeyError:
            names = [model for model in models if model]
            if any(len(model) > LONGEST for model in names):
                return self._first(provider, [model for model in names if len(model) <= LONGEST])
            if len(self._found) >= ROOM:
                self._found.clear()
            found = self._found[key] = self._first(provider, names)
            return found

    def price(self, provider: str, models: Names, usage: Usage) -> Priced:
        """What a call cost."""
        if not self._layers:
            return NO_CATALOG
        prices = self.find(provider, models)
        if prices is None:
            return MISSING
        if not (usage.input_tokens or usage.output_tokens):
            return UNPRICED
        amount = cost(prices.rates_for(usage.input_tokens), usage)
        return (_EXACT, amount) if amount is not None else UNPRICED

    def _first(self, provider: str, models: Sequence[str]) -> ModelPrices | None:
        found = (self._search(provider.lower(), model.lower()) for model in models)
        return next((prices for prices in found if prices is not None), None)

    def _search(self, provider: str, model: str) -> ModelPrices | None:
        qualified = _QUALIFIED.fullmatch(model)
        for one in self._providers(provider):
            for layer in self._layers:
                if one not in layer:
                    continue
                found = layer[one].find(model)
                if found is None and qualified is not None:
                    found = layer[one].find(qualified[1])
                if found is not None:
                    return found
        return None

    def _providers(self, name: str) -> Iterator[str]:
        """A provider, and those whose models it has."""
        names = [name]
        for one in names:  # grows meanwhile
            yield one
            for layer in self._layers:
                if one in layer:
                    names.extend(inherited for inherited in layer[one].inherits if inherited not in names)


class Prices:
    """The catalogue that is in use, swapped whole; None while the configuration has none."""

    catalogue: PriceCatalogue | None = None


PRICES = Prices()
"""The process's own."""


def priced(exchange: Exchange) -> Priced:
    """What is known of a call's cost: looked up when somebody asks, and once for all who do."""
    catalogue, target, usage = PRICES.catalogue, exchange.target, exchange.usage
    if catalogue is None or target is None or usage is None:
        return NO_CATALOG
    known = exchange.priced
    if known is None or known[0] is not catalogue or known[1] is not usage:
        looked_up = catalogue.price(target.provider, models_of(exchange), usage)
        if getattr(exchange.call, "operation", None) == _AT_OTHER_RATES and looked_up[0] is _EXACT:
            looked_up = UNPRICED
        known = exchange.priced = (catalogue, usage, looked_up)
    found: Priced = known[2]
    return found


def cost_of(exchange: Exchange) -> Cost | None:
    """What a call cost, if that is known."""
    return priced(exchange)[1]


def rates_of(exchange: Exchange) -> dict[str, float] | None:
    """The rates that a call is charged by, as expressions read them (`llm.costRates`): USD for a million tokens, and
    nothing where there is no rate."""
    catalogue, target, usage = PRICES.catalogue, exchange.target, exchange.usage
    if getattr(exchange.call, "operation", None) == _AT_OTHER_RATES:
        return None
    prices = catalogue.find(target.provider, models_of(exchange)) if catalogue is not None and target else None
    if prices is None:
        return None
    rates = prices.rates_for(usage.input_tokens if usage is not None else 0)
    return {name: rate / 1_000_000 for name, rate in zip(PARTS, rates, strict=True) if rate is not None}


def models_of(exchange: Exchange) -> Names:
    """The model that answered, and the one that was asked for upstream."""
    target = exchange.target
    return exchange.response_model, (target and target.model) or getattr(exchange.call, "model", None)


def spellings(model: str) -> Iterator[str]:
    """A name, and how else it may be listed: a date with and without dashes, and no date at all, which is the model
    that a dated one is a version of."""
    yield model
    dated = _DATED.fullmatch(model)
    if dated is not None:
        name, year, month, day = dated.groups()
        yield f"{name}-{year}-{month}-{day}"
        yield f"{name}-{year}{month}{day}"
        yield name


def fits(pattern: Pattern, text: str) -> bool:
    """Whether the text begins with the first part, ends with the last, and has the others in between, in order."""
    first, *inner, last = pattern
    if not (text.startswith(first) and text.endswith(last)) or len(text) < len(first) + len(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in inner:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True
