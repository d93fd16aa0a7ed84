"""Bedrock's Converse, read by the published format:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html

Frames are read by botocore.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from botocore.eventstream import EventStreamBuffer

from .facts import Asked, Counts, Failed, Json, Malformed, Seen, Speaker, insist, only, said_once

CALL = ("messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields", "outputConfig")
STOPS = {
    "end_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
}
CHOICES = {"any": "required", "auto": "auto"}
EFFORTS = {1024: "low", 2048: "medium", 4096: "high"}
"""What a budget is worth, by `docs/dialects.md`."""
COUNTED = ("inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def asked(document: Json) -> Asked:
    only(document, *CALL)
    limits, more = document["inferenceConfig"], document.get("additionalModelRequestFields", {})
    only(limits, "maxTokens", "temperature", "stopSequences")
    only(more, "thinking", "anthropic_beta")
    roles = [message["role"] for message in document["messages"]]
    insist(roles == [("user", "assistant")[i % 2] for i in range(len(roles))], "the roles take turns")
    tools = document.get("toolConfig", {"tools": ()})
    only(tools, "tools", "toolChoice")
    thinking = more.get("thinking")
    if thinking is not None:
        insist(thinking["type"] == "enabled" and 1024 <= thinking["budget_tokens"] < limits["maxTokens"], "a budget")
    return Asked(
        turns=tuple(turn for message in document["messages"] for turn in _turns(message)),
        system="".join(block["text"] for block in document.get("system", ())),
        tools=tuple(_tool(tool) for tool in tools["tools"]),
        choice=_choice(tools.get("toolChoice")),
        limit=limits["maxTokens"],
        temperature=limits.get("temperature"),
        stop=tuple(limits.get("stopSequences", ())),
        effort=None if thinking is None else EFFORTS[thinking["budget_tokens"]],
        schema=_schema(document.get("outputConfig")),
    )


def _tool(tool: Json) -> tuple[str, str, Json]:
    only(tool, "toolSpec")
    only(tool["toolSpec"], "name", "description", "inputSchema", "strict")
    return tool["toolSpec"]["name"], tool["toolSpec"]["description"], tool["toolSpec"]["inputSchema"]["json"]


def _choice(choice: Json | None) -> str | None:
    if choice is None:
        return None
    ((kind, value),) = choice.items()
    return CHOICES.get(kind) or str(value["name"])


def _schema(config: Json | None) -> Json | None:
    if config is None:
        return None
    wanted = config["textFormat"]
    insist(wanted["type"] == "json_schema", "the format")
    only(wanted["structure"]["jsonSchema"], "schema", "name")
    schema: Json = json.loads(wanted["structure"]["jsonSchema"]["schema"])
    return schema


def _turns(message: Json) -> Iterator[tuple[str, ...]]:
    only(message, "role", "content")
    for block in message["content"]:
        ((kind, held),) = block.items()
        match kind:
            case "text":
                insist(held.strip(), "a text is not blank")
                yield (message["role"], held)
            case "image":
                only(held, "format", "source")
                yield ("image", f"data:image/{held['format']};base64,{held['source']['bytes']}")
            case "document":
                only(held, "format", "name", "source")
                yield ("document", held["name"], f"data:application/{held['format']};base64,{held['source']['bytes']}")
            case "toolUse":
                only(held, "toolUseId", "name", "input")
                yield ("call", held["toolUseId"], held["name"], json.dumps(held["input"], sort_keys=True))
            case "toolResult":
                only(held, "toolUseId", "content")
                yield ("result", held["toolUseId"], "".join(each["text"] for each in held["content"]))
            case other:
                raise Malformed(f"a block of {other}")


def seen(document: Json) -> Seen:
    only(document, "output", "stopReason", "usage", "metrics", "serviceTier")
    only(document["output"], "message")
    message = document["output"]["message"]
    insist(message["role"] == "assistant" and document["metrics"]["latencyMs"] >= 0, "the head")
    return _told(message["content"], STOPS[document["stopReason"]], _usage(document["usage"]))


def _told(blocks: list[Json], stop: str | None, usage: Counts | None, error: str = "") -> Seen:
    said = dict.fromkeys(("text", "thinking", "signature"), "")
    calls: list[tuple[str, Json]] = []
    identities = set()
    for block in blocks:
        ((kind, held),) = block.items()
        match kind:
            case "text":
                said["text"] += held
            case "reasoningContent":
                only(held["reasoningText"], "text", "signature")
                said["thinking"] += held["reasoningText"]["text"]
                said["signature"] += held["reasoningText"].get("signature", "")
            case "toolUse":
                only(held, "toolUseId", "name", "input")
                insist(held["toolUseId"] and held["toolUseId"] not in identities, "an id for each call")
                identities.add(held["toolUseId"])
                calls.append((held["name"], held["input"]))
            case other:
                raise Malformed(f"a block of {other}")
    return Seen(**said, calls=tuple(calls), stop=stop, usage=usage, error=error)


def _usage(fields: Json) -> Counts:
    only(fields, *COUNTED)
    read, written = fields.get("cacheReadInputTokens", 0), fields.get("cacheWriteInputTokens", 0)
    entered = fields["inputTokens"] + read + written
    insist(fields["totalTokens"] == entered + fields["outputTokens"], "the total")
    return Counts(input=entered, output=fields["outputTokens"], read=read, written=written)


def heard(stream: bytes) -> Seen:
    """`messageStart`, blocks that follow each other, `messageStop`, `metadata`; or an exception at the end."""
    (kind, name, start), *events = _events(stream)
    insist((kind, name, start) == ("event", "messageStart", {"role": "assistant"}), "the start")
    error, stop, usage, open_block = "", None, None, False
    blocks: list[Json] = []
    if events[-1][0] == "exception":
        _, name, document = events.pop()
        insist(name.endswith("Exception") and document.keys() == {"message"}, "an exception")
        error = document["message"]
    for kind, name, event in events:
        insist(kind == "event" and usage is None and (stop is None or name == "metadata"), "nothing after the end")
        place = event.get("contentBlockIndex")
        match name:
            case "contentBlockStart":
                insist(not open_block and place == len(blocks), "blocks follow each other")
                only(event["start"], "toolUse")
                blocks.append({"toolUse": {**event["start"]["toolUse"], "input": ""}})
                open_block = True
            case "contentBlockDelta":
                if not open_block:
                    insist(place == len(blocks), "blocks follow each other")
                    blocks.append({})
                    open_block = True
                insist(place == len(blocks) - 1, "a delta of the open block")
                _listen(event["delta"], blocks[-1])
            case "contentBlockStop":
                insist(open_block and place == len(blocks) - 1, "the end of the open block")
                open_block = False
            case "messageStop":
                insist(not open_block, "every block has ended")
                stop = said_once(STOPS[event["stopReason"]], stop, "the stop reason")
            case "metadata":
                insist(stop is not None and event["metrics"]["latencyMs"] >= 0, "the metadata after the reason")
                usage = _usage(event["usage"])
            case other:
                raise Malformed(f"an event of type {other}")
    insist(error or (stop and usage), "one answer with an end")
    for block in blocks:
        if "toolUse" in block and not error:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    return _told(blocks, stop, usage, error)


def _listen(delta: Json, block: Json) -> None:
    ((kind, piece),) = delta.items()
    insist(block.keys() <= {kind}, f"{kind} in another block")
    match kind:
        case "text":
            block[kind] = block.get(kind, "") + piece
        case "toolUse":
            only(piece, "input")
            block[kind]["input"] += piece["input"]
        case "reasoningContent":
            ((key, text),) = piece.items()
            words = block.setdefault(kind, {"reasoningText": {"text": ""}})["reasoningText"]
            words[key] = words.get(key, "") + text
        case other:
            raise Malformed(f"a delta of {other}")


def _events(stream: bytes) -> list[tuple[str, str, Json]]:
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    messages = list(buffer)
    insist(sum(message.prelude.total_length for message in messages) == len(stream), "the last frame is whole")
    return [_event(message.headers, message.payload) for message in messages]


def _event(headers: Any, payload: bytes) -> tuple[str, str, Json]:
    kind = headers[":message-type"]
    insist(headers[":content-type"] == "application/json", "a payload's type")
    document = json.loads(payload)
    document.pop("p", None)  # padding
    return kind, headers[f":{kind}-type"], document


def failed(document: Json) -> Failed:
    only(document, "__type", "message")
    return Failed(document["message"], document.get("__type", ""))


def place(model: str, stream: bool) -> str:
    return f"/model/{quote(model, safe='')}/converse{'-stream' if stream else ''}"


SPEAKER = Speaker(
    name="converse",
    path="",
    headers={
        "authorization": "AWS4-HMAC-SHA256 Credential=sk-of-the-client/20261121/us-east-1/bedrock/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
        "x-amz-date": "20261121T120000Z",
        "x-amz-security-token": "sk-of-the-client",
    },
    streaming={},
    kinds={
        400: "ValidationException",
        429: "ThrottlingException",
        502: "InternalServerException",
        503: "ServiceUnavailableException",
        529: "ServiceUnavailableException",
    },
    busy=503,
    stop="inferenceConfig.stopSequences",
    asked=asked,
    seen=seen,
    heard=heard,
    failed=failed,
    place=place,
    parallel=False,
    thoughts=False,
    links=False,
    names=False,
    streams="application/vnd.amazon.eventstream",
)
