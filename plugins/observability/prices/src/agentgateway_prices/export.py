"""From genai-prices' data to the catalogue's format. Imports genai-prices: for a process of its own.

A model's rules for recognising its name become names with `*`. Of prices with a date the one of today counts. Of those
with a time of day the dearest does: the catalogue knows one price at all hours, and no cost should be told too low.
Models that charge for each call besides its tokens are listed without rates, for the same reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from genai_prices.data import providers
from genai_prices.types import (
    ClauseAnd,
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseOr,
    ClauseRegex,
    ClauseStartsWith,
    ModelInfo,
    ModelPrice,
    Provider,
    TieredPrices,
    TimeOfDateConstraint,
)

RATES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cacheRead": "cache_read_mtok",
    "cacheWrite": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
    "inputAudio": "input_audio_mtok",
    "outputAudio": "output_audio_mtok",
}
"""Rates of the catalogue, and what genai-prices calls them."""
SYSTEMS = {
    "aws": ("aws.bedrock", "bedrock"),
    "azure": ("azure.ai.openai", "azure.ai.inference"),
    "google": ("gcp.gemini", "gcp.vertex_ai", "gcp.gen_ai", "gemini", "vertex"),
    "mistral": ("mistral_ai",),
    "moonshotai": ("moonshot_ai",),
    "together": ("togetherai", "together_ai"),
    "x-ai": ("x_ai", "xai"),
    "fireworks": ("fireworks_ai",),
    "github-copilot": ("copilot",),
}
"""What else a provider is called (https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/)."""
PER_CALL = "requests_kcount"
"""What genai-prices calls a charge for each call."""
SIX_DECIMALS = Decimal("0.000001")


def catalogue_text() -> bytes:
    """The whole catalogue, compact."""
    return json.dumps(catalogue(), separators=(",", ":")).encode()


def catalogue(now: datetime | None = None) -> dict[str, Any]:
    """The prices in force at that time."""
    now = now or datetime.now(UTC)
    found: dict[str, Any] = {provider.id: entry(provider, now) for provider in providers}
    for known, names in SYSTEMS.items():
        for name in names:
            found.setdefault(name, {"inherits": [known]})
    return {"providers": found}


def entry(provider: Provider, now: datetime) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for model in provider.models:
        priced = prices(model, now)
        for name in names(model.match):
            models.setdefault(name, priced)  # the first that recognises a name counts there
        for name in spared(model.match):
            models.setdefault(name, {})
    shown: dict[str, Any] = {"models": models}
    if provider.fallback_model_providers:
        shown["inherits"] = provider.fallback_model_providers
    return shown


def names(match: Any) -> Iterator[str]:
    """The names that a rule recognises."""
    match match:
        case ClauseEquals(equals=text):
            yield text.lower()
        case ClauseStartsWith(starts_with=text):
            yield f"{text.lower()}*"
        case ClauseEndsWith(ends_with=text):
            yield f"*{text.lower()}"
        case ClauseContains(contains=text):
            yield f"*{text.lower()}*"
        case ClauseRegex(regex=text):
            yield from dated(text)
        case ClauseOr(or_=rules):
            for rule in rules:
                yield from names(rule)
        case ClauseAnd(and_=rules):
            for rule in rules:
                if not isinstance(rule, ClauseRegex):
                    yield from names(rule)


def dated(regex: str) -> Iterator[str]:
    """Of `^NAME-\\d{8}$`, the name: a catalogue finds dated names by what stands before the date."""
    found = _DATED.fullmatch(regex)
    if found is not None:
        yield re.sub(r"\\(.)", r"\1", found[1]).lower()


def spared(match: Any) -> Iterator[str]:
    """Names that a rule with `(?!.*-tts)` leaves to others, or to nobody."""
    rules = match.or_ if isinstance(match, ClauseOr) else [match]
    for rule in rules:
        if isinstance(rule, ClauseAnd) and any(_NO_SPEECH in getattr(one, "regex", "") for one in rule.and_):
            for name in names(rule):
                yield f"{name}-tts"
                yield f"{name}-tts-*"


_DATED = re.compile(r"\^((?:[\w.:/-]|\\[.\-/])+?)(?:[-@]|\[[-@]+\])\\d\{(?:8\}|4\}-\\d\{2\}-\\d\{2\})\$")
_NO_SPEECH = "(?!.*-[tT][tT][sS]"


def prices(model: ModelInfo, now: datetime) -> dict[str, Any]:
    """The rates and tiers of a model."""
    priced = in_force(model, now)
    if getattr(priced, PER_CALL, None):
        return {}
    given = {name: value for name, key in RATES.items() if (value := getattr(priced, key, None)) is not None}
    starts = sorted({tier.start for value in given.values() if isinstance(value, TieredPrices) for tier in value.tiers})
    shown: dict[str, Any] = {"rates": rates(given, 0)}
    if starts:
        shown["tiers"] = [{"contextOver": start, "rates": rates(given, start + 1)} for start in starts]
    return shown


def in_force(model: ModelInfo, now: datetime) -> ModelPrice:
    if isinstance(model.prices, ModelPrice):
        return model.prices
    hourly = [one.prices for one in model.prices if isinstance(one.constraint, TimeOfDateConstraint)]
    daily = [one for one in model.prices if not isinstance(one.constraint, TimeOfDateConstraint)]
    active = [one.prices for one in daily if one.constraint is None or one.constraint.active(now)]
    ordinary = active[-1] if active else model.prices[0].prices
    return max((ordinary, *hourly), key=dearness)


def dearness(priced: ModelPrice) -> Decimal:
    """What a token in and a token out cost together, for telling which price is higher."""
    return sum((at(value, 0) for key in ("input_mtok", "output_mtok") if (value := getattr(priced, key))), Decimal())


def rates(given: dict[str, Any], context: int) -> dict[str, str]:
    """The rates of a call with so many input tokens."""
    return {name: text(at(value, context)) for name, value in given.items()}


def at(price: Decimal | TieredPrices, context: int) -> Decimal:
    if not isinstance(price, TieredPrices):
        return price
    reached: Iterable[Decimal] = [tier.price for tier in price.tiers if context > tier.start]
    return [price.base, *reached][-1]


def text(rate: Decimal) -> str:
    """A rate as the catalogue has it, without an exponent."""
    written = f"{rate.quantize(SIX_DECIMALS, ROUND_HALF_EVEN):f}"
    return written.rstrip("0").rstrip(".")
