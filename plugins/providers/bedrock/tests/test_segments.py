"""What guards see of Converse: every text, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from agentgateway_bedrock.converse import Converse
from agentgateway_bedrock.frames import FrameParser

Golden = Callable[[str], Any]
Framed = Callable[[Any], bytes]


def seen(document: Any) -> list[tuple[str, str, str, str]]:
    return [(one.role, one.scope, one.path, one.text) for one in Converse().call_segments(document)]


def test_texts_of_a_call(golden: Golden) -> None:
    assert seen(golden("tools.request")) == [
        ("user", "messages", "messages[0].content[0].text", "What is the most popular song on WZPZ?"),
        ("assistant", "messages", "messages[1].content[0].text", "I will look it up."),
        ("assistant", "toolInput", "messages[1].content[1].toolUse.input", '{"sign":"WZPZ"}'),
        (
            "tool",
            "toolOutput",
            "messages[2].content[0].toolResult.content[0].json",
            '{"song":"Elemental Hotel","artist":"8 Storey Hike"}',
        ),
        ("tool", "toolOutput", "messages[2].content[1].toolResult.content[0].text", "Station WABC not found."),
    ]


HIDDEN = "canary"


@pytest.mark.parametrize(
    "block",
    [
        {"text": HIDDEN},
        {"guardContent": {"text": {"text": HIDDEN, "qualifiers": ["query"]}}},
        {"reasoningContent": {"reasoningText": {"text": HIDDEN, "signature": "s"}}},
        {"document": {"format": "txt", "name": HIDDEN, "source": {"text": "x"}}},
        {"document": {"format": "txt", "name": "n", "source": {"text": HIDDEN}}},
        {"document": {"format": "txt", "name": "n", "source": {"content": [{"text": HIDDEN}]}}},
        {"document": {"format": "txt", "name": "n", "source": {"text": "x"}, "context": HIDDEN}},
        {"toolUse": {"toolUseId": "i", "name": "n", "input": {"a": [HIDDEN]}}},
        {"toolResult": {"toolUseId": "i", "content": [{"text": HIDDEN}]}},
        {"toolResult": {"toolUseId": "i", "content": [{"json": {"a": HIDDEN}}]}},
        {"toolResult": {"toolUseId": "i", "content": [{"document": {"source": {"text": HIDDEN}}}]}},
        {"toolResult": {"toolUseId": "i", "content": [{"searchResult": {"content": [{"text": HIDDEN}]}}]}},
        {"citationsContent": {"content": [{"text": HIDDEN}]}},
        {"citationsContent": {"citations": [{"sourceContent": [{"text": HIDDEN}]}]}},
        {"searchResult": {"source": HIDDEN, "title": "t", "content": []}},
        {"somethingNew": {"words": [HIDDEN]}},
    ],
    ids=lambda block: next(iter(block)),
)
def test_no_block_hides_a_text(block: Any) -> None:
    for holder in (
        {"messages": [{"role": "user", "content": [deepcopy(block)]}]},
        {"messages": [], "system": [deepcopy(block)]},
    ):
        found = [one for one in Converse().call_segments(holder) if HIDDEN in one.text]
        assert found
        for one in found:
            one.replace(one.text.replace(HIDDEN, "***"))
        assert HIDDEN not in str(holder)
    reply = {"output": {"message": {"role": "assistant", "content": [block]}}}
    assert any(HIDDEN in one.text for one in Converse().reply_segments(reply))


@pytest.mark.parametrize("key", ["additionalModelRequestFields", "promptVariables"])
def test_fields_of_the_models_own_are_read(key: str) -> None:
    document = {"messages": [], key: {"a": [{"text": HIDDEN}]}}
    assert [one.text for one in Converse().call_segments(document)] == [HIDDEN]


@pytest.mark.parametrize("key", ["additionalModelResponseFields", "trace"])
def test_what_a_reply_repeats_elsewhere_is_read(key: str) -> None:
    document = {"output": {"message": {"content": []}}, key: {"guardrail": {"modelOutput": [HIDDEN]}}}
    assert [one.text for one in Converse().reply_segments(document)] == [HIDDEN]


def test_a_masked_answer_of_a_tool_stays_json_where_it_can() -> None:
    for masked, left in (('{"a":"***"}', {"json": {"a": "***"}}), ("[masked]", {"text": "[masked]"})):
        result = {"toolUseId": "i", "content": [{"json": {"a": HIDDEN}}]}
        document = {"messages": [{"role": "user", "content": [{"toolResult": result}]}]}
        (one,) = Converse().call_segments(document)
        one.replace(masked)
        assert result["content"] == [left]


def test_texts_of_a_stream_come_in_channels(golden: Golden, framed: Framed) -> None:
    stream = framed([*golden("tools.stream"), {"messageStop": {"additionalModelResponseFields": {"x": HIDDEN}}}])
    found = [
        (one.scope, one.path, one.text)
        for event in FrameParser().feed(stream)
        for one in Converse().event_segments(event)
    ]
    assert found == [
        ("messages", "content[0].text", "Let me see."),
        ("toolInput", "content[1].toolUse.input", '{"sign":'),
        ("toolInput", "content[1].toolUse.input", ' "WZPZ"}'),
        ("messages", "additionalModelResponseFields.x", HIDDEN),
    ]
