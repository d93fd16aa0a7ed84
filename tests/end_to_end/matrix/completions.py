"""OpenAI's chat completions, read by the published format: https://platform.openai.com/docs/api-reference/chat"""

import json
from collections.abc import Iterator

from .facts import Asked, Counts, Failed, Json, Malformed, Seen, Speaker, insist, only, said_once

CALL = (
    *("model", "messages", "stream", "stream_options", "tools", "tool_choice", "parallel_tool_calls", "temperature"),
    *("max_tokens", "max_completion_tokens", "stop", "reasoning_effort", "response_format"),
)
SPOKEN = ("role", "content", "refusal", "tool_calls", "annotations", "reasoning_content", "thinking_blocks")
"""The last two are not the vendor's: vendors of open models answer with the first, the gateway with both."""


def asked(document: Json) -> Asked:
    only(document, *CALL)
    insist(len({"max_tokens", "max_completion_tokens"} & document.keys()) == 1, "one limit, not two")
    choice, wanted = document.get("tool_choice"), document.get("response_format")
    if isinstance(choice, dict):
        choice = choice["function"]["name"]
    if wanted is not None:
        only(wanted["json_schema"], "name", "schema", "strict")
        insist(
            wanted["type"] == "json_schema" and wanted["json_schema"]["strict"] and wanted["json_schema"]["name"], ""
        )
    turns = [turn for message in document["messages"] for turn in _turns(message)]
    return Asked(
        turns=tuple(turn for turn in turns if turn[0] != "system"),
        system="".join(turn[1] for turn in turns if turn[0] == "system"),
        tools=tuple(_tool(tool) for tool in document.get("tools", ())),
        choice=choice,
        parallel=document.get("parallel_tool_calls"),
        limit=document.get("max_completion_tokens") or document["max_tokens"],
        temperature=document.get("temperature"),
        stop=tuple(document.get("stop", ())),
        effort=document.get("reasoning_effort"),
        schema=None if wanted is None else wanted["json_schema"]["schema"],
    )


def _tool(tool: Json) -> tuple[str, str, Json]:
    only(tool, "type", "function")
    only(tool["function"], "name", "description", "parameters")
    insist(tool["type"] == "function", "a tool that is no function")
    return tool["function"]["name"], tool["function"]["description"], tool["function"]["parameters"]


def _turns(message: Json) -> Iterator[tuple[str, ...]]:
    only(message, "role", "content", "tool_calls", "tool_call_id")
    role, content = message["role"], message.get("content")
    if role == "tool":
        yield ("result", message["tool_call_id"], content)
        return
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or ():
        if part["type"] == "image_url":
            yield ("image", part["image_url"]["url"])
        elif part["type"] == "file":
            only(part["file"], "filename", "file_data")
            yield ("document", part["file"]["filename"], part["file"]["file_data"])
        else:
            only(part, "type", "text")
            yield (role, part["text"])
    for call in message.get("tool_calls", ()):
        only(call, "id", "type", "function")
        arguments = json.dumps(json.loads(call["function"]["arguments"]), sort_keys=True)
        yield ("call", call["id"], call["function"]["name"], arguments)


def seen(document: Json) -> Seen:
    only(
        document,
        *("id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint"),
    )
    insist(document["object"] == "chat.completion" and document["id"] and document["created"] > 0, "the head")
    (choice,) = document["choices"]
    only(choice, "index", "message", "logprobs", "finish_reason")
    message = choice["message"]
    only(message, *SPOKEN)
    insist(choice["index"] == 0 and message["role"] == "assistant" and "content" in message, "the choice")
    calls = message.get("tool_calls", [])
    insist(all(call["id"] and call["type"] == "function" for call in calls), "tool calls")
    insist(len({call["id"] for call in calls}) == len(calls), "two tool calls of one id")
    return Seen(
        text=message["content"] or "",
        thinking=message.get("reasoning_content") or "",
        signature="".join(block.get("signature", "") for block in message.get("thinking_blocks", ())),
        calls=tuple((call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls),
        stop=choice["finish_reason"],
        usage=_usage(document["usage"]),
        model=document["model"],
    )


def _usage(fields: Json) -> Counts:
    insist(fields["total_tokens"] == fields["prompt_tokens"] + fields["completion_tokens"], "the total")
    entered, left = fields["prompt_tokens_details"], fields["completion_tokens_details"]
    return Counts(
        input=fields["prompt_tokens"],
        output=fields["completion_tokens"],
        read=entered["cached_tokens"],
        written=entered.get("cache_write_tokens", 0),
        reasoning=left["reasoning_tokens"],
    )


def heard(stream: bytes) -> Seen:
    """Chunks of one id; a role first, one finish reason, then usage, then `[DONE]` and nothing else; or an error at
    the end."""
    *chunks, last = _data(stream)
    error, finish, usage, began = "", None, None, False
    said = dict.fromkeys(("content", "reasoning_content", "signature"), "")
    calls: dict[int, Json] = {}
    if last != "[DONE]":
        error = json.loads(last)["error"]["message"]
    identities = set()
    for chunk in map(json.loads, chunks):
        insist(chunk["object"] == "chat.completion.chunk" and "error" not in chunk, "a chunk")
        insist(usage is None, "something after the usage")
        identities.add((chunk["id"], chunk["created"], chunk["model"]))
        if not chunk["choices"]:
            usage = _usage(chunk["usage"])
        for choice in chunk["choices"]:
            delta = choice["delta"]
            only(delta, *SPOKEN)
            insist(choice["index"] == 0 and (finish is None), "something after the finish reason")
            insist(began or delta["role"] == "assistant", "the role comes first")
            began = True
            finish = said_once(choice["finish_reason"], finish, "the finish reason")
            _listen(delta, said, calls)
    insist(len(identities) == 1 and (error or finish), "one answer with an end")
    insist(sorted(calls) == list(range(len(calls))), "the indices of tool calls")
    return Seen(
        text=said["content"],
        thinking=said["reasoning_content"],
        signature=said["signature"],
        calls=tuple((call["name"], json.loads(call["arguments"])) for _, call in sorted(calls.items())),
        stop=finish,
        usage=usage,
        model=next(iter(identities))[2],
        error=error,
    )


def _listen(delta: Json, said: dict[str, str], calls: dict[int, Json]) -> None:
    for key in ("content", "reasoning_content"):
        said[key] += delta.get(key) or ""
    for block in delta.get("thinking_blocks", ()):
        said["signature"] += block.get("signature", "")
    for piece in delta.get("tool_calls", ()):
        if piece["index"] not in calls:
            insist(
                piece["id"] and piece["type"] == "function" and piece["function"]["name"], "a tool call's first piece"
            )
            insist(piece["id"] not in {call["id"] for call in calls.values()}, "two tool calls of one id")
            calls[piece["index"]] = {"id": piece["id"], "name": piece["function"]["name"], "arguments": ""}
        calls[piece["index"]]["arguments"] += piece["function"].get("arguments", "")


def _data(stream: bytes) -> list[str]:
    insist(stream.endswith(b"\n\n"), "the last event is whole")
    lines = [line for line in stream.decode().split("\n") if line and not line.startswith(":")]
    if not all(line.startswith("data: ") for line in lines):
        raise Malformed("only data lines")
    return [line.removeprefix("data: ") for line in lines]


def failed(document: Json) -> Failed:
    only(document, "error")
    error = document["error"]
    insist(error.keys() == {"message", "type", "param", "code"}, "an error's fields")
    return Failed(error["message"], error["code"] or error["type"])


SPEAKER = Speaker(
    name="completions",
    path="/v1/chat/completions",
    headers={"authorization": "Bearer sk-of-the-client", "openai-organization": "org-client"},
    streaming={"stream": True, "stream_options": {"include_usage": True}},
    kinds={
        400: "invalid_request_error",
        429: "rate_limit_exceeded",
        502: "upstream_error",
        503: "server_error",
        529: "server_error",
    },
    busy=503,
    stop="stop",
    asked=asked,
    seen=seen,
    heard=heard,
    failed=failed,
)
