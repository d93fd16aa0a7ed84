"""Calls in Google's format, from and to the other dialects; the official SDK's own types judge what we write."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from google.genai import types
from pydantic import TypeAdapter

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import Dialect, LlmCall, Untranslatable
from agentgateway.llm.chat import ChatCall, Document, Image, Message, Reasoning, Text, Thinking, ToolResult, ToolUse
from agentgateway.llm.dialects.gemini_fields import FIELDS, REPLY_FIELDS
from agentgateway.llm.documents import dump
from agentgateway.testing import DialectContract

Json = dict[str, Any]
Read = Callable[..., LlmCall]
PUBLISHED: dict[str, Any] = {
    "contents": TypeAdapter(list[types.Content]),
    "systemInstruction": TypeAdapter(types.Content),
    "tools": TypeAdapter(list[types.Tool]),
    "toolConfig": TypeAdapter(types.ToolConfig),
    "generationConfig": TypeAdapter(types.GenerationConfig),
    "safetySettings": TypeAdapter(list[types.SafetySetting]),
    "serviceTier": TypeAdapter(types.ServiceTier),
}
CALLED: list[Any] = [
    {"role": "user", "content": "Weather in Paris and Oslo?"},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Both.",
        "thinking_blocks": [{"type": "thinking", "thinking": "Both.", "signature": "CpcBAdHtim8="}],
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}},
            {"id": "b", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": "Sun."},
    {"role": "tool", "tool_call_id": "b", "content": "Snow."},
]


class TestGeminiContract(DialectContract):
    name = "gemini"
    spoken = "hello Ada"
    call = {
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hello Ada"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "thinking of hello Ada", "thought": True},
                    {"functionCall": {"id": "1", "name": "f", "args": {"q": "hello Ada"}}, "thoughtSignature": "c2ln"},
                ],
            },
            {
                "role": "user",
                "parts": [{"functionResponse": {"id": "1", "name": "f", "response": {"output": "hello Ada"}}}],
            },
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"maxOutputTokens": 9, "temperature": 0.5, "thinkingConfig": {"thinkingBudget": 512}},
    }
    reply = {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "hm, hello Ada", "thought": True},
                        {"text": "hello Ada", "thoughtSignature": "c2ln"},
                        {"functionCall": {"id": "1", "name": "f", "args": {"q": "hello Ada"}}},
                    ],
                },
                "finishReason": "STOP",
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7, "totalTokenCount": 12},
        "modelVersion": "gemini-2.5-flash",
        "responseId": "r1",
    }


def reading(document: Json, path: str = "/v1beta/models/m:generateContent") -> LlmCall:
    from agentgateway.llm.dialects.gemini import Gemini

    return LlmCall.read(Gemini(), dump(document), path)


def saying(*parts: Json, role: str = "user", **more: Any) -> LlmCall:
    return reading({"contents": [{"role": role, "parts": list(parts)}], **more})


def canonical(**more: Any) -> ChatCall:
    return reading({"contents": [], **more}).canonical()


@pytest.fixture
def to_gemini(read: Read, gemini: Dialect) -> Callable[..., Json]:
    """The document that a chat completions call becomes, if the SDK's own types hold it."""

    def encode(model: str = "gemini-2.5-flash", **fields: Any) -> Json:
        document = read("completions", model=model, **fields).translated(gemini).document
        for key, value in document.items():
            PUBLISHED[key].validate_python(value)
        return document

    return encode


# where the model stands


@pytest.mark.parametrize(
    ("path", "model", "streams"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini-2.5-flash", False),
        ("/v1/models/gemini-2.5-flash:streamGenerateContent", "gemini-2.5-flash", True),
        ("/v1beta/models/meta/llama3:8b:generateContent", "meta/llama3:8b", False),
        ("/v1beta/models/meta%2Fllama:generateContent", "meta/llama", False),
        ("/v1beta/tunedModels/mine:generateContent", "tunedModels/mine", False),
        (
            "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-3-pro:streamGenerateContent",
            "gemini-3-pro",
            True,
        ),
        ("/v1beta1/publishers/google/models/gemini-3-pro:generateContent", "gemini-3-pro", False),
    ],
)
def test_the_path_tells_the_model_and_whether_it_streams(path: str, model: str, streams: bool) -> None:
    call = reading({"contents": []}, path)
    assert (call.model, call.stream) == (model, streams)
    assert (call.canonical().model, call.canonical().stream) == (model, streams)


@pytest.mark.parametrize(
    "model", ["", "..", "%2e%2e", "a%2F..%2Fb", "%00", "a%0Ab", "x" * 600, "%20"], ids=lambda one: one[:9]
)
def test_a_path_without_a_proper_model_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        reading({"contents": []}, f"/v1beta/models/{model}:generateContent")
    assert caught.value.param == "model"


def test_a_model_in_the_body_must_be_the_one_in_the_path() -> None:
    for named in ("m", "models/m", "publishers/google/models/m"):
        reading({"model": named, "contents": []})
    with pytest.raises(InvalidRequest, match="path"):
        reading({"model": "models/another", "contents": []})


@pytest.mark.parametrize("query", ["", "alt=json", "key=k&alt=SSE", "xalt=sse"])
def test_a_stream_is_served_as_events_or_not_at_all(gemini: Dialect, query: str) -> None:
    path = "/v1beta/models/m:streamGenerateContent"
    with pytest.raises(InvalidRequest, match="alt=sse"):
        gemini.check_query(query, path)
    gemini.check_query("key=k&alt=sse", path)
    gemini.check_query(query, "/v1beta/models/m:generateContent")


# spellings


def test_original_names_and_single_objects_are_read_like_the_usual_form() -> None:
    usual = deepcopy(TestGeminiContract.call)
    odd = {
        "system_instruction": {"parts": {"text": "be brief"}},
        "contents": deepcopy(usual["contents"]),
        "tools": {"function_declarations": {"name": "f", "parameters_json_schema": {"type": "object"}}},
        "tool_config": {"function_calling_config": {"mode": "ANY"}},
        "generation_config": {
            "max_output_tokens": "9",
            "temperature": 0.5,
            "thinking_config": {"thinking_budget": 512.0},
        },
    }
    odd["contents"][1]["parts"][1] = {
        "function_call": {"id": "1", "name": "f", "args": {"q": "hello Ada"}},
        "thought_signature": "c2ln",
    }
    odd["contents"][2] = {"parts": {"function_response": {"id": "1", "name": "f", "response": {"output": "hello Ada"}}}}
    assert reading(odd).canonical() == reading(usual).canonical()


def test_bytes_of_a_call_in_another_spelling_leave_as_they_came(gemini: Dialect) -> None:
    raw = b'{"system_instruction":{"parts":{"text":"a"}},"contents":{"parts":{"text":"b"}},"no_such_field":1}'
    call = LlmCall.read(gemini, raw, "/v1beta/models/m:generateContent")
    assert call.outbound(gemini, "another").body() == raw
    for segment in call.segments():
        segment.replace("***")
    assert call.outbound(gemini).body() == (
        b'{"systemInstruction":{"parts":[{"text":"***"}]},"contents":[{"parts":[{"text":"***"}]}],"no_such_field":1}'
    )


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"systemInstruction": {}, "system_instruction": {}}, "system_instruction"),
        ({"Contents": []}, "Contents"),
        ({"SYSTEM_INSTRUCTION": {}}, "SYSTEM_INSTRUCTION"),
        ({"contents": [{"parts": [{"Text": "x"}]}]}, "contents[0].parts[0].Text"),
        ({"contents": [{"parts": [{"inline_data": {}, "inlineData": {}}]}]}, "contents[0].parts[0].inline_data"),
        ({"contents": "hi"}, "contents"),
        ({"contents": ["hi"]}, "contents[0]"),
        ({"contents": [{"parts": "hi"}]}, "contents[0].parts"),
        ({"contents": [{"parts": [7]}]}, "contents[0].parts[0]"),
        ({"systemInstruction": "hi", "contents": []}, "systemInstruction"),
        ({}, "contents"),
    ],
)
def test_what_two_parsers_could_read_in_two_ways_is_refused(document: Json, field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        reading(document)
    assert caught.value.param == field


# from Google's format


def test_ids_that_are_missing_are_the_same_for_call_and_answer() -> None:
    def called(city: str) -> Json:
        return {"functionCall": {"name": "weather", "args": {"city": city}}}

    def answered(name: str, text: str) -> Json:
        return {"functionResponse": {"name": name, "response": {"result": text}}}

    document = {
        "contents": [
            {"role": "model", "parts": [called("Paris"), called("Oslo"), {"functionCall": {"name": "time"}}]},
            {"role": "user", "parts": [answered("time", "12:00"), answered("weather", "Sun."), {"text": "And now?"}]},
            {"role": "function", "parts": [answered("weather", "Snow.")]},
        ]
    }
    said, answers, user, later = reading(document).canonical().messages
    ids = [part.id for part in said.parts if isinstance(part, ToolUse)]
    assert len(set(ids)) == 3
    assert [part.id for part in (*answers.parts, *later.parts) if isinstance(part, ToolResult)] == [
        ids[2],
        ids[0],
        ids[1],
    ]
    assert user.parts == (Text("And now?"),)
    assert reading(document).canonical() == reading(document).canonical()


def test_an_answer_to_no_call_is_refused() -> None:
    call = saying({"functionResponse": {"name": "f", "response": {}}})
    with pytest.raises(Untranslatable, match=r"contents\[0\].parts\[0\].functionResponse"):
        call.canonical()


@pytest.mark.parametrize(
    ("response", "text", "fails"),
    [
        ({"output": "x"}, "x", False),
        ({"result": {"a": 1}}, '{"a":1}', False),
        ({"error": "no"}, "no", True),
        ({"a": 1, "b": "c"}, '{"a":1,"b":"c"}', False),
    ],
)
def test_what_a_tool_answered(response: Json, text: str, fails: bool) -> None:
    call = saying(
        {"functionResponse": {"id": "1", "name": "f", "response": response}},
    )
    (message,) = call.canonical().messages
    assert message == Message("tool", (ToolResult("1", (Text(text),), fails),))


def test_pictures_in_a_tools_answer() -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "aGk_", "displayName": "a.png"}}
    call = saying({"functionResponse": {"id": "1", "name": "f", "response": {}, "parts": [picture]}})
    (message,) = call.canonical().messages
    assert message.parts == (ToolResult("1", (Image(data="aGk/", media_type="image/png"),)),)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "-_8"}}, Image(data="+/8=", media_type="image/png")),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "aGk=", "displayName": "r.pdf"}},
            Document(data="aGk=", media_type="application/pdf", title="r.pdf"),
        ),
        ({"fileData": {"fileUri": "https://a.example/x.jpg"}}, Image(url="https://a.example/x.jpg")),
        (
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.example/x"}},
            Document(url="https://a.example/x", media_type="application/pdf"),
        ),
    ],
)
def test_files(part: Json, expected: Any) -> None:
    assert saying(part).canonical().messages[0].parts == (expected,)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"inlineData": {"mimeType": "audio/wav", "data": "aGk="}}, "inlineData"),
        ({"fileData": {"mimeType": "video/mp4", "fileUri": "https://a.example/x"}}, "fileData"),
        ({"fileData": {"fileUri": "https://a.example/x"}}, "fileData.mimeType"),
        ({"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/x.png"}}, "fileData.fileUri"),
        (
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}},
            "fileData.fileUri",
        ),
        ({"fileData": {"fileUri": "https://www.youtube.com/watch?v=1"}}, "fileData.fileUri"),
        ({"executableCode": {"code": "1"}}, "executableCode"),
        ({"text": "x", "videoMetadata": {"fps": 1}}, "videoMetadata"),
        ({"text": "x", "brandNew": 1}, "brandNew"),
        ({"functionCall": {"name": "f", "partialArgs": [{}]}}, "functionCall.partialArgs"),
        ({"functionCall": {"name": "f", "args": {}}}, "functionCall"),
    ],
)
def test_what_nobody_else_has_words_for_is_refused_by_name(part: Json, field: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        saying(part).canonical()
    assert caught.value.param == f"contents[0].parts[0].{field}"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"cachedContent": "cachedContents/1"}, "cachedContent"),
        ({"modelArmorConfig": {"promptTemplateName": "t"}}, "modelArmorConfig"),
        ({"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
        ({"tools": [{"code_execution": {}}]}, "tools[0].codeExecution"),
        ({"tools": [{"somethingNew": {}}]}, "tools[0].somethingNew"),
        ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType"),
        ({"generationConfig": {"speechConfig": {"a": 1}}}, "generationConfig.speechConfig"),
        (
            {"safetySettings": [{"category": "C", "threshold": "BLOCK_LOW_AND_ABOVE"}]},
            "safetySettings[0].threshold",
        ),
    ],
)
def test_what_only_this_vendor_does_is_refused_by_name(more: Json, field: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        canonical(**more)
    assert caught.value.param == field


def test_what_asks_for_nothing_passes() -> None:
    off = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": threshold} for threshold in ("OFF", "BLOCK_NONE")]
    said = canonical(
        safetySettings=off,
        labels={"team": "a"},
        store=False,
        generationConfig={"responseModalities": ["TEXT"], "mediaResolution": "MEDIA_RESOLUTION_LOW", "logprobs": 0},
        toolConfig={"functionCallingConfig": {"streamFunctionCallArguments": False}},
    )
    assert (said.max_tokens, said.response_format, said.tools) == (None, None, ())


@pytest.mark.parametrize(
    ("config", "reasoning"),
    [
        ({"thinkingBudget": 0}, Reasoning("none")),
        ({"thinkingBudget": -1}, Reasoning(adaptive=True)),
        ({"thinkingBudget": 2048, "includeThoughts": True}, Reasoning(budget=2048)),
        ({"thinkingLevel": "LOW"}, Reasoning("low")),
        ({"thinkingLevel": "high"}, Reasoning("high")),
        ({"includeThoughts": True}, None),
        (None, None),
    ],
)
def test_how_much_to_think(config: Any, reasoning: Any) -> None:
    assert canonical(generationConfig={"thinkingConfig": config}).reasoning == reasoning


@pytest.mark.parametrize(
    ("config", "mode", "name", "left"),
    [
        ({}, "auto", None, 2),
        ({"mode": "AUTO"}, "auto", None, 2),
        ({"mode": "VALIDATED"}, "auto", None, 2),
        ({"mode": "NONE"}, "none", None, 2),
        ({"mode": "ANY"}, "required", None, 2),
        ({"mode": "ANY", "allowedFunctionNames": ["a"]}, "named", "a", 1),
        ({"mode": "ANY", "allowedFunctionNames": ["a", "b"]}, "required", None, 2),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["b"]}, "auto", None, 1),
    ],
)
def test_which_tools_may_be_called(config: Json, mode: str, name: str | None, left: int) -> None:
    tools = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
    said = canonical(tools=tools, toolConfig={"functionCallingConfig": config})
    assert said.tool_choice is not None
    assert (said.tool_choice.mode, said.tool_choice.name, len(said.tools)) == (mode, name, left)


def test_googles_own_schemas_become_json_schema() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "city": {"type": "STRING", "enum": ["Oslo"], "nullable": True},
            "type": {"type": "ARRAY", "items": {"type": "INTEGER"}, "minItems": "1", "max_items": 3},
            "either": {"anyOf": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": True},
        },
        "required": ["city"],
        "propertyOrdering": ["city", "type"],
    }
    made = {
        "type": "object",
        "properties": {
            "city": {"type": ["string", "null"], "enum": ["Oslo", None]},
            "type": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3},
            "either": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
        },
        "required": ["city"],
    }
    said = canonical(
        tools=[{"functionDeclarations": [{"name": "f", "parameters": schema}]}],
        generationConfig={"responseMimeType": "application/json", "responseSchema": schema},
    )
    assert said.tools[0].schema == made
    assert said.response_format is not None
    assert said.response_format.schema == made


@pytest.mark.parametrize("key", ["responseJsonSchema", "_responseJsonSchema", "response_json_schema"])
def test_a_json_schema_stays_as_it_is(key: str) -> None:
    schema = {"type": "object", "additionalProperties": False}
    said = canonical(generationConfig={"responseMimeType": "application/json", key: schema})
    assert said.response_format is not None
    assert said.response_format.schema == schema


@pytest.mark.parametrize("value", ["1e3", "-1", 1.5, True, [], 10**12])
def test_a_limit_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="maxOutputTokens"):
        canonical(generationConfig={"maxOutputTokens": value})


def test_pieces_of_a_stream_that_come_back_are_one_text_again() -> None:
    parts = [{"text": "a", "thought": True}, {"text": "b", "thought": True}, {"text": "c"}, {"text": "d"}, {"text": ""}]
    (message,) = saying(*parts, role="model").canonical().messages
    assert message.parts == (Thinking("ab"), Text("cd"))


# to Google's format


def test_a_whole_call(to_gemini: Callable[..., Json]) -> None:
    asked = to_gemini(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "developer", "content": "Be kind."},
        ],
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        tool_choice={"type": "function", "function": {"name": "f"}},
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=4,
        stop=["END"],
        seed=7,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        service_tier="default",
        user="ada",
        metadata={"a": "b"},
        verbosity="low",
        parallel_tool_calls=False,
    )
    assert asked == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
        "tools": [
            {
                "functionDeclarations": [
                    {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}},
                ]
            }
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        "generationConfig": {
            "maxOutputTokens": 9,
            "temperature": 0.5,
            "topP": 0.9,
            "topK": 4,
            "stopSequences": ["END"],
            "seed": 7,
            "frequencyPenalty": 0.1,
            "presencePenalty": 0.2,
            "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "object"},
        },
        "serviceTier": "standard",
    }


def test_tools_and_their_answers(to_gemini: Callable[..., Json]) -> None:
    contents = to_gemini(messages=[*CALLED, {"role": "user", "content": "Thanks."}])["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user", "user"]
    assert contents[1]["parts"] == [
        {"text": "Both.", "thought": True},
        {
            "functionCall": {"id": "a", "name": "weather", "args": {"city": "Paris"}},
            "thoughtSignature": "CpcBAdHtim8=",
        },
        {"functionCall": {"id": "b", "name": "weather", "args": {"city": "Oslo"}}},
    ]
    assert contents[2]["parts"] == [
        {"functionResponse": {"id": "a", "name": "weather", "response": {"output": "Sun."}}},
        {"functionResponse": {"id": "b", "name": "weather", "response": {"output": "Snow."}}},
    ]


@pytest.mark.parametrize(
    ("model", "signature"),
    [
        ("gemini-3-pro-preview", "skip_thought_signature_validator"),
        ("gemini-flash-latest", "skip_thought_signature_validator"),
        ("gemini-2.5-pro", None),
        ("gemma-3-27b-it", None),
    ],
)
def test_a_call_that_nobody_signed_gets_the_documented_stand_in(
    to_gemini: Callable[..., Json], model: str, signature: str | None
) -> None:
    unsigned = {key: value for key, value in CALLED[1].items() if not key.startswith(("reasoning", "thinking"))}
    contents = to_gemini(model, messages=[CALLED[0], unsigned, *CALLED[2:]])["contents"]
    first, second = contents[1]["parts"]
    assert (first.get("thoughtSignature"), second.get("thoughtSignature")) == (signature, None)


def test_a_stand_in_is_no_thought(gemini: Dialect) -> None:
    part = {"functionCall": {"id": "1", "name": "f"}, "thoughtSignature": "skip_thought_signature_validator"}
    (message,) = saying(part, role="model").canonical().messages
    assert message.parts == (ToolUse("1", "f", "{}"),)


def test_an_answer_to_no_call_has_no_name(to_gemini: Callable[..., Json]) -> None:
    with pytest.raises(Untranslatable, match="not in the conversation"):
        to_gemini(messages=[{"role": "tool", "tool_call_id": "x", "content": "Sun."}])


def test_failures_of_tools_and_pictures_from_them(read: Read, gemini: Dialect) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    messages = [
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t",
                    "is_error": True,
                    "content": [{"type": "text", "text": "no"}, picture],
                }
            ],
        },
    ]
    inline = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    answer: Json = {"id": "t", "name": "f", "response": {"error": "no"}}
    for model, parts in (
        ("gemini-3-pro", [{"functionResponse": answer | {"parts": [inline]}}]),
        ("gemini-2.5-pro", [{"functionResponse": answer}, inline]),
    ):
        document = read("messages", model=model, messages=messages).translated(gemini).document
        assert document["contents"][1] == {"role": "user", "parts": parts}
        PUBLISHED["contents"].validate_python(document["contents"])


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-2.5-flash", "max", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "LOW"}),
        ("gemini-3-flash", "none", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-3-pro-preview", "xhigh", {"thinkingLevel": "HIGH", "includeThoughts": True}),
    ],
)
def test_efforts_by_generation(to_gemini: Callable[..., Json], model: str, effort: str, config: Json) -> None:
    assert to_gemini(model, reasoning_effort=effort)["generationConfig"] == {"thinkingConfig": config}


def test_a_budget_stays_a_budget(to_gemini: Callable[..., Json], read: Read, gemini: Dialect) -> None:
    config = to_gemini("gemini-3-pro", thinking_budget_tokens=500)["generationConfig"]["thinkingConfig"]
    assert config == {"thinkingBudget": 500, "includeThoughts": True}
    adaptive = read("messages", model="gemini-2.5-pro", thinking={"type": "adaptive"}).translated(gemini).document
    assert adaptive["generationConfig"]["thinkingConfig"] == {"thinkingBudget": -1, "includeThoughts": True}


def test_pictures_and_files(to_gemini: Callable[..., Json]) -> None:
    urls = ["data:image/png;base64,aGk=", "https://a.example/x.webp?y=1", "https://a.example/x"]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "r.pdf"}}
    (content,) = to_gemini(messages=[{"role": "user", "content": [*images, file]}])["contents"]
    assert content["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://a.example/x.webp?y=1"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a.example/x"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "aGk=", "displayName": "r.pdf"}},
    ]


@pytest.mark.parametrize(
    ("name", "tidy"),
    [
        ("get_weather-2", "get_weather-2"),
        ("a.b:c", "a.b:c"),
        ("2nd", "_2nd_"),
        ("mcp/tool", "mcp_tool_"),
        ("x" * 100, "x" * 55 + "_"),
    ],
)
def test_names_of_tools_that_the_vendor_refuses(
    to_gemini: Callable[..., Json], gemini: Dialect, completions: Dialect, read: Read, name: str, tidy: str
) -> None:
    tool = {"type": "function", "function": {"name": name}}
    (declared,) = to_gemini(tools=[tool])["tools"][0]["functionDeclarations"]
    assert declared["name"].startswith(tidy)
    assert len(declared["name"]) <= 64
    reply = {"candidates": [{"content": {"parts": [{"functionCall": declared}]}, "finishReason": "STOP"}]}
    from agentgateway.llm.calls import LlmReply

    back = LlmReply(gemini, reply).translated(completions, read("completions", tools=[tool]).canonical())
    assert back.document["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == name


def test_turns_of_one_speaker_become_one_and_empty_texts_are_left_out(to_gemini: Callable[..., Json]) -> None:
    messages = [
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ""},
    ]
    assert to_gemini(messages=messages)["contents"] == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "user", "parts": [{"text": ""}]},
    ]


def test_more_than_one_answer_is_refused(to_gemini: Callable[..., Json]) -> None:
    with pytest.raises(Untranslatable, match="n:"):
        to_gemini(n=2)


def test_citations_are_refused(read: Read, gemini: Dialect) -> None:
    block = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "x"},
        "citations": {"enabled": True},
    }
    with pytest.raises(Untranslatable, match="citations"):
        read("messages", messages=[{"role": "user", "content": [block]}]).translated(gemini)


def test_signatures_of_any_vendor_are_bytes_there_and_come_back(gemini: Dialect, completions: Dialect) -> None:
    """The SDK reads them as bytes, and sends them in the alphabet for URLs."""
    for signature in ("EqQB+/8=", "not base64 at all", "EqQBCg==="):
        said = {"role": "assistant", "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": signature}]}
        reply = {"choices": [{"message": said | {"content": "x"}, "finish_reason": "stop"}]}
        from agentgateway.llm.calls import LlmReply

        document = LlmReply(completions, reply).translated(gemini).document
        shown = types.GenerateContentResponse.model_validate(document)
        assert shown.candidates is not None
        content = shown.candidates[0].content
        assert content is not None
        sent = content.model_dump(mode="json", exclude_none=True, by_alias=True)
        (message,) = reading({"contents": [sent]}).canonical().messages
        assert message.parts == (Thinking("t", signature), Text("x"))


# enriching


def test_prompts_of_the_operator_are_put_around_the_call() -> None:
    call = reading({"system_instruction": {"parts": {"text": "own"}}, "contents": {"parts": {"text": "hi"}}})
    call.enrich(
        [{"role": "system", "content": "first"}, {"role": "assistant", "content": "before"}],
        [{"role": "user", "content": "after"}, {"role": "system", "content": "last"}],
    )
    assert call.document == {
        "systemInstruction": {"parts": [{"text": "first"}, {"text": "own"}, {"text": "last"}]},
        "contents": [
            {"role": "model", "parts": [{"text": "before"}]},
            {"parts": [{"text": "hi"}]},
            {"role": "user", "parts": [{"text": "after"}]},
        ],
    }


# every field has a fate


def published(kind: Any, prefix: str) -> set[str]:
    return {f"{prefix}{field.alias or name}" for name, field in kind.model_fields.items()}


def test_every_field_of_the_sdks_calls_has_a_fate() -> None:
    own = {"httpOptions", "shouldReturnHttpResponse", "automaticFunctionCalling", "automaticContinuation"}
    at_the_top = {"generationOutputConfig", "toolConfig", *PUBLISHED, "cachedContent", "labels", "store"}
    at_the_top |= {"modelArmorConfig", "continuationToken"}
    config = published(types.GenerateContentConfig, "") - own
    fields = {field if field in at_the_top else f"generationConfig.{field}" for field in config}
    fields |= published(types.GenerationConfig, "generationConfig.")
    fields |= published(types.ThinkingConfig, "generationConfig.thinkingConfig.")
    fields |= published(types.Content, "contents[].") | published(types.Part, "contents[].parts[].")
    fields |= published(types.FunctionCall, "contents[].parts[].functionCall.")
    fields |= published(types.FunctionResponse, "contents[].parts[].functionResponse.")
    fields |= published(types.Blob, "contents[].parts[].inlineData.")
    fields |= published(types.FileData, "contents[].parts[].fileData.")
    fields |= published(types.Tool, "tools[].")
    fields |= published(types.FunctionDeclaration, "tools[].functionDeclarations[].")
    fields |= published(types.ToolConfig, "toolConfig.")
    fields |= published(types.FunctionCallingConfig, "toolConfig.functionCallingConfig.")
    fields |= published(types.SafetySetting, "safetySettings[].")
    assert fields - set(FIELDS) == set()


def test_every_field_of_the_sdks_replies_has_a_fate() -> None:
    own = {"sdkHttpResponse", "automaticFunctionCallingHistory", "parsed"}
    fields = published(types.GenerateContentResponse, "") - own | published(types.Candidate, "candidates[].")
    fields |= published(types.GenerateContentResponsePromptFeedback, "promptFeedback.")
    fields |= published(types.GenerateContentResponseUsageMetadata, "usageMetadata.")
    assert fields - set(REPLY_FIELDS) == set()
