"""What calls cost: each vendor's way of counting, tiers, lookups, and sums that are exact."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgateway.exchange import Usage
from agentgateway.llm.dialects import dialect
from agentgateway.llm.price_format import CatalogConfig, layer_of, parse_rate, rate_text
from agentgateway.llm.prices import PICODOLLARS, Cost, Layer, PriceCatalogue, Rates, Status, cost, decimal

RATES = {"input": "3", "output": "15", "cacheRead": "0.30", "cacheWrite": "3.75"}


def layer(models: dict[str, Any], provider: str = "acme", **more: Any) -> Layer:
    return CatalogConfig.model_validate({"providers": {provider: {"models": models, **more}}}).layer()


def priced(usage: Usage, *layers: Layer, models: tuple[str | None, ...] = ("m",)) -> tuple[Status, Cost | None]:
    return PriceCatalogue(layers).price("acme", models, usage)


def total(usage: Usage, rates: dict[str, str]) -> str:
    _, amount = priced(usage, layer({"m": {"rates": rates}}))
    assert amount is not None
    return decimal(amount.total)


@pytest.mark.parametrize(
    ("speaks", "document"),
    [
        (
            "completions",
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 1000,
                    "completion_tokens": 100,
                    "prompt_tokens_details": {"cached_tokens": 600},
                },
            },
        ),
        ("messages", {"usage": {"input_tokens": 400, "output_tokens": 100, "cache_read_input_tokens": 600}}),
        (
            "gemini",
            {"usageMetadata": {"promptTokenCount": 1000, "candidatesTokenCount": 100, "cachedContentTokenCount": 600}},
        ),
    ],
)
def test_one_call_costs_the_same_in_every_vendors_way_of_counting(speaks, document):
    usage = dialect(speaks).usage(document)
    assert usage is not None
    assert total(usage, RATES) == "0.00288"  # 400 x 3 + 600 x 0.30 + 100 x 15, by a million


def test_thoughts_that_a_vendor_reports_beside_the_answer_are_output():
    document = {"usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 20, "thoughtsTokenCount": 70}}
    usage = dialect("gemini").usage(document)
    assert usage is not None
    assert total(usage, {"input": "1", "output": "10"}) == "0.00091"
    assert total(usage, {"input": "1", "output": "10", "reasoning": "2"}) == "0.00035"


def test_thoughts_that_a_vendor_reports_inside_the_answer_are_not_paid_twice():
    used = {"prompt_tokens": 10, "completion_tokens": 90, "completion_tokens_details": {"reasoning_tokens": 70}}
    usage = dialect("completions").usage({"choices": [], "usage": used})
    assert usage is not None
    assert total(usage, {"input": "1", "output": "10"}) == "0.00091"


def test_each_part_of_a_cost_is_told():
    rates = {**RATES, "reasoning": "20", "inputAudio": "32", "outputAudio": "64"}
    _, amount = priced(Usage(1000, 100, 600, 100, 40, False, 50, 10), layer({"m": {"rates": rates}}))
    assert amount is not None
    assert amount.dollars() == {
        "total": 0.005095,
        "input": 0.00075,
        "output": 0.00075,
        "cacheRead": 0.00018,
        "cacheWrite": 0.000375,
        "reasoning": 0.0008,
        "inputAudio": 0.0016,
        "outputAudio": 0.00064,
    }


@pytest.mark.parametrize(
    ("speaks", "document"),
    [
        (
            "completions",
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 1000,
                    "completion_tokens": 100,
                    "prompt_tokens_details": {"cached_tokens": 200, "audio_tokens": 300},
                    "completion_tokens_details": {"audio_tokens": 80},
                },
            },
        ),
        (
            "gemini",
            {
                "usageMetadata": {
                    "promptTokenCount": 1000,
                    "candidatesTokenCount": 100,
                    "cachedContentTokenCount": 200,
                    "promptTokensDetails": [
                        {"modality": "TEXT", "tokenCount": 600},
                        {"modality": "AUDIO", "tokenCount": 400},
                    ],
                    "cacheTokensDetails": [
                        {"modality": "AUDIO", "tokenCount": 100},
                        {"modality": "TEXT", "tokenCount": 100},
                    ],
                    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 80}],
                }
            },
        ),
    ],
)
def test_sound_has_rates_of_its_own_and_is_like_text_without_them(speaks, document):
    usage = dialect(speaks).usage(document)
    assert usage is not None
    plain = {"input": "1", "output": "2", "cacheRead": "0.1"}
    assert total(usage, plain) == "0.00102"  # 800 x 1 + 200 x 0.1 + 100 x 2, by a million
    assert total(usage, {**plain, "inputAudio": "10", "outputAudio": "20"}) == "0.00516"  # 500 + 20 + 40 + 3000 + 1600


@pytest.mark.parametrize("details", [None, {}, "x", [None, 1, {}, {"modality": "AUDIO", "tokenCount": "many"}]])
def test_details_of_sound_that_make_no_sense_are_no_sound(details):
    fields = {"promptTokenCount": 10, "promptTokensDetails": details, "cacheTokensDetails": details}
    usage = dialect("gemini").usage({"usageMetadata": fields})
    assert usage is not None and (usage.input_tokens, usage.input_audio_tokens) == (10, 0)


def test_cached_tokens_without_a_rate_are_ordinary_input():
    _, amount = priced(Usage(1000, 0, 600, 100), layer({"m": {"rates": {"input": "2"}}}))
    assert amount == Cost(1000 * 2_000_000, 0, 0, 0, 0)


def test_a_tier_is_chosen_by_all_of_the_input_whatever_was_cached_and_is_for_all_tokens():
    tiers = [{"contextOver": 1000, "rates": {"input": "6"}}, {"contextOver": 200, "rates": {"input": "4"}}]
    prices = layer({"m": {"rates": {"input": "3", "output": "15", "cacheRead": "1"}, "tiers": tiers}})
    found = {size: priced(Usage(size, 1), prices)[1] for size in (200, 201, 1000, 1001)}
    assert {size: amount.input // size // 1_000_000 for size, amount in found.items() if amount} == {
        200: 3,
        201: 4,
        1000: 4,
        1001: 6,
    }
    _, cached = priced(Usage(1001, 1, 1000), prices)
    assert cached == Cost(6_000_000, 15_000_000, 1000 * 1_000_000, 0, 0)  # what a tier leaves out is the model's


def test_sums_are_exact_where_binary_numbers_are_not():
    assert total(Usage(1, 1), {"input": "0.1", "output": "0.2"}) == "0.0000003"
    assert total(Usage(10**12, 0), {"input": "0.000001"}) == "1"
    assert total(Usage(333_333_333, 7), {"input": "0.333333", "output": "999999999.999999"}) == str(
        (Decimal(333_333_333) * Decimal("0.333333") + 7 * Decimal("999999999.999999")) / 10**6
    )


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (1, "0.000000000001"), (PICODOLLARS, "1"), (15 * 10**11, "1.5")]
)
def test_money_is_written_without_an_exponent(amount, text):
    assert decimal(amount) == text


@pytest.mark.parametrize(
    ("usage", "rates", "status"),
    [
        (Usage(1, 0), {"input": "1"}, Status.EXACT),
        (Usage(1, 1), {"input": "1"}, Status.UNPRICED),
        (Usage(1, 1), {"output": "1"}, Status.UNPRICED),
        (Usage(1, 1), {}, Status.UNPRICED),
        (Usage(1, 1), {"input": "0", "output": "0"}, Status.EXACT),
        (Usage(), {"input": "1", "output": "1"}, Status.UNPRICED),
    ],
)
def test_a_price_that_lacks_a_rate_is_no_price(usage, rates, status):
    found, amount = priced(usage, layer({"m": {"rates": rates}}))
    assert (found, amount is not None) == (status, status is Status.EXACT)


def test_what_a_catalogue_does_not_have_is_told():
    assert priced(Usage(1, 1), layer({"other": {}})) == (Status.MISSING, None)
    assert priced(Usage(1, 1), layer({"m": {}}, "nobody")) == (Status.MISSING, None)
    assert priced(Usage(1, 1)) == (Status.NO_CATALOG, None)


def listed(*names: str) -> Layer:
    """Each at a rate that is its number."""
    return layer({name: {"rates": {"input": str(number)}} for number, name in enumerate(names)})


def found(prices: PriceCatalogue, model: str) -> int | None:
    entry = prices.find("acme", (model,))
    return None if entry is None else (entry.rates.input or 0) // 1_000_000


@pytest.mark.parametrize(
    ("model", "number"),
    [
        ("gpt-4o", 0),
        ("GPT-4o", 0),
        ("gpt-4o-2024-08-06", 0),
        ("gpt-4o-20240806", 0),
        ("gpt-4o@20240806", 0),
        ("gpt-4o-20240513", 1),
        ("gpt-4o-mini", 3),
        ("gpt-4o-mini-2024-07-18", 3),
        ("claude-3-haiku-beta", 5),
        ("us.anthropic.claude-opus-v1:0", 6),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/gpt-4o", 0),
        ("models/gpt-4o", 0),
        ("publishers/google/models/gpt-4o-mini", 3),
        ("acme/gpt-4o", None),
        ("claude", None),
        ("", None),
    ],
)
def test_names_are_found_dated_qualified_and_by_pattern(model, number):
    names = ("gpt-4o", "gpt-4o-2024-05-13", "gpt-*", "gpt-4o-mini", "claude-*", "claude-3-*", "*claude-opus*:0")
    assert found(PriceCatalogue([listed(*names)]), model) == number


def test_a_pattern_needs_all_of_its_parts_and_none_twice():
    prices = PriceCatalogue([listed("ab*ba", "x*y*z")])
    assert [found(prices, name) for name in ("aba", "abba", "abxba", "xyz", "xz", "xzy")] == [None, 0, 0, 1, None, None]


def test_the_model_that_answered_counts_before_the_one_that_was_asked_for():
    prices = layer({"asked": {"rates": {"input": "1"}}, "answered": {"rates": {"input": "2"}}})
    for models, rate in ((("answered", "asked"), 2), (("unheard-of", "asked"), 1), ((None, "asked"), 1)):
        _, amount = priced(Usage(1, 0), prices, models=models)
        assert amount == Cost(rate * 1_000_000, 0, 0, 0, 0)


def test_a_later_catalogue_replaces_what_it_names_and_nothing_else():
    base = layer({"a": {"rates": {"input": "1", "output": "1"}}, "b": {"rates": {"input": "1"}}})
    prices = PriceCatalogue([base, layer({"a": {"rates": {"input": "7"}}})])
    assert (found(prices, "a"), found(prices, "b")) == (7, 1)
    entry = prices.find("acme", ("a",))
    assert entry is not None and entry.rates.output is None


def test_a_pattern_of_a_later_catalogue_counts_before_a_name_of_an_earlier_one():
    assert found(PriceCatalogue([listed("free", "gpt-4o"), listed("gpt-*")]), "gpt-4o") == 0


def test_a_provider_has_the_models_of_those_it_inherits_also_where_they_inherit_each_other():
    document = {
        "providers": {
            "acme": {"models": {"own": {"rates": {"input": "1"}}}, "inherits": ["Other"]},
            "other": {
                "models": {"own": {"rates": {"input": "2"}}, "lent": {"rates": {"input": "3"}}},
                "inherits": ["acme"],
            },
        }
    }
    prices = PriceCatalogue([CatalogConfig.model_validate(document).layer()])
    assert [found(prices, name) for name in ("own", "lent", "none")] == [1, 3, None]


def test_names_that_clients_make_up_do_not_fill_the_memory():
    prices = PriceCatalogue([listed("m")])
    for number in range(10_000):
        prices.find("acme", (f"made-up-{number}",))
    assert len(prices._found) <= 4096
    assert prices.price("acme", ("x" * 100_000,), Usage(1, 1)) == (Status.MISSING, None)
    assert prices.price("acme", ("x" * 100_000, "m"), Usage(1, 0))[0] is Status.EXACT
    assert max(len(name) for _, names in prices._found for name in names) < 100


def test_a_catalogue_read_from_json_is_the_one_that_a_configuration_has():
    document = {"providers": {"Acme": {"models": {"M": {"rates": RATES, "tags": ["x"]}, "m*": {"rates": RATES}}}}}
    read = layer_of(json.dumps(document).encode())
    assert read == CatalogConfig.model_validate(document).layer()
    assert read["acme"].models["m"].tags == ("x",)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"providers": []}', b'{"providers": {"a": {"models": {"m": 1}}}}']
)
def test_json_that_is_no_catalogue_is_refused(text):
    with pytest.raises(ValueError):
        layer_of(text)


@pytest.mark.parametrize(
    "rate", ["-1", "1e3", "NaN", "Infinity", "1.0000001", ".5", "1.", "", " 1", "1_0", "\u0661", 1, 1.5, True, [], {}]
)
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError):
        CatalogConfig.model_validate({"providers": {"a": {"models": {"m": {"rates": {"input": rate}}}}}})


@given(st.decimals(min_value=0, max_value=999_999_999, places=6))
def test_a_rate_is_read_and_written_exactly(rate):
    text = f"{rate:f}"
    read = parse_rate(text)
    assert read == rate * 10**6
    written = rate_text(read)
    assert written is not None and Decimal(written) == rate


tokens = st.integers(0, 10**9)
rate = st.none() | st.integers(0, 10**15)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens, st.just(False), tokens, tokens)
all_rates = st.builds(Rates, st.integers(0, 10**15), st.integers(0, 10**15), rate, rate, rate, rate, rate)


@given(usages, all_rates)
def test_no_cost_is_negative_whatever_a_vendor_reports(usage, rates):
    amount = cost(rates, usage)
    assert amount is not None and min(amount) >= 0 and amount.total == sum(amount)


def reported(fresh: int, said: int, cached: int, written: int, thought: int) -> Usage:
    return Usage(fresh + cached + written, said + thought, cached, written, thought)


@given(st.lists(tokens, min_size=5, max_size=5), st.integers(0, 4), tokens, all_rates)
def test_more_tokens_of_any_kind_never_cost_less(counts, which, more, rates):
    before = cost(rates, reported(*counts))
    counts[which] += more
    after = cost(rates, reported(*counts))
    assert before is not None and after is not None and after.total >= before.total


@given(st.lists(tokens, min_size=5, max_size=5), st.lists(tokens, min_size=5, max_size=5), all_rates)
def test_two_calls_cost_what_their_tokens_cost_together(one, other, rates):
    amounts = [
        cost(rates, reported(*counts)) for counts in (one, other, [a + b for a, b in zip(one, other, strict=True)])
    ]
    totals = [amount.total for amount in amounts if amount is not None]
    assert totals[0] + totals[1] == totals[2]
