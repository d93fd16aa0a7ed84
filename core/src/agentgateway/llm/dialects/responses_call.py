"""A call in OpenAI's responses format, to and from the canonical call.

Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import ChatCall, Reasoning, ResponseFormat, Tool, ToolChoice
from agentgateway.llm.dialects.completions_call import EFFORTS, encode_effort, encode_user, is_strict
from agentgateway.llm.dialects.responses_fields import FIELDS
from agentgateway.llm.dialects.responses_items import decode_items, encode_instructions, encode_items
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

CIPHERTEXTS = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"


def decode_call(document: Json) -> ChatCall:
    check_fields(FIELDS, document)
    options = optional_mapping(document, "stream_options", "") or {}
    check_fields(FIELDS, options, "stream_options", "stream_options.")
    if _LOGPROBS in texts(document.get("include") or [], "include"):
        raise Untranslatable("include", f"`{_LOGPROBS}`")
    said = optional_mapping(document, "text", "") or {}
    check_fields(FIELDS, said, "text", "text.")
    system, messages = decode_items(document)
    return ChatCall(
        model=text(document, "model", ""),
        messages=messages,
        system=system,
        tools=tuple(_decode_tool(tool, at) for tool, at in objects(document.get("tools"), "tools")),
        tool_choice=_decode_tool_choice(document),
        max_tokens=optional_count(document, "max_output_tokens", ""),
        temperature=optional_number(document, "temperature", ""),
        top_p=optional_number(document, "top_p", ""),
        stream=bool(document.get("stream")),
        include_usage=True,
        reasoning=_decode_reasoning(document),
        response_format=_decode_format(said),
        user=optional_text(document, "safety_identifier", "") or optional_text(document, "user", ""),
        verbosity=optional_text(said, "verbosity", "text"),
        metadata=optional_mapping(document, "metadata", ""),
        service_tier=optional_text(document, "service_tier", ""),
    )


def encode_call(call: ChatCall) -> Json:
    """Nothing is stored: that is what clients of other dialects expect."""
    if call.n != 1:
        raise Untranslatable("n", "more than one answer")
    if call.stop:
        raise Untranslatable("stop", "a stop sequence")
    document: Json = {"model": call.model, "input": list(encode_items(call)), "store": False}
    if call.tools:
        document["tools"] = [_encode_tool(tool) for tool in call.tools]
    _encode_tool_choice(call, document)
    effort = encode_effort(call.reasoning)
    said = {
        "instructions": encode_instructions(call),
        "max_output_tokens": call.max_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "reasoning": None if effort is None else {"effort": effort},
        "include": None if effort is None else [CIPHERTEXTS],  # models that do not think refuse it
        "text": _encode_text(call),
        "safety_identifier": encode_user(call.user),
        "metadata": call.metadata,
        "service_tier": call.service_tier,
        "stream": True if call.stream else None,
    }
    return document | {key: value for key, value in said.items() if value is not None}


def _decode_tool(tool: Json, at: str) -> Tool:
    kind = text(tool, "type", at)
    if kind != "function":
        raise Untranslatable(f"{at}.type", f"the tool `{kind}`")
    callers = tool.get("allowed_callers")
    check_fields(FIELDS, tool if callers != ["direct"] else tool | {"allowed_callers": None}, at, "tools[].")
    return Tool(
        name=text(tool, "name", at),
        description=optional_text(tool, "description", at),
        schema=optional_mapping(tool, "parameters", at),
        strict=optional_flag(tool, "strict", at) or None,  # false is what leaving it out means elsewhere
    )


def _encode_tool(tool: Tool) -> Json:
    """Left out, `strict` would mean true here, and false elsewhere."""
    schema = tool.schema if tool.schema is not None else {"type": "object", "properties": {}}
    encoded: Json = {"type": "function", "name": tool.name, "parameters": schema, "strict": bool(tool.strict)}
    return encoded if tool.description is None else encoded | {"description": tool.description}


def _decode_tool_choice(document: Json) -> ToolChoice | None:
    parallel = optional_flag(document, "parallel_tool_calls", "")
    match document.get("tool_choice"):
        case None:
            return None if parallel is None else ToolChoice(parallel=parallel)
        case "auto" | "none" | "required" as mode:
            return ToolChoice(mode, parallel=parallel)
        case {"type": "function"} as choice:
            check_fields(FIELDS, choice, "tool_choice", "tool_choice.")
            return ToolChoice("named", text(choice, "name", "tool_choice"), parallel)
        case _:
            raise Untranslatable("tool_choice", "this tool choice")


def _encode_tool_choice(call: ChatCall, document: Json) -> None:
    choice = call.tool_choice
    if choice is None or not call.tools:
        return
    named = choice.mode == "named"
    document["tool_choice"] = {"type": "function", "name": choice.name} if named else choice.mode
    if choice.parallel is not None:
        document["parallel_tool_calls"] = choice.parallel


def _decode_reasoning(document: Json) -> Reasoning | None:
    reasoning = optional_mapping(document, "reasoning", "")
    if reasoning is None:
        return None
    check_fields(FIELDS, reasoning, "reasoning", "reasoning.")
    effort = optional_text(reasoning, "effort", "reasoning")
    if effort is not None and effort not in EFFORTS:
        raise wrong("reasoning.effort", f"one of {', '.join(EFFORTS)}")
    return None if effort is None else Reasoning(effort)


def _decode_format(said: Json) -> ResponseFormat | None:
    at = "text.format"
    wanted = optional_mapping(said, "format", "text")
    if wanted is None:
        return None
    check_fields(FIELDS, wanted, at, f"{at}.")
    match wanted.get("type"):
        case "text":
            return ResponseFormat("text")
        case "json_object":
            return ResponseFormat("json")
        case "json_schema":
            return ResponseFormat(
                "schema",
                schema=mapping(wanted.get("schema"), f"{at}.schema"),
                name=optional_text(wanted, "name", at),
                strict=optional_flag(wanted, "strict", at),
            )
        case other:
            raise Untranslatable(f"{at}.type", f"the format `{other}`")


def _encode_text(call: ChatCall) -> Json | None:
    said: Json = {}
    if call.response_format is not None:
        said["format"] = _encode_format(call.response_format)
    if call.verbosity is not None:
        said["verbosity"] = call.verbosity
    return said or None


def _encode_format(wanted: ResponseFormat) -> Json:
    if wanted.kind != "schema":
        return {"type": "text" if wanted.kind == "text" else "json_object"}
    schema = wanted.schema or {}
    strict = wanted.strict if wanted.strict is not None else (is_strict(schema) or None)
    encoded: Json = {"type": "json_schema", "name": wanted.name or "response", "schema": schema}
    return encoded if strict is None else encoded | {"strict": strict}
