"""What the policy `ai` makes of a call before it is routed, in the reference's order."""

from typing import Any

import pytest

from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange
from agentgateway.llm.calls import LlmCall
from agentgateway.testing import chat, http, make, run_phase

GROUP = "agentgateway.policies"


async def shaped(config: dict[str, Any], exchange: Exchange | None = None, **fields: Any) -> dict[str, Any]:
    exchange = exchange or chat(**fields)
    await run_phase(make(GROUP, "ai", config), "pre_request", exchange)
    assert isinstance(exchange.call, LlmCall)
    return exchange.call.document


async def test_defaults_fill_what_the_client_left_out():
    document = await shaped({"defaults": {"temperature": 0, "top_p": 1}}, temperature=1)
    assert (document["temperature"], document["top_p"]) == (1, 1)


async def test_overrides_win_over_the_client():
    assert (await shaped({"overrides": {"temperature": 0}}, temperature=1))["temperature"] == 0


async def test_transformations_see_the_original_and_win_over_overrides_and_defaults():
    config = {
        "overrides": {"max_tokens": 1, "user": "o"},
        "transformations": {"max_tokens": "llmRequest.max_tokens * 2"},
        "defaults": {"max_tokens": 3},
    }
    document = await shaped(config, max_tokens=21)
    assert (document["max_tokens"], document["user"]) == (42, "o")


async def test_a_transformation_that_cannot_be_computed_removes_the_key():
    config = {"transformations": {"temperature": "llmRequest.nope", "user": "jwt.sub"}, "overrides": {"user": "o"}}
    document = await shaped(config, temperature=1)
    assert "temperature" not in document
    assert "user" not in document


async def test_a_key_that_was_removed_may_still_have_a_default():
    config = {"transformations": {"temperature": "llmRequest.nope"}, "defaults": {"temperature": 0}}
    assert (await shaped(config, temperature=1))["temperature"] == 0


async def test_an_edited_document_is_checked_again():
    exchange = chat()
    with pytest.raises(Exception, match="model"):
        await shaped({"overrides": {"model": 7}}, exchange)


async def test_an_override_of_the_model_is_what_is_asked_for():
    exchange = chat(model="asked")
    await shaped({"overrides": {"model": "given"}}, exchange)
    assert isinstance(exchange.call, LlmCall)
    assert (exchange.call.model, exchange.call.requested_model) == ("given", "asked")


@pytest.mark.parametrize(
    ("aliases", "asked", "given"),
    [
        ({"fast": "gpt-5-mini"}, "fast", "gpt-5-mini"),
        ({"gpt-*": "a", "gpt-5*": "b"}, "gpt-5-mini", "b"),
        ({"*": "any", "gpt-*": "a"}, "claude", "any"),
        ({"exact": "one", "ex*": "two"}, "exact", "one"),
        ({"a*b*c": "x"}, "a-b-c", "x"),
        ({"a*b*c": "x"}, "acb", "acb"),
        ({"a*a": "x"}, "a", "a"),
    ],
)
async def test_aliases_rename_the_exact_then_the_longest_pattern(aliases, asked, given):
    assert (await shaped({"modelAliases": aliases}, model=asked))["model"] == given


@pytest.mark.parametrize("speaks", ["completions", "messages"])
async def test_prompts_stand_around_those_of_the_call(speaks):
    config = {
        "prompts": {
            "prepend": [{"role": "system", "content": "first"}],
            "append": [{"content": "last", "role": "user"}],
        }
    }
    exchange = chat(speaks=speaks)
    await shaped(config, exchange)
    assert isinstance(exchange.call, LlmCall)
    texts = [segment.text for segment in exchange.call.segments()]
    assert texts == ["first", "hello", "last"]


async def test_a_call_that_nothing_concerns_keeps_its_bytes():
    exchange = chat(temperature=1)
    await shaped({"defaults": {"temperature": 0}, "modelAliases": {"other": "x"}}, exchange)
    assert isinstance(exchange.call, LlmCall)
    assert not exchange.call.changed


async def test_routes_read_a_path_in_the_dialect_that_the_operator_says():
    body = b'{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}'
    exchange = http("POST", "/my/talk", body=body)
    await run_phase(make(GROUP, "ai", {"routes": {"/talk": "messages"}}), "accept", exchange)
    assert isinstance(exchange.call, LlmCall)
    assert exchange.call.dialect.name == "messages"


def test_a_dialect_nobody_installed_is_refused():
    with pytest.raises(ConfigError, match="no installed dialect"):
        make(GROUP, "ai", {"routes": {"/x": "klingon"}})


async def test_other_traffic_is_left_alone():
    exchange = http()
    await run_phase(make(GROUP, "ai", {"defaults": {"a": 1}}), "pre_request", exchange)
    assert exchange.call is None
