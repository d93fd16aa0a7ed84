"""Google's generateContent, read by the published format: https://ai.google.dev/api/generate-content"""

import json
from collections.abc import Iterator
from urllib.parse import quote

from .facts import Asked, Counts, Failed, Json, Malformed, Seen, Speaker, insist, only, said_once

STAND_IN = "skip_thought_signature_validator"
"""What the vendor takes for the signature of a call that it did not make."""
CHOICES = {"AUTO": "auto", "ANY": "required", "NONE": "none"}
BUDGETS = {1024: "low", 2048: "medium", 4096: "high"}
"""What the efforts of other dialects are in Anthropic's, and a budget stays one."""
STOPS = {"MAX_TOKENS": "length", "SAFETY": "content_filter"}
REPLY = ("candidates", "usageMetadata", "modelVersion", "responseId")
COUNTED = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount", "cachedContentTokenCount")
DETAILS = ("promptTokensDetails", "cacheTokensDetails", "thoughtsTokenCount")


def asked(document: Json) -> Asked:
    only(document, "contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
    config = document["generationConfig"]
    only(
        config,
        *("maxOutputTokens", "temperature", "stopSequences", "thinkingConfig", "responseMimeType"),
        "responseJsonSchema",
    )
    insist(("responseJsonSchema" in config) == (config.get("responseMimeType") == "application/json"), "the format")
    roles = [content["role"] for content in document["contents"]]
    insist(set(roles) <= {"user", "model"} and roles[0] == "user", "whose turn it is")
    return Asked(
        turns=tuple(turn for content in document["contents"] for turn in _turns(content)),
        system="".join(part["text"] for part in document.get("systemInstruction", {}).get("parts", ())),
        tools=tuple(_tool(tool) for one in document.get("tools", ()) for tool in _declared(one)),
        choice=_choice(document.get("toolConfig")),
        limit=config["maxOutputTokens"],
        temperature=config.get("temperature"),
        stop=tuple(config.get("stopSequences", ())),
        effort=_effort(config.get("thinkingConfig")),
        schema=config.get("responseJsonSchema"),
    )


def _declared(tool: Json) -> list[Json]:
    only(tool, "functionDeclarations")
    found: list[Json] = tool["functionDeclarations"]
    return found


def _tool(tool: Json) -> tuple[str, str, Json]:
    only(tool, "name", "description", "parametersJsonSchema")
    return tool["name"], tool["description"], tool["parametersJsonSchema"]


def _choice(config: Json | None) -> str | None:
    if config is None:
        return None
    only(config, "functionCallingConfig")
    only(config["functionCallingConfig"], "mode", "allowedFunctionNames")
    (name,) = config["functionCallingConfig"].get("allowedFunctionNames", (None,))
    return name or CHOICES[config["functionCallingConfig"]["mode"]]


def _effort(config: Json | None) -> str | None:
    if config is None:
        return None
    only(config, "thinkingLevel", "thinkingBudget", "includeThoughts")
    insist(len(config) == 2 and config["includeThoughts"] is True, "thoughts are shown")
    return BUDGETS[config["thinkingBudget"]] if "thinkingBudget" in config else config["thinkingLevel"].lower()


def _turns(content: Json) -> Iterator[tuple[str, ...]]:
    only(content, "role", "parts")
    for part in content["parts"]:
        yield _turn(part, "assistant" if content["role"] == "model" else "user")


def _turn(part: Json, role: str) -> tuple[str, ...]:
    (kind,) = part.keys() - {"thoughtSignature"}
    held = part[kind]
    match kind:
        case "text":
            return (role, held)
        case "inlineData":
            only(held, "mimeType", "data", "displayName")
            url = f"data:{held['mimeType']};base64,{held['data']}"
            return ("document", held["displayName"], url) if "displayName" in held else ("image", url)
        case "fileData":
            only(held, "mimeType", "fileUri")
            insist(held["mimeType"] == "image/jpeg", "the type of a picture")
            return ("image", held["fileUri"])
        case "functionCall":
            only(held, "id", "name", "args")
            insist(part.get("thoughtSignature", STAND_IN) == STAND_IN, "a signature that nobody gave")
            return ("call", held["id"], held["name"], json.dumps(held["args"], sort_keys=True))
        case "functionResponse":
            only(held, "id", "name", "response")
            insist(held["name"] and held["response"].keys() == {"output"}, "an answer by the name of what was called")
            return ("result", held["id"], held["response"]["output"])
        case other:
            raise Malformed(f"a part of {other}")


def seen(document: Json) -> Seen:
    return _told([document])


def heard(stream: bytes) -> Seen:
    """Replies that add up, the reason to finish in the last of them; or an error at the end, and no reason."""
    insist(stream.endswith(b"\n\n"), "the last event is whole")
    blocks = stream.decode().strip("\n").split("\n\n")
    insist(all(block.startswith("data: ") and "\n" not in block for block in blocks), "only data lines")
    *documents, last = [json.loads(block.removeprefix("data: ")) for block in blocks]
    if "error" in last:
        return _told(documents, failed(last).message)
    return _told([*documents, last])


def _told(documents: list[Json], error: str = "") -> Seen:
    said = dict.fromkeys(("text", "thinking", "signature"), "")
    calls: list[tuple[str, Json]] = []
    identities, finish = set(), None
    for document in documents:
        only(document, *REPLY)
        identities.add((document["modelVersion"], document["responseId"]))
        (candidate,) = document["candidates"]
        only(candidate, "content", "finishReason", "index")
        insist(finish is None and candidate["index"] == 0 and candidate["content"]["role"] == "model", "a candidate")
        finish = said_once(candidate.get("finishReason"), finish, "the reason to finish")
        for part in candidate["content"]["parts"]:
            _listen(part, said, calls)
    insist(len(identities) == 1 and all(map(all, identities)), "one answer")
    insist(bool(error) != bool(finish), "an end")
    return Seen(
        **said,
        calls=tuple(calls),
        stop=None if finish is None else STOPS.get(finish, "tool_calls" if calls else "stop"),
        usage=None if error else _usage(documents[-1]["usageMetadata"]),
        model=documents[0]["modelVersion"],
        error=error,
    )


def _listen(part: Json, said: dict[str, str], calls: list[tuple[str, Json]]) -> None:
    only(part, "text", "thought", "thoughtSignature", "functionCall")
    insist(("text" in part) != ("functionCall" in part), "a part of one content")
    said["signature"] += part.get("thoughtSignature", "")
    if "functionCall" in part:
        only(part["functionCall"], "id", "name", "args")
        insist(part["functionCall"]["id"], "the id of a call")
        calls.append((part["functionCall"]["name"], part["functionCall"]["args"]))
    else:
        said["thinking" if part.get("thought") else "text"] += part["text"]


def _usage(fields: Json) -> Counts:
    only(fields, *COUNTED, *DETAILS)
    thoughts = fields.get("thoughtsTokenCount", 0)
    left = fields["candidatesTokenCount"] + thoughts
    insist(fields["totalTokenCount"] == fields["promptTokenCount"] + left, "the total")
    return Counts(
        input=fields["promptTokenCount"],
        output=left,
        read=fields.get("cachedContentTokenCount", 0),
        reasoning=thoughts,
    )


def failed(document: Json) -> Failed:
    only(document, "error")
    error = document["error"]
    only(error, "code", "message", "status", "details")
    insist(type(error["code"]) is int and error["code"] >= 400, "an error's code")
    return Failed(error["message"], error["status"])


def place(model: str, stream: bool) -> str:
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{quote(model, safe='')}:{method}"


SPEAKER = Speaker(
    name="gemini",
    path="",
    headers={"x-goog-api-key": "sk-of-the-client", "openai-organization": "org-client"},
    streaming={},
    kinds={
        400: "INVALID_ARGUMENT",
        429: "RESOURCE_EXHAUSTED",
        502: "UNAVAILABLE",
        503: "UNAVAILABLE",
        529: "UNAVAILABLE",
    },
    busy=503,
    stop="generationConfig.stopSequences",
    asked=asked,
    seen=seen,
    heard=heard,
    failed=failed,
    place=place,
    caches=False,
    parallel=False,
)
