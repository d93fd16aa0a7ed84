"""OpenAI's responses, read by the published format: https://platform.openai.com/docs/api-reference/responses"""

import json
from collections.abc import Iterator
from typing import Any

from .facts import Asked, Counts, Failed, Json, Malformed, Seen, Speaker, insist, only

CALL = (
    *("model", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "temperature"),
    *("max_output_tokens", "reasoning", "text", "store", "include"),
)
MARK = "agentgateway:text:"
"""What the gateway writes before another vendor's signature, by `docs/dialects.md`."""
STOPS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def asked(document: Json) -> Asked:
    only(document, *CALL)
    choice, wanted = document.get("tool_choice"), document.get("text", {}).get("format")
    if isinstance(choice, dict):
        choice = choice["name"]
    if wanted is not None:
        only(wanted, "type", "name", "schema", "strict")
        insist(wanted["type"] == "json_schema" and wanted["strict"] and wanted["name"], "the format")
    given = document["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return Asked(
        turns=tuple(turn for item in items for turn in _turns(item)),
        system=document.get("instructions", ""),
        tools=tuple(_tool(tool) for tool in document.get("tools", ())),
        choice=choice,
        parallel=document.get("parallel_tool_calls"),
        limit=document["max_output_tokens"],
        temperature=document.get("temperature"),
        effort=document.get("reasoning", {}).get("effort"),
        schema=None if wanted is None else wanted["schema"],
    )


def _tool(tool: Json) -> tuple[str, str, Json]:
    only(tool, "type", "name", "description", "parameters", "strict")
    insist(tool["type"] == "function" and tool["strict"] is False, "a function that is not strict")
    return tool["name"], tool["description"], tool["parameters"]


def _turns(item: Json) -> Iterator[tuple[str, ...]]:
    match item.get("type", "message"):
        case "function_call":
            only(item, "type", "call_id", "name", "arguments")
            yield ("call", item["call_id"], item["name"], json.dumps(json.loads(item["arguments"]), sort_keys=True))
        case "function_call_output":
            only(item, "type", "call_id", "output")
            yield ("result", item["call_id"], item["output"])
        case "message":
            only(item, "type", "role", "content")
            content = item["content"]
            for part in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
                yield _part(part, item["role"])
        case other:
            raise Malformed(f"an item of type {other}")


def _part(part: Json, role: str) -> tuple[str, ...]:
    match part["type"]:
        case "input_text":
            only(part, "type", "text")
            return (role, part["text"])
        case "input_image":
            only(part, "type", "image_url", "detail")
            return ("image", part["image_url"])
        case "input_file":
            only(part, "type", "filename", "file_data")
            return ("document", part["filename"], part["file_data"])
        case other:
            raise Malformed(f"a part of type {other}")


def seen(document: Json) -> Seen:
    insist(document["object"] == "response" and document["id"] and document["created_at"] > 0, "the head")
    insist(document["status"] in ("completed", "incomplete") and document["error"] is None, "the status")
    insist({"tools", "tool_choice", "parallel_tool_calls"} <= document.keys() or "background" not in document, "")
    said = dict.fromkeys(("text", "thinking", "signature"), "")
    calls: list[tuple[str, Json]] = []
    identities = set()
    for item in document["output"]:
        insist(item["id"] not in identities, "two items of one id")
        identities.add(item["id"])
        _item(item, said, calls)
    reason = (document["incomplete_details"] or {}).get("reason")
    return Seen(
        **said,
        calls=tuple(calls),
        stop=STOPS[reason] if reason else "tool_calls" if calls else "stop",
        usage=_usage(document["usage"]),
        model=document["model"],
    )


def _item(item: Json, said: dict[str, str], calls: list[tuple[str, Json]]) -> None:
    match item["type"]:
        case "message":
            only(item, "id", "type", "status", "role", "content")
            for part in item["content"]:
                only(part, "type", "text", "annotations", "logprobs")
                insist(part["type"] == "output_text", "a part of text")
                said["text"] += part["text"]
        case "function_call":
            only(item, "id", "type", "status", "call_id", "name", "arguments")
            insist(item["call_id"], "the id of a call")
            calls.append((item["name"], json.loads(item["arguments"])))
        case "reasoning":
            only(item, "id", "type", "status", "summary", "encrypted_content")
            said["thinking"] += "".join(part["text"] for part in item["summary"])
            said["signature"] += item.get("encrypted_content", "").removeprefix(MARK)
        case other:
            raise Malformed(f"an item of type {other}")


def _usage(fields: Json | None) -> Counts | None:
    if fields is None:
        return None
    insist(fields["total_tokens"] == fields["input_tokens"] + fields["output_tokens"], "the total")
    entered, left = fields["input_tokens_details"], fields["output_tokens_details"]
    return Counts(
        input=fields["input_tokens"],
        output=fields["output_tokens"],
        read=entered["cached_tokens"],
        written=entered["cache_write_tokens"],
        reasoning=left["reasoning_tokens"],
    )


def heard(stream: bytes) -> Seen:
    """Numbered events; what was told in pieces is what every part, every item and the response hold in the end; an
    error is followed by the response that failed, or by nothing."""
    events = _events(stream)
    insist([event["sequence_number"] for event in events[:2]] == [0, 1], "numbered events")
    insist([event["type"] for event in events[:2]] == ["response.created", "response.in_progress"], "the beginning")
    pieces: dict[tuple[Any, ...], str] = {}
    items: dict[int, Json] = {}
    error = ""
    for event in events:
        place = (event.get("output_index"), event.get("content_index"), event.get("summary_index"))
        insist(place[0] is None or event["type"] == "response.output_item.added" or place[0] in items, "an item first")
        if "delta" in event:
            pieces[place] = pieces.get(place, "") + event["delta"]
        for key in ("text", "arguments", "refusal"):
            insist(event.get(key, pieces.get(place)) == pieces.get(place), "what was told in pieces, whole")
        if event["type"].startswith("response.output_item"):
            items[event["output_index"]] = event["item"]
        if event["type"] == "error":
            error = event["error"]["message"]
    last = events[-1]
    if error:
        insist(last["type"] in ("error", "response.failed"), "the failure")
        text = "".join(told for (_, part, _), told in pieces.items() if part is not None)
        return Seen(text=text, stop=None, error=error, model=events[0]["response"]["model"])
    response = last["response"]
    insist(last["type"] == f"response.{response['status']}", "the end")
    insist(response["output"] == [items[index] for index in range(len(items))], "all the items in the end")
    told = seen(response)
    insist("".join(pieces.values()).count(told.text) == 1 or not told.text, "the text in pieces")
    return told


def _events(stream: bytes) -> list[Json]:
    insist(stream.endswith(b"\n\n"), "the last event is whole")
    found = []
    for block in stream.decode().strip("\n").split("\n\n"):
        name, data = block.split("\n")
        document = json.loads(data.removeprefix("data: "))
        insist(name == f"event: {document['type']}", "the event's name")
        found.append(document)
    return found


def failed(document: Json) -> Failed:
    only(document, "error")
    error = document["error"]
    insist(error.keys() == {"message", "type", "param", "code"}, "an error's fields")
    return Failed(error["message"], error["code"] or error["type"])


SPEAKER = Speaker(
    name="responses",
    path="/v1/responses",
    headers={"authorization": "Bearer sk-of-the-client", "openai-organization": "org-client"},
    streaming={"stream": True},
    kinds={
        400: "invalid_request_error",
        429: "rate_limit_exceeded",
        502: "upstream_error",
        503: "server_error",
        529: "server_error",
    },
    busy=503,
    stop="",
    asked=asked,
    seen=seen,
    heard=heard,
    failed=failed,
)
