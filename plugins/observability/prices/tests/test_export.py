"""The exported catalogue says what genai-prices says, model by model, name by name."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from agentgateway_prices.export import catalogue, dated, text
from genai_prices import Usage as GenaiUsage
from genai_prices import calc_price
from genai_prices.data import providers
from genai_prices.types import (
    ClauseContains,
    ClauseEndsWith,
    ClauseEquals,
    ClauseStartsWith,
    ConditionalPrice,
    ModelPrice,
    Provider,
    TimeOfDateConstraint,
)

from agentgateway.exchange import Usage
from agentgateway.llm.price_format import layer_of
from agentgateway.llm.prices import PICODOLLARS, PriceCatalogue, Rates, Status

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BY_ID = {provider.id: provider for provider in providers}
CALLS = (
    Usage(1000, 100),
    Usage(1000, 100, 600),
    Usage(1000, 100, 100, 100),
    Usage(200_000, 100),
    Usage(200_001, 100),
    Usage(300_000, 5000, 1000),
    Usage(1000, 0),
)


@pytest.fixture(scope="module")
def prices() -> PriceCatalogue:
    return PriceCatalogue([layer_of(json.dumps(catalogue(NOW)).encode())])


def theirs(usage: Usage) -> GenaiUsage:
    return GenaiUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        cache_write_tokens=usage.cache_creation_input_tokens,
        input_audio_tokens=usage.input_audio_tokens,
        output_audio_tokens=usage.output_audio_tokens,
    )


KNOWN = [
    ("openai", "openai", "gpt-4o"),
    ("openai", "openai", "gpt-4o-2024-08-06"),
    ("openai", "openai", "gpt-4o-mini-2024-07-18"),
    ("openai", "openai", "gpt-5-2025-08-07"),
    ("openai", "openai", "o3"),
    ("openai", "openai", "text-embedding-3-small"),
    ("anthropic", "anthropic", "claude-sonnet-4-5-20250929"),
    ("anthropic", "anthropic", "claude-opus-4-6"),
    ("anthropic", "anthropic", "claude-haiku-4-5"),
    ("gcp.gemini", "google", "gemini-2.5-pro"),
    ("gcp.gemini", "google", "gemini-2.5-flash"),
    ("gcp.vertex_ai", "google", "claude-sonnet-4-5@20250929"),
    ("aws.bedrock", "aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("aws.bedrock", "aws", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("azure.ai.openai", "azure", "gpt-4o"),
    ("mistral_ai", "mistral", "mistral-large-latest"),
    ("x_ai", "x-ai", "grok-4"),
    ("groq", "groq", "llama-3.3-70b-versatile"),
    ("togetherai", "together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"),
    ("cohere", "cohere", "command-r-plus-08-2024"),
]


@pytest.mark.parametrize(("system", "provider", "model"), KNOWN)
def test_known_models_cost_what_genai_prices_calculates(prices, system, provider, model):
    usages = [usage for usage in CALLS if "embedding" not in model or not usage.output_tokens]
    for usage in usages:
        status, amount = prices.price(system, (model,), usage)
        expected = calc_price(theirs(usage), model, provider_id=provider, genai_request_timestamp=NOW)
        assert status is Status.EXACT and amount is not None
        assert Decimal(amount.total) / PICODOLLARS == expected.total_price, usage


def test_sound_costs_what_genai_prices_calculates(prices):
    usage = Usage(1000, 100, 0, 0, 0, False, 300, 0)
    status, amount = prices.price("gcp.gemini", ("gemini-2.5-flash",), usage)
    expected = calc_price(theirs(usage), "gemini-2.5-flash", provider_id="google", genai_request_timestamp=NOW)
    assert status is Status.EXACT and amount is not None and amount.input_audio > 0
    assert Decimal(amount.total) / PICODOLLARS == expected.total_price


def spellings(rule: Any) -> Iterator[str]:
    """Names that a rule recognises."""
    match rule:
        case ClauseEquals(equals=name):
            yield name
        case ClauseStartsWith(starts_with=name):
            yield from (name, f"{name}-x", f"{name}-20250131", f"{name}-2025-01-31")
        case ClauseEndsWith(ends_with=name):
            yield from (name, f"x-{name}")
        case ClauseContains(contains=name):
            yield from (name, f"x-{name}-y")
        case _:
            for one in getattr(rule, "or_", None) or getattr(rule, "and_", ()):
                yield from spellings(one)


def hourly(price: ModelPrice | list[ConditionalPrice]) -> bool:
    return isinstance(price, list) and any(isinstance(one.constraint, TimeOfDateConstraint) for one in price)


@pytest.mark.parametrize("provider", providers, ids=lambda provider: provider.id)
def test_every_name_of_every_model_leads_to_the_same_price(prices: PriceCatalogue, provider: Provider) -> None:
    names = sorted({name for model in provider.models for name in (model.id, *spellings(model.match))})
    assert names
    for name in names:
        found, model = prices.find(provider.id, (name,)), provider.find_model(name, all_providers=providers)
        if model is None:
            assert found is None or found.rates == Rates(), name
            continue
        if hourly(model.prices):
            continue
        assert found is not None, name
        for usage in CALLS:
            status, amount = prices.price(provider.id, (name,), usage)
            if status is Status.UNPRICED:  # no rate where genai-prices adds nothing, or a charge for each call
                continue
            assert amount is not None
            expected = model.calc_price(theirs(usage), provider, genai_request_timestamp=NOW).total_price
            rounding = usage.total_tokens  # half a picodollar a token, in rates with more than six decimals
            assert abs(Decimal(amount.total) - expected * PICODOLLARS) <= rounding, (name, usage)


def test_a_price_by_the_hour_is_the_dearest_of_the_day(prices):
    for hour in range(24):
        at = NOW.replace(hour=hour)
        expected = calc_price(
            theirs(CALLS[0]), "deepseek-chat", provider_id="deepseek", genai_request_timestamp=at
        ).total_price
        _, amount = prices.price("deepseek", ("deepseek-chat",), CALLS[0])
        assert amount is not None and Decimal(amount.total) / PICODOLLARS >= expected


def test_a_model_that_charges_for_each_call_has_no_price(prices):
    assert prices.price("perplexity", ("sonar",), CALLS[0]) == (Status.UNPRICED, None)


@pytest.mark.parametrize(("day", "rate"), [((2025, 6, 9), 10), ((2025, 6, 10), 2)])
def test_a_price_begins_on_its_day(day, rate):
    then = datetime(*day, tzinfo=UTC)
    entry = PriceCatalogue([layer_of(json.dumps(catalogue(then)).encode())]).find("openai", ("o3",))
    assert entry is not None and entry.rates.input == rate * 1_000_000


def test_every_provider_is_there_under_the_names_that_the_gateway_uses(prices):
    listed = catalogue(NOW)["providers"]
    assert set(BY_ID) <= set(listed)
    systems = {"openai", "anthropic", "gcp.gemini", "gcp.vertex_ai", "aws.bedrock", "azure.ai.openai", "copilot"}
    assert systems <= set(listed)
    assert {name for one in listed.values() for name in one.get("inherits", ())} <= set(listed)


@pytest.mark.parametrize(
    ("regex", "name"),
    [
        (r"^gpt-5\.6-luna-\d{4}-\d{2}-\d{2}$", "gpt-5.6-luna"),
        (r"^claude-opus-5[-@]\d{8}$", "claude-opus-5"),
        (r"^openai/gpt-6-sol-\d{8}$", "openai/gpt-6-sol"),
        (r"^gemini-4-argon-\d", None),
        (r"gpt-.*-\d{8}$", None),
    ],
)
def test_a_rule_for_dated_names_is_a_name(regex, name):
    assert list(dated(regex)) == ([name] if name else [])


@pytest.mark.parametrize(
    ("rate", "written"),
    [("2.50", "2.5"), ("1E-6", "0.000001"), ("100", "100"), ("0", "0"), ("0.0833333333", "0.083333")],
)
def test_rates_are_written_without_an_exponent(rate, written):
    assert text(Decimal(rate)) == written
