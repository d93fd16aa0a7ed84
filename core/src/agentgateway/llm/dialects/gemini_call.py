"""A call in Google's generateContent format, to and from the canonical call.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import ChatCall, Reasoning, ResponseFormat, Tool, ToolChoice
from agentgateway.llm.dialects.gemini_contents import decode_contents, encode_contents, encode_system, tool_name
from agentgateway.llm.dialects.gemini_fields import FIELDS
from agentgateway.llm.dialects.gemini_parts import text_parts
from agentgateway.llm.dialects.gemini_schema import json_schema
from agentgateway.llm.dialects.gemini_thoughts import thinking_config
from agentgateway.llm.wire import (
    MOST,
    check_fields,
    join,
    mapping,
    objects,
    optional_mapping,
    optional_number,
    optional_text,
    text,
    texts,
    wrong,
)

_CONFIG = "generationConfig"
_CALLING = "toolConfig.functionCallingConfig"
_PASSING = frozenset(("BLOCK_NONE", "OFF", "HARM_BLOCK_THRESHOLD_UNSPECIFIED"))
_TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}
_TIER_NAMES = {"default": "standard", "flex": "flex", "priority": "priority", "fast": "priority"}
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")


def decode_call(document: Json) -> ChatCall:
    """The model and whether it streams stand in the path, and are not here."""
    check_fields(FIELDS, document)
    _check_safety(document)
    config = optional_mapping(document, _CONFIG, "") or {}
    check_fields(FIELDS, config, _CONFIG, f"{_CONFIG}.")
    if config.get("responseModalities") not in (None, [], ["TEXT"]):
        raise Untranslatable(f"{_CONFIG}.responseModalities", "output other than text")
    tools, choice = _decode_tools(document)
    system = document.get("systemInstruction")
    return ChatCall(
        model="",
        messages=decode_contents(objects(document.get("contents"), "contents")),
        system=() if system is None else text_parts(system, "systemInstruction"),
        tools=tools,
        tool_choice=choice,
        max_tokens=_whole(config, "maxOutputTokens"),
        temperature=optional_number(config, "temperature", _CONFIG),
        top_p=optional_number(config, "topP", _CONFIG),
        top_k=_whole(config, "topK"),
        stop=texts(config.get("stopSequences") or [], f"{_CONFIG}.stopSequences"),
        include_usage=True,
        reasoning=_decode_reasoning(config),
        response_format=_decode_format(config),
        seed=_whole(config, "seed", least=-MOST * 10),
        frequency_penalty=optional_number(config, "frequencyPenalty", _CONFIG),
        presence_penalty=optional_number(config, "presencePenalty", _CONFIG),
        n=_whole(config, "candidateCount") or 1,
        service_tier=_TIERS.get((optional_text(document, "serviceTier", "") or "").lower()),
    )


def encode_call(call: ChatCall) -> Json:
    if call.n != 1:
        raise Untranslatable("n", "more than one answer")
    document: Json = {"contents": encode_contents(call)}
    if system := encode_system(call):
        document["systemInstruction"] = {"parts": system}
    document |= _encode_tools(call)
    config: Json = {
        "temperature": call.temperature,
        "topP": call.top_p,
        "topK": call.top_k,
        "maxOutputTokens": call.max_tokens,
        "stopSequences": list(call.stop) or None,
        "seed": call.seed,
        "frequencyPenalty": call.frequency_penalty,
        "presencePenalty": call.presence_penalty,
        "thinkingConfig": thinking_config(call.reasoning, call.model),
    }
    config |= _encode_format(call.response_format)
    if config := {key: value for key, value in config.items() if value is not None}:
        document[_CONFIG] = config
    if call.service_tier in _TIER_NAMES:
        document["serviceTier"] = _TIER_NAMES[call.service_tier]
    return document


def _whole(holder: Json, key: str, least: int = 0) -> int | None:
    """A whole number as protocol buffers may be written in JSON: also with a point, and in quotes."""
    value = holder.get(key)
    quoted = isinstance(value, str) and value.removeprefix("-").isdecimal() and len(value) < 20
    if quoted or (type(value) is float and value.is_integer()):
        value = int(value or 0)
    if value is not None and (type(value) is not int or not least <= value <= MOST * 10):
        raise wrong(join(_CONFIG, key), "a whole number")
    return value


def _check_safety(document: Json) -> None:
    """Settings that ask for no blocking are kept by everybody; any other is a promise that nobody else can keep."""
    for setting, at in objects(document.get("safetySettings"), "safetySettings"):
        if optional_text(setting, "threshold", at) not in (None, *_PASSING):
            raise Untranslatable(f"{at}.threshold", "a threshold of the vendor's own filters")


# tools


def _decode_tools(document: Json) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    tools: list[Tool] = []
    for tool, at in objects(document.get("tools"), "tools"):
        for key, value in tool.items():
            if key != "functionDeclarations" and value is not None:
                raise Untranslatable(join(at, key), f"the tool `{key[:40]}`, which runs at the vendor,")
        declared = objects(tool.get("functionDeclarations"), f"{at}.functionDeclarations")
        tools.extend(_decode_tool(one, place) for one, place in declared)
    return _decode_choice(document, tuple(tools))


def _decode_tool(tool: Json, at: str) -> Tool:
    check_fields(FIELDS, tool, at, "tools[].functionDeclarations[].")
    schema = optional_mapping(tool, "parametersJsonSchema", at)
    if schema is None and tool.get("parameters") is not None:
        schema = json_schema(tool["parameters"], f"{at}.parameters")
    return Tool(text(tool, "name", at), optional_text(tool, "description", at), schema)


def _decode_choice(document: Json, tools: tuple[Tool, ...]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Names that may be called among several are the tools that are offered: there is no other word for them."""
    around = optional_mapping(document, "toolConfig", "") or {}
    check_fields(FIELDS, around, "toolConfig", "toolConfig.")
    config = optional_mapping(around, "functionCallingConfig", "toolConfig")
    if config is None:
        return tools, None
    check_fields(FIELDS, config, _CALLING, f"{_CALLING}.")
    allowed = texts(config.get("allowedFunctionNames") or [], f"{_CALLING}.allowedFunctionNames")
    if allowed:
        tools = tuple(tool for tool in tools if tool.name in allowed)
    match optional_text(config, "mode", _CALLING):
        case "ANY" if len(allowed) == 1:
            return tools, ToolChoice("named", allowed[0])
        case "ANY":
            return tools, ToolChoice("required")
        case "NONE":
            return tools, ToolChoice("none")
        case None | "" | "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED":
            return tools, ToolChoice("auto")
        case _:
            raise wrong(f"{_CALLING}.mode", "AUTO, ANY, NONE or VALIDATED")


def _encode_tools(call: ChatCall) -> Json:
    if not call.tools:
        return {}
    encoded: Json = {"tools": [{"functionDeclarations": [_encode_tool(tool) for tool in call.tools]}]}
    if call.tool_choice is not None:
        encoded["toolConfig"] = {"functionCallingConfig": _encode_choice(call.tool_choice)}
    return encoded


def _encode_tool(tool: Tool) -> Json:
    said = {"description": tool.description, "parametersJsonSchema": tool.schema}
    return {"name": tool_name(tool.name)} | {key: value for key, value in said.items() if value is not None}


def _encode_choice(choice: ToolChoice) -> Json:
    match choice.mode:
        case "named":
            return {"mode": "ANY", "allowedFunctionNames": [tool_name(choice.name or "")]}
        case "required":
            return {"mode": "ANY"}
        case mode:
            return {"mode": mode.upper()}


# thinking and format


def _decode_reasoning(config: Json) -> Reasoning | None:
    at = f"{_CONFIG}.thinkingConfig"
    thinking = optional_mapping(config, "thinkingConfig", _CONFIG) or {}
    check_fields(FIELDS, thinking, at, f"{at}.")
    level = (optional_text(thinking, "thinkingLevel", at) or "").lower()
    if level in _EFFORTS:
        return Reasoning(level)
    if level not in ("", "thinking_level_unspecified"):
        raise wrong(f"{at}.thinkingLevel", f"one of {', '.join(_EFFORTS)}")
    match _whole(thinking, "thinkingBudget", least=-1):
        case None:
            return None
        case -1:
            return Reasoning(adaptive=True)
        case 0:
            return Reasoning("none")
        case budget:
            return Reasoning(budget=budget)


def _decode_format(config: Json) -> ResponseFormat | None:
    match optional_text(config, "responseMimeType", _CONFIG):
        case None | "":
            return None
        case "text/plain":
            return ResponseFormat("text")
        case "application/json":
            schema = _schema(config)
            return ResponseFormat("json") if schema is None else ResponseFormat("schema", schema)
        case other:
            raise Untranslatable(f"{_CONFIG}.responseMimeType", f"the format `{other[:40]}`")


def _schema(config: Mapping[str, Any]) -> Json | None:
    for key in ("responseJsonSchema", "_responseJsonSchema"):
        if config.get(key) is not None:
            return mapping(config[key], f"{_CONFIG}.{key}")
    schema = config.get("responseSchema")
    return None if schema is None else json_schema(schema, f"{_CONFIG}.responseSchema")


def _encode_format(wanted: ResponseFormat | None) -> Json:
    if wanted is None or wanted.kind == "text":
        return {}
    asked: Json = {"responseMimeType": "application/json"}
    return asked if wanted.kind == "json" else asked | {"responseJsonSchema": wanted.schema or {}}


def turns(said: Sequence[Mapping[str, str]]) -> list[Json]:
    """Messages of an operator's configuration, as contents."""
    return [
        {"role": "model" if one["role"] == "assistant" else "user", "parts": [{"text": one["content"]}]} for one in said
    ]
