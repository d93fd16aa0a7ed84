"""Where marks of prompt caching go in a call of Anthropic's messages."""

from copy import deepcopy
from typing import Any

import pytest

from agentgateway.llm.caching import CacheRule
from agentgateway.llm.dialects import dialect

MARK = {"cache_control": {"type": "ephemeral"}}
ALL = CacheRule(tools=True, least=1)
LONG = "word " * 1000


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def turns(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant" if i % 2 else "user", "content": content} for i, content in enumerate(contents)]


def marked(document: dict[str, Any], rule: CacheRule = ALL) -> dict[str, Any] | None:
    """The document with its marks, None where there is nothing to say; what came stays as it was."""
    before = deepcopy(document)
    made = document.copy()
    changed = dialect("messages").mark_cache(made, rule, "claude-sonnet-4-5")
    assert document == before
    return made if changed else None


def test_tools_instructions_and_the_message_before_the_last_are_marked():
    call = {"system": "Be brief.", "tools": [{"name": "f"}, {"name": "g"}], "messages": turns("a", "b", "c")}
    made = marked(call)
    assert made is not None
    assert made["tools"] == [{"name": "f"}, {"name": "g"} | MARK]
    assert made["system"] == [text("Be brief.", **MARK)]
    assert made["messages"] == [*turns("a", [text("b", **MARK)]), {"role": "user", "content": "c"}]


def test_instructions_in_blocks_are_marked_at_their_last():
    made = marked({"system": [text("a"), text("b"), text("")], "messages": turns("hi")})
    assert made is not None
    assert made["system"] == [text("a"), text("b", **MARK), text("")]


@pytest.mark.parametrize(
    ("system", "least", "worth"), [("x" * 400, 100, True), ("x" * 396, 100, False), ("", 1, False)]
)
def test_instructions_are_marked_when_they_are_long_enough(system, least, worth):
    for written in (system, [text(system)]):
        assert (marked({"system": written, "messages": turns("hi")}, CacheRule(least=least)) is not None) is worth


@pytest.mark.parametrize(("offset", "at"), [(0, 3), (1, 2), (3, 0), (9, 0)])
def test_an_offset_moves_the_mark_of_messages_towards_the_beginning(offset, at):
    made = marked({"messages": turns(*"abcde")}, CacheRule(offset=offset))
    assert made is not None
    assert [i for i, one in enumerate(made["messages"]) if isinstance(one["content"], list)] == [at]


def test_one_message_alone_is_not_marked():
    assert marked({"messages": turns("a")}) is None


def test_thinking_and_empty_texts_carry_no_mark():
    thought = {"type": "thinking", "thinking": "t", "signature": "s"}
    used = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
    made = marked({"messages": turns("a", [text("b"), used, text(""), thought], "c")})
    assert made is not None
    assert made["messages"][1]["content"] == [text("b"), used | MARK, text(""), thought]
    assert marked({"messages": turns("a", [thought], "c")}) is None


def test_a_tool_that_is_looked_for_later_carries_no_mark():
    later = {"name": "g", "defer_loading": True}
    made = marked({"tools": [{"name": "f"}, later], "messages": turns("a")})
    assert made is not None
    assert made["tools"] == [{"name": "f"} | MARK, later]


@pytest.mark.parametrize(
    "own",
    [
        {"cache_control": {"type": "ephemeral"}},
        {"system": [text(LONG, **MARK)]},
        {"tools": [{"name": "f"} | MARK]},
        {"messages": turns("a", [text("b", **MARK)], "c")},
        {"messages": turns([{"type": "tool_result", "tool_use_id": "1", "content": [text("r", **MARK)]}], "b")},
    ],
    ids=lambda own: next(iter(own)),
)
def test_a_call_with_marks_of_its_own_is_left_alone(own):
    assert marked({"system": LONG, "tools": [{"name": "g"}], "messages": turns("a", "b", "c")} | own) is None


def test_what_is_switched_off_is_not_marked():
    call = {"system": LONG, "tools": [{"name": "f"}], "messages": turns("a", "b", "c")}
    assert marked(call, CacheRule(system=False, messages=False)) is None


@pytest.mark.parametrize(
    "document",
    [
        {"system": 7, "tools": "x", "messages": turns(None, None)},
        {"system": [7, None], "tools": [1], "messages": turns([1], [[]])},
    ],
)
def test_shapes_that_are_none_of_ours_pass(document):
    assert marked(document) is None


@pytest.mark.parametrize("name", ["completions", "responses", "gemini", "embeddings", "rerank"])
def test_formats_without_such_words_stay_as_they_are(name):
    assert not dialect(name).mark_cache({"messages": turns("a", "b", "c")}, ALL, "m")
