"""Where cache points go in a call of Converse."""

from copy import deepcopy
from typing import Any

import pytest

from agentgateway.llm.caching import CacheRule
from agentgateway.llm.dialects import dialect

CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-pro-v1:0"
POINT = {"cachePoint": {"type": "default"}}
ALL = CacheRule(tools=True, least=1)
TOOLS = {"tools": [{"toolSpec": {"name": "f"}}], "toolChoice": {"auto": {}}}


def turns(*texts: str) -> list[dict[str, Any]]:
    return [{"role": "assistant" if i % 2 else "user", "content": [{"text": text}]} for i, text in enumerate(texts)]


def call() -> dict[str, Any]:
    return {"system": [{"text": "Be brief."}], "toolConfig": TOOLS, "messages": turns("a", "b", "c")}


def marked(document: dict[str, Any], rule: CacheRule = ALL, model: str = CLAUDE) -> dict[str, Any] | None:
    """The document with its points, None where there is nothing to say; what came stays as it was."""
    before = deepcopy(document)
    made = document.copy()
    changed = dialect("converse").mark_cache(made, rule, model)
    assert document == before
    return made if changed else None


def test_tools_instructions_and_the_message_before_the_last_get_points():
    made = marked(call())
    assert made is not None
    assert made["toolConfig"] == TOOLS | {"tools": [*TOOLS["tools"], POINT]}
    assert made["system"] == [{"text": "Be brief."}, POINT]
    assert [POINT in message["content"] for message in made["messages"]] == [False, True, False]
    assert made["messages"][1]["content"] == [{"text": "b"}, POINT]


def test_nova_takes_none_behind_tools():
    made = marked(call(), model=NOVA)
    assert made is not None
    assert made["toolConfig"] == TOOLS
    assert made["system"][-1] == POINT


@pytest.mark.parametrize(
    "model",
    [
        *("meta.llama3-1-70b-instruct-v1:0", "openai.gpt-oss-120b-1:0", "mistral.mistral-large-2407-v1:0"),
        *("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-5-sonnet-20240620-v1:0"),
    ],
)
def test_models_that_refuse_cache_points_get_none(model):
    assert marked(call(), model=model) is None


def test_a_profile_whose_model_nobody_knows_is_trusted_to_take_them():
    profile = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
    assert marked(call(), model=profile) is not None


@pytest.mark.parametrize(
    "own",
    [
        {"system": [{"text": "Be brief."}, POINT]},
        {"toolConfig": {"tools": [*TOOLS["tools"], POINT]}},
        {"messages": [{"role": "user", "content": [{"text": "a"}, POINT]}, *turns("b", "c")]},
    ],
    ids=lambda own: next(iter(own)),
)
def test_a_call_with_points_of_its_own_is_left_alone(own):
    assert marked(call() | own) is None


def test_points_stand_in_front_of_thinking():
    thought = {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}}
    messages = [*turns("a"), {"role": "assistant", "content": [{"text": "b"}, thought]}, *turns("c")]
    made = marked({"messages": messages})
    assert made is not None
    assert made["messages"][1]["content"] == [{"text": "b"}, POINT, thought]


@pytest.mark.parametrize(("words", "worth"), [("x" * 4096, True), ("x" * 4092, False)])
def test_instructions_get_one_when_they_are_long_enough(words, worth):
    assert (marked({"system": [{"text": words}], "messages": turns("a")}, CacheRule()) is not None) is worth


def test_an_offset_moves_the_point_of_messages_and_one_message_gets_none():
    made = marked({"messages": turns(*"abcde")}, CacheRule(offset=2))
    assert made is not None
    assert [POINT in message["content"] for message in made["messages"]].index(True) == 1
    assert marked({"messages": turns("a")}) is None


def test_shapes_that_are_none_of_ours_pass():
    assert (
        marked({"system": [], "toolConfig": {}, "messages": [{"role": "user"}, {"role": "user", "content": None}]})
        is None
    )
