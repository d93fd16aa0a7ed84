"""What a model says and what a client hears in each dialect, by the published formats and nothing of the gateway's."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.eventstream import EventStreamBuffer

Json = dict[str, Any]
SIZE = 3
"""Characters of a text that stand in one event."""


def parts(text: str) -> list[str]:
    return [text[start : start + SIZE] for start in range(0, len(text), SIZE)]


@dataclass(frozen=True)
class Dialect:
    """`path` of a model's call, whole and streamed; `call` a call with one text; `reply` and `events` an answer with
    one text; `text` what a whole answer says, `heard` the text and the failure of a stream's documents."""

    name: str
    path: Callable[[str, bool], str]
    call: Callable[[str, str, bool], Json]
    reply: Callable[[str], Json]
    events: Callable[[str], list[Json]]
    text: Callable[[Json], str]
    piece: Callable[[Json], str]
    failed: Callable[[Json], bool]
    read: Callable[[bytes], Iterator[Json]]


def sse(body: bytes) -> Iterator[Json]:
    """The documents of a stream of server-sent events."""
    for line in body.decode().splitlines():
        if line.startswith("data:") and line[5:].strip() != "[DONE]":
            yield json.loads(line[5:])


def frames(body: bytes) -> Iterator[Json]:
    """The documents of an AWS event stream, each under its type."""
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    for frame in buffer:
        kind = frame.headers.get(":event-type") or frame.headers.get(":exception-type")
        yield {kind: json.loads(frame.payload), "failed": frame.headers[":message-type"] != "event"}


def said(dialect: Dialect, body: bytes) -> tuple[str, bool]:
    """The text of a stream, put together, and whether an error was told."""
    documents = list(dialect.read(body))
    return "".join(map(dialect.piece, documents)), any(map(dialect.failed, documents))


# --- completions ------------------------------------------------------------------------------------------------------

TURN = {"role": "assistant"}
COUNTS = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


def chunk(delta: Json, stop: str | None = None) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": stop}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


COMPLETIONS = Dialect(
    "completions",
    path=lambda model, stream: "/v1/chat/completions",
    call=lambda model, text, stream: {
        "model": model,
        "stream": stream,
        "messages": [{"role": "user", "content": text}],
    },
    reply=lambda text: {
        **{"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "usage": COUNTS},
        "choices": [{"index": 0, "message": {**TURN, "content": text}, "finish_reason": "stop"}],
    },
    events=lambda text: [chunk(TURN), *(chunk({"content": part}) for part in parts(text)), chunk({}, "stop")],
    text=lambda document: document["choices"][0]["message"]["content"],
    piece=lambda document: "".join(one["delta"].get("content") or "" for one in document.get("choices", ())),
    failed=lambda document: "error" in document,
    read=sse,
)

# --- messages ---------------------------------------------------------------------------------------------------------

EMPTY = {"id": "m1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
MESSAGE_COUNTS = {"input_tokens": 3, "output_tokens": 5}


def message_events(text: str) -> list[Json]:
    block = {"type": "text", "text": ""}
    return [
        {"type": "message_start", "message": {**EMPTY, "stop_sequence": None, "usage": MESSAGE_COUNTS}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": part}}
            for part in parts(text)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 5},
        },
        {"type": "message_stop"},
    ]


MESSAGES = Dialect(
    "messages",
    path=lambda model, stream: "/v1/messages",
    call=lambda model, text, stream: {
        **{"model": model, "max_tokens": 99, "stream": stream},
        "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
    },
    reply=lambda text: {
        **EMPTY,
        **{"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "usage": MESSAGE_COUNTS},
    },
    events=message_events,
    text=lambda document: "".join(block["text"] for block in document["content"]),
    piece=lambda document: document.get("delta", {}).get("text", ""),
    failed=lambda document: document["type"] == "error",
    read=sse,
)

# --- responses --------------------------------------------------------------------------------------------------------


def response(text: str | None) -> Json:
    output = [] if text is None else [item(text)]
    usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
    return {
        **{"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": output},
        **({"status": "in_progress"} if text is None else {"status": "completed", "usage": usage}),
    }


def item(text: str | None) -> Json:
    content = [] if text is None else [part_of(text)]
    status = "in_progress" if text is None else "completed"
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": status, "content": content}


def part_of(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": []}


def response_events(text: str) -> list[Json]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    told: list[Json] = [
        {"type": "response.created", "response": response(None)},
        {"type": "response.output_item.added", "output_index": 0, "item": item(None)},
        {"type": "response.content_part.added", **place, "part": part_of("")},
        *({"type": "response.output_text.delta", **place, "delta": part} for part in parts(text)),
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.content_part.done", **place, "part": part_of(text)},
        {"type": "response.output_item.done", "output_index": 0, "item": item(text)},
        {"type": "response.completed", "response": response(text)},
    ]
    return [{**one, "sequence_number": number} for number, one in enumerate(told)]


RESPONSES = Dialect(
    "responses",
    path=lambda model, stream: "/v1/responses",
    call=lambda model, text, stream: {"model": model, "stream": stream, "input": text},
    reply=response,
    events=response_events,
    text=lambda document: "".join(part["text"] for one in document["output"] for part in one["content"]),
    piece=lambda document: document["delta"] if document["type"] == "response.output_text.delta" else "",
    failed=lambda document: document["type"] in ("error", "response.failed"),
    read=sse,
)

# --- gemini -----------------------------------------------------------------------------------------------------------


def candidate(text: str, stop: str | None = None) -> Json:
    content = {"role": "model", "parts": [{"text": text}]}
    return {
        **{"modelVersion": "m", "responseId": "r1"},
        "candidates": [{"index": 0, "content": content, **({"finishReason": stop} if stop else {})}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8},
    }


def gemini_text(document: Json) -> str:
    found = [one.get("content", {}).get("parts", ()) for one in document.get("candidates", ())]
    return "".join(part.get("text", "") for each in found for part in each)


GEMINI = Dialect(
    "gemini",
    path=lambda model, stream: (
        f"/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"
    ),
    call=lambda model, text, stream: {"contents": [{"role": "user", "parts": [{"text": text}]}]},
    reply=lambda text: candidate(text, "STOP"),
    events=lambda text: [*map(candidate, parts(text)), candidate("", "STOP")],
    text=gemini_text,
    piece=gemini_text,
    failed=lambda document: "error" in document,
    read=sse,
)

# --- converse: of clients only, whose calls go to a vendor that speaks completions ------------------------------------

CONVERSE = Dialect(
    "converse",
    path=lambda model, stream: f"/model/{model}/converse{'-stream' if stream else ''}",
    call=lambda model, text, stream: {"messages": [{"role": "user", "content": [{"text": text}]}]},
    reply=COMPLETIONS.reply,
    events=COMPLETIONS.events,
    text=lambda document: "".join(block["text"] for block in document["output"]["message"]["content"]),
    piece=lambda document: document.get("contentBlockDelta", {}).get("delta", {}).get("text", ""),
    failed=lambda document: document["failed"],
    read=frames,
)

DIALECTS = {one.name: one for one in (COMPLETIONS, MESSAGES, RESPONSES, GEMINI, CONVERSE)}


def asked_in(target: str) -> Dialect:
    """The dialect of a call to a vendor."""
    path = target.partition("?")[0]
    ends = {"/chat/completions": COMPLETIONS, "/messages": MESSAGES, "/responses": RESPONSES, "enerateContent": GEMINI}
    (found,) = (dialect for end, dialect in ends.items() if path.endswith(end))
    return found
