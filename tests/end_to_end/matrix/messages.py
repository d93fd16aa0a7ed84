"""Anthropic's messages, read by the published format: https://docs.anthropic.com/en/api/messages"""

import json
from collections.abc import Iterator
from typing import Any

from .facts import Asked, Counts, Failed, Json, Seen, Speaker, insist, only, said_once

CALL = (
    *("model", "messages", "max_tokens", "system", "stream", "tools", "tool_choice", "temperature", "stop_sequences"),
    *("thinking", "output_config"),
)
STOPS = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter", None: None}
CHOICES = {"any": "required", "auto": "auto", "none": "none"}
EFFORTS = {1024: "low", 2048: "medium", 4096: "high"}
"""What a budget is worth, by `docs/dialects.md`."""
DELTAS = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
DELTAS_OF = {
    "text": {"text_delta"},
    "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"},
}


def asked(document: Json) -> Asked:
    only(document, *CALL)
    roles = [message["role"] for message in document["messages"]]
    insist(roles == [("user", "assistant")[i % 2] for i in range(len(roles))], "the roles take turns")
    choice, thinking = document.get("tool_choice"), document.get("thinking")
    wanted = document.get("output_config", {}).get("format")
    single = None if choice is None else choice.get("disable_parallel_tool_use")
    if thinking is not None:
        insist(1024 <= thinking["budget_tokens"] < document["max_tokens"], "the budget is part of the limit")
    return Asked(
        turns=tuple(turn for message in document["messages"] for turn in _turns(message)),
        system="".join(block["text"] for block in _blocks(document.get("system", ()))),
        tools=tuple(_tool(tool) for tool in document.get("tools", ())),
        choice=None if choice is None else CHOICES.get(choice["type"], choice.get("name")),
        parallel=None if single is None else not single,
        limit=document["max_tokens"],
        temperature=document.get("temperature"),
        stop=tuple(document.get("stop_sequences", ())),
        effort=None if thinking is None else EFFORTS[thinking["budget_tokens"]],
        schema=None if wanted is None else wanted["schema"],
    )


def _tool(tool: Json) -> tuple[str, str, Json]:
    only(tool, "name", "description", "input_schema")
    return tool["name"], tool["description"], tool["input_schema"]


def _blocks(content: Any) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _turns(message: Json) -> Iterator[tuple[str, ...]]:
    only(message, "role", "content")
    for block in _blocks(message["content"]):
        match block["type"]:
            case "text":
                only(block, "type", "text")
                insist(block["text"], "a text is not empty")
                yield (message["role"], block["text"])
            case "image":
                only(block, "type", "source")
                yield ("image", _address(block["source"]))
            case "document":
                only(block, "type", "source", "title")
                yield ("document", block["title"], _address(block["source"]))
            case "tool_use":
                only(block, "type", "id", "name", "input")
                yield ("call", block["id"], block["name"], json.dumps(block["input"], sort_keys=True))
            case "tool_result":
                only(block, "type", "tool_use_id", "content")
                yield ("result", block["tool_use_id"], "".join(each["text"] for each in _blocks(block["content"])))


def _address(source: Json) -> str:
    if source["type"] == "url":
        only(source, "type", "url")
        return str(source["url"])
    only(source, "type", "media_type", "data")
    return f"data:{source['media_type']};base64,{source['data']}"


def seen(document: Json) -> Seen:
    only(document, "id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage")
    insist((document["type"], document["role"]) == ("message", "assistant") and document["id"], "the head")
    blocks = document["content"]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    insist(all(block["id"] for block in calls) and len({block["id"] for block in calls}) == len(calls), "ids of calls")
    return Seen(
        text=_joined(blocks, "text", "text"),
        thinking=_joined(blocks, "thinking", "thinking"),
        signature=_joined(blocks, "thinking", "signature"),
        calls=tuple((block["name"], block["input"]) for block in calls),
        stop=STOPS[document["stop_reason"]],
        usage=_usage(document["usage"]),
        model=document["model"],
    )


def _joined(blocks: list[Json], kind: str, key: str) -> str:
    return "".join(block[key] for block in blocks if block["type"] == kind)


def _usage(fields: Json) -> Counts:
    read, written = fields["cache_read_input_tokens"], fields["cache_creation_input_tokens"]
    return Counts(
        input=fields["input_tokens"] + read + written,
        output=fields["output_tokens"],
        read=read,
        written=written,
        reasoning=fields.get("output_tokens_details", {}).get("thinking_tokens", 0),
    )


def heard(stream: bytes) -> Seen:
    """`message_start`, blocks that follow each other, `message_delta`, `message_stop`; or an error at the end."""
    events = list(_events(stream))
    start, *events, last = [event for event in events if event["type"] != "ping"]
    insist(start["type"] == "message_start" and start["message"]["content"] == [], "the start")
    insist(start["message"]["stop_reason"] is None and start["message"]["id"], "the start's message")
    _usage(start["message"]["usage"])
    error, stop, usage, open_block = "", None, None, False
    blocks: list[Json] = []
    if last["type"] == "error":
        error = last["error"]["message"]
    else:
        insist(last == {"type": "message_stop"}, "the end")
    for event in events:
        insist(stop is None, "something after the stop reason")
        match event["type"]:
            case "content_block_start":
                insist(not open_block and event["index"] == len(blocks), "blocks follow each other")
                blocks.append({**event["content_block"], "partial_json": ""})
                open_block = True
            case "content_block_delta":
                insist(open_block and event["index"] == len(blocks) - 1, "a delta of the open block")
                _listen(event["delta"], blocks[-1])
            case "content_block_stop":
                insist(open_block and event["index"] == len(blocks) - 1, "the end of the open block")
                open_block = False
            case "message_delta":
                insist(not open_block, "every block has ended")
                stop = said_once(STOPS[event["delta"]["stop_reason"]], stop, "the stop reason")
                usage = _usage(event["usage"])
            case other:
                insist(False, f"an event of type {other}")
    insist(error or (stop and not open_block), "one answer with an end")
    return Seen(
        text=_joined(blocks, "text", "text"),
        thinking=_joined(blocks, "thinking", "thinking"),
        signature=_joined(blocks, "thinking", "signature"),
        calls=tuple((b["name"], json.loads(b["partial_json"] or "{}")) for b in blocks if b["type"] == "tool_use"),
        stop=stop,
        usage=usage,
        model=start["message"]["model"],
        error=error,
    )


def _listen(delta: Json, block: Json) -> None:
    insist(delta["type"] in DELTAS_OF[block["type"]], f"{delta['type']} in a block of type {block['type']}")
    if delta["type"] == "signature_delta":
        block["signature"] += delta["signature"]
    else:
        block[DELTAS[delta["type"]]] += delta[DELTAS[delta["type"]]]


def _events(stream: bytes) -> Iterator[Json]:
    *events, rest = stream.decode().split("\n\n")
    insist(rest == "", "the last event is whole")
    for event in events:
        kind, _, data = event.partition("\n")
        document = json.loads(data.removeprefix("data: "))
        insist(kind == f"event: {document['type']}" and data.startswith("data: "), "an event's two lines")
        yield document


def failed(document: Json) -> Failed:
    only(document, "type", "error", "request_id")
    insist(document["type"] == "error" and document["error"].keys() == {"type", "message"}, "an error's fields")
    return Failed(document["error"]["message"], document["error"]["type"])


SPEAKER = Speaker(
    name="messages",
    path="/v1/messages",
    headers={"x-api-key": "sk-of-the-client", "anthropic-version": "2026-10-21", "anthropic-beta": "client-beta"},
    streaming={"stream": True},
    kinds={
        400: "invalid_request_error",
        429: "rate_limit_error",
        502: "api_error",
        503: "overloaded_error",
        529: "overloaded_error",
    },
    busy=529,
    stop="stop_sequences",
    asked=asked,
    seen=seen,
    heard=heard,
    failed=failed,
)
