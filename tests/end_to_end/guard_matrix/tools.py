"""The tool `note` in each dialect: a conversation in which it was called, and an answer that calls it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .dialects import COMPLETIONS, EMPTY, MESSAGE_COUNTS, Json, chunk, parts, response


def arguments(text: str) -> str:
    return json.dumps({"note": text}, ensure_ascii=False)


@dataclass(frozen=True)
class Tools:
    """`history` is the end of a conversation: a call of the tool with one text, and its result, which is another;
    `put` adds it to a call. `reply` and `events` are an answer that calls the tool, `called` and `piece` the arguments
    in a whole one and in an event."""

    put: Callable[[Json, str, str], Json]
    reply: Callable[[str], Json]
    events: Callable[[str], list[Json]]
    called: Callable[[Json], str]
    piece: Callable[[Json], str]


def added(call: Json, *turns: Json, key: str = "messages") -> Json:
    return {**call, key: [*call[key], *turns]}


# --- completions ------------------------------------------------------------------------------------------------------


def function(text: str) -> Json:
    return {"id": "t1", "type": "function", "function": {"name": "note", "arguments": text}}


def completions_reply(text: str) -> Json:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [function(arguments(text))]}}
    return {**COMPLETIONS.reply(""), "choices": [{**choice, "finish_reason": "tool_calls"}]}


def completions_events(text: str) -> list[Json]:
    begun = {"role": "assistant", "tool_calls": [{"index": 0, **function("")}]}
    pieces = [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in parts(arguments(text))]
    return [chunk(begun), *map(chunk, pieces), chunk({}, "tool_calls")]


def completions_piece(document: Json) -> str:
    deltas = [one["delta"] for one in document.get("choices", ())]
    return "".join(call["function"]["arguments"] for delta in deltas for call in delta.get("tool_calls") or ())


COMPLETIONS_TOOLS = Tools(
    put=lambda call, text, result: added(
        call,
        {"role": "assistant", "content": None, "tool_calls": [function(arguments(text))]},
        {"role": "tool", "tool_call_id": "t1", "content": result},
    ),
    reply=completions_reply,
    events=completions_events,
    called=lambda document: document["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"],
    piece=completions_piece,
)

# --- messages ---------------------------------------------------------------------------------------------------------


def use(given: Any) -> Json:
    return {"type": "tool_use", "id": "t1", "name": "note", "input": given}


def messages_events(text: str) -> list[Json]:
    deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts(arguments(text))]
    return [
        {"type": "message_start", "message": {**EMPTY, "stop_sequence": None, "usage": MESSAGE_COUNTS}},
        {"type": "content_block_start", "index": 0, "content_block": use({})},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


MESSAGES_TOOLS = Tools(
    put=lambda call, text, result: added(
        call,
        {"role": "assistant", "content": [use({"note": text})]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": result}]},
    ),
    reply=lambda text: {
        **EMPTY,
        **{"content": [use({"note": text})], "stop_reason": "tool_use", "usage": MESSAGE_COUNTS},
    },
    events=messages_events,
    called=lambda document: json.dumps(document["content"][0]["input"]),
    piece=lambda document: document.get("delta", {}).get("partial_json", ""),
)

# --- responses --------------------------------------------------------------------------------------------------------


def function_call(text: str) -> Json:
    return {"type": "function_call", "id": "fc_1", "call_id": "t1", "name": "note", "arguments": text}


def responses_events(text: str) -> list[Json]:
    place = {"item_id": "fc_1", "output_index": 0}
    whole = {**function_call(arguments(text)), "status": "completed"}
    told: list[Json] = [
        {"type": "response.created", "response": response(None)},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**function_call(""), "status": "in_progress"},
        },
        *(
            {"type": "response.function_call_arguments.delta", **place, "delta": part}
            for part in parts(arguments(text))
        ),
        {"type": "response.function_call_arguments.done", **place, "arguments": arguments(text)},
        {"type": "response.output_item.done", "output_index": 0, "item": whole},
        {"type": "response.completed", "response": {**response(""), "output": [whole]}},
    ]
    return [{**one, "sequence_number": number} for number, one in enumerate(told)]


RESPONSES_TOOLS = Tools(
    put=lambda call, text, result: added(
        {**call, "input": [{"role": "user", "content": call["input"]}]},
        function_call(arguments(text)),
        {"type": "function_call_output", "call_id": "t1", "output": result},
        key="input",
    ),
    reply=lambda text: {**response(""), "output": [{**function_call(arguments(text)), "status": "completed"}]},
    events=responses_events,
    called=lambda document: document["output"][0]["arguments"],
    piece=lambda document: document["delta"] if document["type"] == "response.function_call_arguments.delta" else "",
)

# --- gemini -----------------------------------------------------------------------------------------------------------


def calling(text: str, stop: str | None = "STOP") -> Json:
    content = {"role": "model", "parts": [{"functionCall": {"name": "note", "args": {"note": text}}}]}
    return {
        **{"modelVersion": "m", "responseId": "r1"},
        "candidates": [{"index": 0, "content": content, **({"finishReason": stop} if stop else {})}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8},
    }


def gemini_called(document: Json) -> str:
    found = [one.get("content", {}).get("parts", ()) for one in document.get("candidates", ())]
    calls = [part["functionCall"] for each in found for part in each if "functionCall" in part]
    return "".join(json.dumps(call["args"]) for call in calls)


GEMINI_TOOLS = Tools(
    put=lambda call, text, result: added(
        call,
        {"role": "model", "parts": [{"functionCall": {"name": "note", "args": {"note": text}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "note", "response": {"result": result}}}]},
        key="contents",
    ),
    reply=calling,
    events=lambda text: [calling(text)],
    called=gemini_called,
    piece=gemini_called,
)

# --- converse ---------------------------------------------------------------------------------------------------------


def tool_use(text: str) -> Json:
    return {"toolUse": {"toolUseId": "t1", "name": "note", "input": {"note": text}}}


CONVERSE_TOOLS = Tools(
    put=lambda call, text, result: added(
        call,
        {"role": "assistant", "content": [tool_use(text)]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": result}]}}]},
    ),
    reply=completions_reply,
    events=completions_events,
    called=lambda document: json.dumps(document["output"]["message"]["content"][0]["toolUse"]["input"]),
    piece=lambda document: document.get("contentBlockDelta", {}).get("delta", {}).get("toolUse", {}).get("input", ""),
)

TOOLS = {
    "completions": COMPLETIONS_TOOLS,
    "messages": MESSAGES_TOOLS,
    "responses": RESPONSES_TOOLS,
    "gemini": GEMINI_TOOLS,
    "converse": CONVERSE_TOOLS,
}
