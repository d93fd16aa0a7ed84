"""A call in the format of Bedrock's Converse, to and from the canonical call.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

from pydantic_core import from_json

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import ChatCall, ResponseFormat, Tool, ToolChoice, ToolUse
from agentgateway.llm.documents import dump
from agentgateway.llm.wire import (
    check_fields,
    mapping,
    objects,
    optional_count,
    optional_flag,
    optional_mapping,
    optional_number,
    optional_text,
    text,
    texts,
    wrong,
)
from agentgateway_bedrock.converse_blocks import (
    cache_point,
    encode_messages,
    encode_system,
    keep_last_cache_points,
    tool_name,
)
from agentgateway_bedrock.converse_content import decode_blocks, decode_cache, decode_messages, member, text_of
from agentgateway_bedrock.converse_fields import FIELDS
from agentgateway_bedrock.thinking import decode_reasoning, decode_top_k, encode_reasoning, encode_top_k, thinks

JSON_ONLY = "Respond with one JSON object and nothing else."
_MODES: dict[str, Literal["auto", "required", "named"]] = {"auto": "auto", "any": "required", "tool": "named"}
_TIERS = frozenset(("priority", "default", "flex"))
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")
MOST_METADATA = 16


def decode_call(document: Json) -> ChatCall:
    check_fields(FIELDS, document)
    limits = _section(document, "inferenceConfig")
    more = _section(document, "additionalModelRequestFields")
    output = _section(document, "outputConfig")
    config = _section(document, "toolConfig")
    tier = _section(document, "serviceTier")
    return ChatCall(
        model="",  # stands in the path
        messages=decode_messages(objects(document.get("messages"), "messages")),
        system=tuple(text_of(decode_blocks(document.get("system"), "system"), "system")),
        tools=_decode_tools(config.get("tools")),
        tool_choice=_decode_tool_choice(config),
        max_tokens=optional_count(limits, "maxTokens", "inferenceConfig"),
        temperature=optional_number(limits, "temperature", "inferenceConfig"),
        top_p=optional_number(limits, "topP", "inferenceConfig"),
        top_k=decode_top_k(more),
        stop=texts(limits.get("stopSequences") or [], "inferenceConfig.stopSequences"),
        include_usage=True,
        reasoning=decode_reasoning(more, output),
        response_format=_decode_format(output),
        metadata=_decode_metadata(document),
        service_tier=optional_text(tier, "type", "serviceTier"),
    )


def encode_call(call: ChatCall) -> Json:
    if call.n != 1:
        raise Untranslatable("n", "more than one answer")
    reasoning = encode_reasoning(call)
    output = reasoning.pop("outputConfig", {}) | _encode_format(call)
    said: Json = {
        "messages": encode_messages(call),
        "system": _encode_system(call),
        "inferenceConfig": _encode_limits(call, thinks=thinks(reasoning)),
        "toolConfig": _encode_tools(call),
        "additionalModelRequestFields": reasoning | ({} if thinks(reasoning) else encode_top_k(call)),
        "outputConfig": output,
        "requestMetadata": _encode_metadata(call),
        "serviceTier": {"type": call.service_tier} if call.service_tier in _TIERS else None,
    }
    document = {key: value for key, value in said.items() if value or key == "messages"}
    keep_last_cache_points(document)
    return document


def _section(document: Json, key: str) -> Json:
    """An object of the document, empty when absent."""
    found = optional_mapping(document, key, "") or {}
    if key != "requestMetadata":
        check_fields(FIELDS, found, key, f"{key}.")
    return found


def _encode_system(call: ChatCall) -> list[Json]:
    system = encode_system(call)
    if call.response_format is not None and call.response_format.kind == "json":
        system.append({"text": JSON_ONLY})
    return system


# tools


def _decode_tools(tools: Any) -> tuple[Tool, ...]:
    decoded: list[Tool] = []
    for union, at in objects(tools, "toolConfig.tools"):
        kind, value = member(union, at)
        if kind == "cachePoint":
            if decoded:
                decoded[-1] = replace(decoded[-1], cache=decode_cache(value, f"{at}.cachePoint"))
        elif kind == "toolSpec":
            decoded.append(_decode_tool(mapping(value, f"{at}.toolSpec"), f"{at}.toolSpec"))
        else:
            raise Untranslatable(f"{at}.{kind}", f"a tool of type `{kind}`")
    return tuple(decoded)


def _decode_tool(tool: Json, at: str) -> Tool:
    check_fields(FIELDS, tool, at, "toolConfig.tools[toolSpec].")
    schema = mapping(tool.get("inputSchema"), f"{at}.inputSchema")
    return Tool(
        name=text(tool, "name", at),
        description=optional_text(tool, "description", at),
        schema=mapping(schema.get("json"), f"{at}.inputSchema.json"),
        strict=optional_flag(tool, "strict", at),
    )


def _encode_tools(call: ChatCall) -> Json | None:
    """Tools and the choice among them. A conversation that used tools must name them even where none may be used any
    more: those of its history are declared, and nothing there can forbid them."""
    used = {part.name for message in call.messages for part in message.parts if isinstance(part, ToolUse)}
    forbidden = call.tool_choice is not None and call.tool_choice.mode == "none"
    declared = call.tools if call.tools and (used or not forbidden) else tuple(Tool(name) for name in sorted(used))
    if not declared:
        return None
    tools: list[Json] = []
    for tool in declared:
        tools.append({"toolSpec": _encode_tool(tool)})
        if tool.cache is not None:
            tools.append(cache_point(tool.cache))
    choice = _encode_tool_choice(call.tool_choice) if call.tools else None
    return {"tools": tools, "toolChoice": choice} if choice is not None else {"tools": tools}


def _encode_tool(tool: Tool) -> Json:
    schema = dict(tool.schema or {"properties": {}})
    encoded: Json = {
        "name": tool_name(tool.name),
        "inputSchema": {"json": schema if "type" in schema else {"type": "object"} | schema},
    }
    if tool.description:
        encoded["description"] = tool.description
    if tool.strict is not None:
        encoded["strict"] = tool.strict
    return encoded


def _decode_tool_choice(config: Json) -> ToolChoice | None:
    choice = optional_mapping(config, "toolChoice", "toolConfig")
    if choice is None:
        return None
    kind, value = member(choice, "toolConfig.toolChoice")
    mode = _MODES.get(kind)
    if mode is None:
        raise wrong("toolConfig.toolChoice", "auto, any or tool")
    at = f"toolConfig.toolChoice.{kind}"
    return ToolChoice(mode, text(mapping(value, at), "name", at) if mode == "named" else None)


def _encode_tool_choice(choice: ToolChoice | None) -> Json | None:
    match choice:
        case ToolChoice(mode="auto"):
            return {"auto": {}}
        case ToolChoice(mode="required"):
            return {"any": {}}
        case ToolChoice(mode="named"):
            return {"tool": {"name": tool_name(choice.name or "")}}
        case _:
            return None


# the rest


def _encode_limits(call: ChatCall, *, thinks: bool) -> Json:
    """The vendor's temperature ends at 1. Beside thinking there is no other than the default, and `topP` from 0.95
    (https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html)."""
    if any(not sequence.strip() for sequence in call.stop):
        raise Untranslatable("stop", "a stop sequence of blanks")
    top_p = call.top_p if not thinks or (call.top_p is not None and call.top_p >= 0.95) else None
    said = {
        "maxTokens": call.max_tokens,
        "temperature": min(call.temperature, 1) if call.temperature is not None and not thinks else None,
        "topP": top_p,
        "stopSequences": list(call.stop) or None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _decode_format(output: Json) -> ResponseFormat | None:
    wanted, at = optional_mapping(output, "textFormat", "outputConfig"), "outputConfig.textFormat"
    if wanted is None:
        return None
    check_fields(FIELDS, wanted, at, f"{at}.")
    if wanted.get("type") != "json_schema":
        raise Untranslatable(f"{at}.type", f"the format `{wanted.get('type')}`")
    structure = mapping(wanted.get("structure"), f"{at}.structure")
    check_fields(FIELDS, structure, f"{at}.structure", f"{at}.structure.")
    at = f"{at}.structure.jsonSchema"
    defined = mapping(structure.get("jsonSchema"), at)
    check_fields(FIELDS, defined, at, f"{at}.")
    try:
        schema = from_json(text(defined, "schema", at))
    except ValueError:
        raise wrong(f"{at}.schema", "a JSON text") from None
    return ResponseFormat("schema", mapping(schema, f"{at}.schema"), optional_text(defined, "name", at))


def _encode_format(call: ChatCall) -> Json:
    wanted = call.response_format
    if wanted is None or wanted.kind != "schema":
        return {}
    defined = {"schema": dump(wanted.schema or {}).decode()}
    if wanted.name is not None:
        defined["name"] = wanted.name
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": defined}}}


def _decode_metadata(document: Json) -> dict[str, str] | None:
    found = optional_mapping(document, "requestMetadata", "")
    return None if found is None else {key: text(found, key, "requestMetadata") for key in found}


def _encode_metadata(call: ChatCall) -> Json | None:
    """Pairs that the vendor's pattern allows, up to its sixteen."""
    pairs = [
        (key, value)
        for key, value in (call.metadata or {}).items()
        if key and _METADATA.fullmatch(key) and _METADATA.fullmatch(value)
    ]
    return dict(pairs[:MOST_METADATA])
