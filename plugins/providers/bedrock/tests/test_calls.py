"""Calls: from Converse to the other dialects, and from them to what Bedrock accepts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from agentgateway_bedrock.converse import Converse
from agentgateway_bedrock.converse_blocks import tool_name
from botocore.validate import ParamValidator

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import LlmCall, Untranslatable
from agentgateway.llm.chat import (
    CacheMark,
    ChatCall,
    Document,
    Image,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from agentgateway.llm.dialects.messages import Messages

Golden = Callable[[str], Any]
CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-2-lite-v1:0"
GPT_OSS = "openai.gpt-oss-120b-1:0"
HELLO = (Message("user", (Text("hello"),)),)
TOOL = Tool("lookup", "Looks up.", {"type": "object", "properties": {}})


def read(document: Any, path: str = "/model/m/converse") -> LlmCall:
    return LlmCall.read(Converse(), json.dumps(document).encode(), path)


def encoded(model: str = CLAUDE, messages: tuple[Message, ...] = HELLO, **fields: Any) -> Any:
    document = Converse().encode_call(ChatCall(model, messages, **fields))
    accepted(model, document)
    return document


def accepted(model: str, document: Any) -> None:
    """What AWS's own service model says of a request."""
    shape = service_model().operation_model("Converse").input_shape
    report = ParamValidator().validate({"modelId": model, **blobs(document)}, shape)
    assert not report.has_errors(), report.generate_report()


def service_model() -> Any:
    return botocore.session.Session().get_service_model("bedrock-runtime")


def blobs(value: Any) -> Any:
    """The document as boto3 takes it: bytes for what is base64 on the wire."""
    if isinstance(value, dict):
        return {
            key: base64.b64decode(one) if key in ("bytes", "redactedContent") else blobs(one)
            for key, one in value.items()
        }
    return [blobs(one) for one in value] if isinstance(value, list) else value


# the path


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        ("/model/amazon.nova-lite-v1%3A0/converse", "amazon.nova-lite-v1:0", False),
        ("/model/amazon.nova-lite-v1:0/converse-stream", "amazon.nova-lite-v1:0", True),
        (
            "/model/arn%3Aaws%3Abedrock%3A%3A%3Afoundation-model%2Fx.y/converse",
            "arn:aws:bedrock:::foundation-model/x.y",
            False,
        ),
        ("/llm/model/smart/converse", "smart", False),
    ],
)
def test_model_and_streaming_stand_in_the_path(path: str, model: str, stream: bool) -> None:
    call = read({"messages": []}, path)
    assert (call.model, call.stream) == (model, stream)
    assert call.canonical().model == model


@pytest.mark.parametrize(
    "path",
    [
        "/converse",
        "/model/converse",
        "/model/a/b/converse",
        "/model/%2E%2E/converse",
        "/model/a%0Ab/converse",
        f"/model/{'x' * 3000}/converse",
    ],
)
def test_a_path_without_a_model_is_refused(path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read({"messages": []}, path)
    assert caught.value.param == "modelId"


def test_asking_for_another_model_leaves_the_bytes() -> None:
    raw = b'{ "messages" : [ ] }'
    call = LlmCall.read(Converse(), raw, "/model/smart/converse")
    outbound = call.outbound(Converse(), "amazon.nova-lite-v1:0")
    assert (outbound.model, outbound.body(), call.model) == ("amazon.nova-lite-v1:0", raw, "smart")


def test_an_edited_call_keeps_the_model_it_was_given() -> None:
    call = read({"messages": []}, "/model/smart/converse")
    call.ask("other")
    call.edit()["inferenceConfig"] = {"maxTokens": 5}
    call.reread()
    assert (call.model, call.stream) == ("other", False)


# from Converse


def test_a_call_becomes_one_of_messages(golden: Golden, messages: Messages) -> None:
    assert read(golden("text.request")).translated(messages).document == {
        "model": "m",
        "max_tokens": 512,
        "system": [{"type": "text", "text": golden("text.request")["system"][0]["text"]}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Create a list of 3 pop songs."}]},
            {"role": "assistant", "content": [{"type": "text", "text": '1. "Elemental Hotel" by 8 Storey Hike'}]},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Make sure the songs are by artists from the United Kingdom."}],
            },
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 200,
        "stop_sequences": ["END"],
        "service_tier": "auto",
    }


def test_tools_and_their_results_are_carried(golden: Golden, messages: Messages) -> None:
    document = read(golden("tools.request")).translated(messages).document
    assert document["tools"] == [
        {
            "name": "top_song",
            "description": "Get the most popular song played on a radio station.",
            "input_schema": {"type": "object", "properties": {"sign": {"type": "string"}}, "required": ["sign"]},
            "cache_control": {"type": "ephemeral"},
        }
    ]
    assert document["tool_choice"] == {"type": "tool", "name": "top_song"}
    assert document["messages"][1]["content"][1] == {
        "type": "tool_use",
        "id": "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q",
        "name": "top_song",
        "input": {"sign": "WZPZ"},
    }
    first, second = document["messages"][2]["content"]
    assert first["content"] == [{"type": "text", "text": '{"song":"Elemental Hotel","artist":"8 Storey Hike"}'}]
    assert (second["is_error"], "is_error" in first) == (True, False)


def test_thinking_and_cache_points_are_carried(golden: Golden, messages: Messages) -> None:
    document = read(golden("reasoning.request")).translated(messages).document
    assert document["thinking"] == {"type": "enabled", "budget_tokens": 4000}
    assert document["messages"][0]["content"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert document["messages"][1]["content"][:2] == [
        {"type": "thinking", "thinking": "Euclid.", "signature": "EqQBCkgIARAB"},
        {"type": "redacted_thinking", "data": "c2VjcmV0"},
    ]


def test_pictures_documents_and_search_results_are_carried(messages: Messages) -> None:
    blocks = [
        {"image": {"format": "png", "source": {"bytes": "aGk="}}},
        {"document": {"format": "pdf", "name": "Report", "source": {"bytes": "aGk="}, "citations": {"enabled": True}}},
        {"document": {"format": "txt", "name": "document", "source": {"text": "words"}, "context": "c"}},
        {"searchResult": {"source": "http://s", "title": "t", "content": [{"text": "a"}, {"text": "b"}]}},
        {"guardContent": {"text": {"text": "look at me", "qualifiers": ["query"]}}},
    ]
    document = read({"messages": [{"role": "user", "content": blocks}]}).translated(messages).document
    assert document["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
            "title": "Report",
            "citations": {"enabled": True},
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "words"},
            "context": "c",
        },
        {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": "a\nb"},
            "title": "t",
            "context": "http://s",
        },
        {"type": "text", "text": "look at me"},
    ]


def test_structured_output_and_effort_are_carried() -> None:
    structure = {"jsonSchema": {"schema": '{"type":"object"}', "name": "n", "description": "d"}}
    document = {
        "messages": [],
        "outputConfig": {"effort": "low", "textFormat": {"type": "json_schema", "structure": structure}},
    }
    call = read(document).canonical()
    assert call.response_format == ResponseFormat("schema", {"type": "object"}, "n")
    assert call.reasoning == Reasoning("low")


@pytest.mark.parametrize(
    ("more", "reasoning"),
    [
        ({"reasoning_config": {"type": "enabled", "budget_tokens": 2000}}, Reasoning(budget=2000)),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, Reasoning("max", adaptive=True)),
        ({"thinking": {"type": "disabled"}}, Reasoning("none")),
        ({"reasoning_effort": "high"}, Reasoning("high")),
        ({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, Reasoning("low")),
        ({"reasoningConfig": {"type": "disabled"}}, Reasoning("none")),
    ],
)
def test_every_familys_words_for_thinking_are_read(more: Any, reasoning: Reasoning) -> None:
    assert read({"messages": [], "additionalModelRequestFields": more}).canonical().reasoning == reasoning


USER = {"role": "user", "content": [{"text": "hi"}]}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"guardrailConfig": {"guardrailIdentifier": "x", "guardrailVersion": "1"}}, "guardrailConfig"),
        ({"promptVariables": {"a": {"text": "b"}}}, "promptVariables"),
        ({"noSuchField": 1}, "noSuchField"),
        ({"additionalModelRequestFields": {"seed": 1}}, "additionalModelRequestFields.seed"),
        ({"messages": [{"role": "user", "content": [{"video": {}}]}]}, "messages[0].content[0].video"),
        ({"messages": [{"role": "user", "content": [{"text": "a", "image": {}}]}]}, "messages[0].content[0]"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}}],
                    }
                ]
            },
            "messages[0].content[0].image.source.s3Location",
        ),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "x"}}]}}, "toolConfig.tools[0].systemTool"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [
                            {"toolUse": {"toolUseId": "i", "name": "n", "input": {}, "type": "server_tool_use"}}
                        ],
                    }
                ]
            },
            "messages[0].content[0].toolUse.type",
        ),
    ],
)
def test_what_other_dialects_have_no_words_for_is_refused_by_name(document: Any, field: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        read({"messages": [USER], **document}).canonical()
    assert caught.value.param == field


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"messages": "x"},
        {"messages": [1]},
        {"messages": [{"content": []}]},
        {"messages": [{"role": "user", "content": "text"}]},
        {"messages": [{"role": "user", "content": [{"Text": "x"}]}]},
        {"Messages": [], "messages": []},
        {"messages": [], "inferenceConfig": {"maxTokens": "7"}},
        {"messages": [], "system": "x"},
    ],
)
def test_shapes_that_guards_rely_on_are_checked(document: Any) -> None:
    with pytest.raises(InvalidRequest):
        read(document)


# to Converse


def test_a_call_in_other_words_is_one_that_aws_accepts(golden: Golden, messages: Messages) -> None:
    for name in ("text", "tools", "reasoning"):
        call = read(golden(f"{name}.request"))
        again = Converse().decode_call(encoded("m", call.canonical().messages, tools=call.canonical().tools))
        assert again.messages == call.canonical().messages


def test_turns_alternate_whatever_the_client_sent() -> None:
    document = encoded(
        messages=(
            Message("user", (Text("a"),)),
            Message("user", (Text("b"),)),
            Message("assistant", (Text(" "), ToolUse("1", "lookup", "{}"))),
            Message("tool", (ToolResult("1", (Text("x"),)),)),
            Message("user", (Text("c"),)),
            Message("system", (Text("later"),)),
        ),
        system=(Text("first"),),
        tools=(TOOL,),
    )
    assert [(one["role"], len(one["content"])) for one in document["messages"]] == [
        ("user", 2),
        ("assistant", 1),
        ("user", 2),
    ]
    assert document["system"] == [{"text": "first"}, {"text": "later"}]


def test_tool_names_that_the_vendor_refuses_are_replaced_everywhere() -> None:
    long = "mcp__a_very_long_server_name_indeed__" + "tool.with/strange:characters" * 3
    names = {tool_name(long), tool_name(long + "x"), tool_name("a.b"), tool_name("a/b")}
    assert len(names) == 4
    assert all(len(name) <= 64 for name in names)
    document = encoded(
        messages=(*HELLO, Message("assistant", (ToolUse("i" * 90 + "#", long, "{}"),))),
        tools=(Tool(long),),
        tool_choice=ToolChoice("named", long),
    )
    used = document["messages"][1]["content"][0]["toolUse"]
    assert used["name"] == document["toolConfig"]["tools"][0]["toolSpec"]["name"] == tool_name(long)
    assert document["toolConfig"]["toolChoice"] == {"tool": {"name": tool_name(long)}}
    assert len(used["toolUseId"]) <= 64


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (None, None),
        (ToolChoice("auto"), {"auto": {}}),
        (ToolChoice("required"), {"any": {}}),
        (ToolChoice("named", "lookup"), {"tool": {"name": "lookup"}}),
    ],
)
def test_the_choice_of_tools(choice: ToolChoice | None, said: Any) -> None:
    assert encoded(tools=(TOOL,), tool_choice=choice)["toolConfig"].get("toolChoice") == said


def test_no_tool_may_be_used_when_none_may() -> None:
    assert "toolConfig" not in encoded(tools=(TOOL,), tool_choice=ToolChoice("none"))


def test_tools_of_the_history_are_declared() -> None:
    history = (*HELLO, Message("assistant", (ToolUse("1", "gone", "{}"),)), Message("tool", (ToolResult("1", ()),)))
    assert [one["toolSpec"]["name"] for one in encoded(messages=history)["toolConfig"]["tools"]] == ["gone"]


def test_four_cache_points_are_kept_the_last_ones() -> None:
    mark = CacheMark("1h")
    document = encoded(
        system=(Text("s", mark),),
        messages=tuple(
            message
            for i in range(4)
            for message in (Message("user", (Text(f"u{i}", mark),)), Message("assistant", (Text("a"),)))
        ),
        tools=(Tool("lookup", cache=mark),),
    )
    assert all("cachePoint" not in one for one in (*document["system"], *document["toolConfig"]["tools"]))
    points = [block for message in document["messages"] for block in message["content"] if "cachePoint" in block]
    assert points == [{"cachePoint": {"type": "default", "ttl": "1h"}}] * 4


def test_a_mark_on_the_whole_call_is_a_point_at_its_end() -> None:
    assert encoded(cache=CacheMark())["messages"][-1]["content"][-1] == {"cachePoint": {"type": "default"}}


def test_pictures_and_files() -> None:
    parts = (
        Image(data="aGk=", media_type="image/jpg"),
        Document(data="aGk=", media_type="application/pdf", title="Über_den  Fluss.pdf"),
        Document(data="aGk=", media_type="application/pdf", title="Über_den  Fluss.pdf"),
        Document(text="words"),
        Document(text="words", citations=True, context="c"),
    )
    blocks = encoded(messages=(Message("user", parts),))["messages"][0]["content"]
    assert blocks[0] == {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}}
    assert [one["document"]["name"] for one in blocks[1:]] == [
        "ber den Fluss pdf",
        "ber den Fluss pdf 2",
        "document",
        "document 2",
    ]
    assert blocks[3]["document"]["source"] == {"bytes": "d29yZHM="}
    assert blocks[4]["document"] == {
        "format": "txt",
        "name": "document 2",
        "source": {"text": "words"},
        "context": "c",
        "citations": {"enabled": True},
    }


@pytest.mark.parametrize(
    "part",
    [
        Image(url="https://example.com/a.png", at="x"),
        Image(data="aGk=", media_type="image/tiff", at="x"),
        Document(url="https://example.com/a.pdf", at="x"),
        Document(data="aGk=", media_type="application/zip", at="x"),
    ],
)
def test_what_lies_elsewhere_or_nobody_reads_is_refused(part: Any) -> None:
    with pytest.raises(Untranslatable):
        encoded(messages=(Message("user", (part,)),))


def test_thinking_of_other_vendors_stays_behind() -> None:
    turn = Message("assistant", (Thinking("unsigned"), Thinking("mine", "c2ln"), Thinking(redacted="eA=="), Text("t")))
    assert encoded(messages=(*HELLO, turn))["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "mine", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": "eA=="}},
        {"text": "t"},
    ]


@pytest.mark.parametrize(
    ("model", "reasoning", "fields"),
    [
        (CLAUDE, Reasoning("medium"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (CLAUDE, Reasoning(budget=50_000), {"thinking": {"type": "enabled", "budget_tokens": 7999}}),
        (CLAUDE, Reasoning(budget=500), None),
        (CLAUDE, Reasoning("none"), {"thinking": {"type": "disabled"}}),
        (CLAUDE, Reasoning(adaptive=True), {"thinking": {"type": "adaptive"}}),
        (NOVA, Reasoning("xhigh"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        (NOVA, Reasoning("none"), {"reasoningConfig": {"type": "disabled"}}),
        (GPT_OSS, Reasoning(budget=1024), {"reasoning_effort": "low"}),
        (GPT_OSS, Reasoning("none"), None),
        ("meta.llama3-70b-instruct-v1:0", Reasoning("high"), None),
        (
            "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc",
            Reasoning("low"),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
    ],
)
def test_each_family_is_asked_to_think_in_its_own_words(model: str, reasoning: Reasoning, fields: Any) -> None:
    document = Converse().encode_call(ChatCall(model, HELLO, max_tokens=8000, reasoning=reasoning))
    assert document.get("additionalModelRequestFields") == fields


def test_adaptive_thinking_brings_its_effort() -> None:
    document = encoded(reasoning=Reasoning("low", adaptive=True))
    assert document["outputConfig"] == {"effort": "low"}


def test_beside_thinking_there_is_no_sampling() -> None:
    document = encoded(max_tokens=8000, reasoning=Reasoning("low"), temperature=0.2, top_p=0.5, top_k=4)
    assert document["inferenceConfig"] == {"maxTokens": 8000}
    assert "top_k" not in document["additionalModelRequestFields"]
    forced = encoded(
        max_tokens=8000, reasoning=Reasoning("low"), temperature=1.7, tools=(TOOL,), tool_choice=ToolChoice("required")
    )
    assert forced["inferenceConfig"]["temperature"] == 1
    assert "additionalModelRequestFields" not in forced


@pytest.mark.parametrize(
    ("model", "fields"),
    [(CLAUDE, {"top_k": 9}), (NOVA, {"inferenceConfig": {"topK": 9}}), ("meta.llama3", None)],
)
def test_top_k_is_the_models_own_field(model: str, fields: Any) -> None:
    assert encoded(model, top_k=9).get("additionalModelRequestFields") == fields


def test_the_model_that_is_asked_decides_on_the_words() -> None:
    """The client's name for a model says nothing of its family; the name in the configuration does."""
    raw = json.dumps(
        {
            "model": "smart",
            "max_tokens": 9000,
            "messages": [{"role": "user", "content": "hi"}],
            "thinking": {"type": "enabled", "budget_tokens": 2000},
        }
    ).encode()
    call = LlmCall.read(Messages(), raw)
    outbound = call.outbound(Converse(), CLAUDE)
    assert outbound.model == CLAUDE
    assert outbound.document["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2000}}
    assert "additionalModelRequestFields" not in call.outbound(Converse()).document


def test_structured_output() -> None:
    document = encoded(response_format=ResponseFormat("schema", {"type": "object"}, "answer", True))
    assert document["outputConfig"] == {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": '{"type":"object"}', "name": "answer"}},
        }
    }
    assert "JSON" in encoded(response_format=ResponseFormat("json"))["system"][0]["text"]


def test_metadata_is_what_the_vendors_pattern_allows() -> None:
    metadata = {"team": "red", "": "x", "bad": "ünï", "long": "x" * 257, **{f"k{i}": "v" for i in range(20)}}
    said = encoded(metadata=metadata, user="u", service_tier="flex")
    assert said["requestMetadata"]["team"] == "red"
    assert len(said["requestMetadata"]) == 16
    assert not {"", "bad", "long"} & set(said["requestMetadata"])
    assert said["serviceTier"] == {"type": "flex"}


@pytest.mark.parametrize("fields", [{"n": 2}, {"stop": ("a", " ")}])
def test_what_cannot_be_asked_there_is_refused(fields: Any) -> None:
    with pytest.raises(Untranslatable):
        encoded(**fields)


def test_prompts_are_put_around_the_call_and_turns_still_alternate() -> None:
    document = {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "own"}]}
    Converse().enrich(
        document,
        [{"role": "system", "content": "before"}, {"role": "user", "content": "context"}],
        [{"role": "system", "content": "after"}, {"role": "assistant", "content": "ok"}],
    )
    assert document == {
        "system": [{"text": "before"}, {"text": "own"}, {"text": "after"}],
        "messages": [
            {"role": "user", "content": [{"text": "context"}, {"text": "hi"}]},
            {"role": "assistant", "content": [{"text": "ok"}]},
        ],
    }
