"""A call in Anthropic's messages format, to and from the canonical call.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import Any, Literal

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import (
    ChatCall,
    Message,
    Reasoning,
    ResponseFormat,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)
from agentgateway.llm.dialects.messages_content import (
    decode_cache,
    decode_content,
    decode_messages,
    encode_cache,
    encode_messages,
    encode_system,
)
from agentgateway.llm.dialects.messages_fields import FIELDS
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

MAX_TOKENS = 4096
"""Sent where the client set no limit: the format requires one."""
BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
LEAST_BUDGET = 1024
JSON_ONLY = "Respond with one JSON object and nothing else."
_MODES: dict[str, Literal["auto", "none", "required", "named"]] = {
    "auto": "auto",
    "none": "none",
    "any": "required",
    "tool": "named",
}
_CHOICES = {mode: choice for choice, mode in _MODES.items()}
_TIERS = {"auto": "auto", "standard_only": "default"}
_TIER_NAMES = {"auto": "auto", "priority": "auto", "fast": "auto", "scale": "auto", "default": "standard_only"}


def decode_call(document: Json) -> ChatCall:
    check_fields(FIELDS, document)
    metadata = optional_mapping(document, "metadata", "") or {}
    check_fields(FIELDS, metadata, "metadata", "metadata.")
    output = optional_mapping(document, "output_config", "") or {}
    check_fields(FIELDS, output, "output_config", "output_config.")
    return ChatCall(
        model=text(document, "model", ""),
        messages=decode_messages(objects(document.get("messages"), "messages")),
        system=_decode_system(document.get("system")),
        tools=tuple(_decode_tool(tool, at) for tool, at in objects(document.get("tools"), "tools")),
        tool_choice=_decode_tool_choice(document),
        max_tokens=optional_count(document, "max_tokens", ""),
        temperature=optional_number(document, "temperature", ""),
        top_p=optional_number(document, "top_p", ""),
        top_k=optional_count(document, "top_k", ""),
        stop=texts(document.get("stop_sequences") or [], "stop_sequences"),
        stream=bool(document.get("stream")),
        include_usage=True,
        reasoning=_decode_reasoning(document, output),
        response_format=_decode_format(document, output),
        user=optional_text(metadata, "user_id", "metadata"),
        service_tier=_TIERS.get(optional_text(document, "service_tier", "") or ""),
        cache=decode_cache(document, ""),
    )


def encode_call(call: ChatCall) -> Json:
    if call.n != 1:
        raise Untranslatable("n", "more than one answer")
    limit = call.max_tokens if call.max_tokens is not None else MAX_TOKENS
    document: Json = {"model": call.model, "max_tokens": limit, "messages": encode_messages(call)}
    if system := _encode_system(call):
        document["system"] = system
    document |= _encode_tools(call)
    thinking = _encode_thinking(call, limit)
    said: Json = {
        "thinking": thinking,
        "output_config": _encode_output(call),
        "stop_sequences": _encode_stop(call),
        "metadata": None if call.user is None else {"user_id": call.user},
        "service_tier": _TIER_NAMES.get(call.service_tier or ""),
        "cache_control": None if call.cache is None else encode_cache(call.cache),
        "stream": True if call.stream else None,
    }
    said |= _encode_sampling(call, thinks=thinking is not None and thinking["type"] != "disabled")
    return document | {key: value for key, value in said.items() if value is not None}


def _decode_system(system: Any) -> tuple[Text, ...]:
    if system is None:
        return ()
    blocks: list[Text] = []
    for part in decode_content(system, "system"):
        if not isinstance(part, Text):
            raise Untranslatable("system", f"{type(part).__name__.lower()} in a system prompt")
        blocks.append(part)
    return tuple(blocks)


def _encode_system(call: ChatCall) -> list[Json]:
    system = encode_system(call)
    if call.response_format is not None and call.response_format.kind == "json":
        system.append({"type": "text", "text": JSON_ONLY})
    return system


# tools


def _decode_tool(tool: Json, at: str) -> Tool:
    kind = optional_text(tool, "type", at)
    if kind not in (None, "custom"):
        raise Untranslatable(f"{at}.type", f"the tool `{kind}`, which runs at the vendor,")
    callers = tool.get("allowed_callers")
    check_fields(FIELDS, tool if callers != ["direct"] else tool | {"allowed_callers": None}, at, "tools[].")
    return Tool(
        name=text(tool, "name", at),
        description=optional_text(tool, "description", at),
        schema=mapping(tool.get("input_schema"), f"{at}.input_schema"),
        strict=optional_flag(tool, "strict", at),
        cache=decode_cache(tool, at),
    )


def _encode_tools(call: ChatCall) -> Json:
    """Tools and the choice among them. A conversation that used tools must name them even where none may be used
    any more, so those of its history are declared and forbidden."""
    if call.tools:
        encoded: Json = {"tools": [_encode_tool(tool) for tool in call.tools]}
        if call.tool_choice is not None:
            encoded["tool_choice"] = _encode_tool_choice(call.tool_choice)
        return encoded
    used = {part.name for message in call.messages for part in message.parts if isinstance(part, ToolUse)}
    if not used:
        return {}
    return {"tools": [_encode_tool(Tool(name)) for name in sorted(used)], "tool_choice": {"type": "none"}}


def _encode_tool(tool: Tool) -> Json:
    encoded: Json = {"name": tool.name}
    if tool.description is not None:
        encoded["description"] = tool.description
    schema = dict(tool.schema or {"properties": {}})
    encoded["input_schema"] = schema if "type" in schema else {"type": "object"} | schema
    if tool.strict is not None:
        encoded["strict"] = tool.strict
    if tool.cache is not None:
        encoded["cache_control"] = encode_cache(tool.cache)
    return encoded


def _decode_tool_choice(document: Json) -> ToolChoice | None:
    choice = optional_mapping(document, "tool_choice", "")
    if choice is None:
        return None
    check_fields(FIELDS, choice, "tool_choice", "tool_choice.")
    mode = _MODES.get(text(choice, "type", "tool_choice"))
    if mode is None:
        raise wrong("tool_choice.type", "auto, any, tool or none")
    single = optional_flag(choice, "disable_parallel_tool_use", "tool_choice")
    name = text(choice, "name", "tool_choice") if mode == "named" else None
    return ToolChoice(mode, name, None if single is None else not single)


def _encode_tool_choice(choice: ToolChoice) -> Json:
    encoded: Json = {"type": _CHOICES[choice.mode]}
    if choice.name is not None:
        encoded["name"] = choice.name
    if choice.parallel is not None and choice.mode != "none":
        encoded["disable_parallel_tool_use"] = not choice.parallel
    return encoded


# thinking


def _decode_reasoning(document: Json, output: Json) -> Reasoning | None:
    effort = optional_text(output, "effort", "output_config")
    thinking = optional_mapping(document, "thinking", "")
    if thinking is None:
        return None if effort is None else Reasoning(effort)
    check_fields(FIELDS, thinking, "thinking", "thinking.")
    match thinking.get("type"):
        case "disabled":
            return Reasoning("none")
        case "adaptive":
            return Reasoning(effort, adaptive=True)
        case "enabled":
            budget = optional_count(thinking, "budget_tokens", "thinking")
            if budget is None:
                raise wrong("thinking.budget_tokens", "a whole number")
            return Reasoning(effort, budget)
        case other:
            raise Untranslatable("thinking.type", f"thinking of type `{other}`")


def _encode_thinking(call: ChatCall, limit: int) -> Json | None:
    """A budget below the limit; none where it would be too small, or where the vendor refuses to think: before a
    forced tool, and in the middle of tool calls that began without thinking."""
    reasoning = call.reasoning
    if reasoning is None:
        return None
    if reasoning.effort == "none":
        return {"type": "disabled"}
    if reasoning.adaptive:
        return {"type": "adaptive"}
    wanted = reasoning.budget if reasoning.budget is not None else BUDGETS.get(reasoning.effort or "", 0)
    budget = min(wanted, limit - 1)
    forced = call.tool_choice is not None and call.tool_choice.mode in ("required", "named")
    if budget < LEAST_BUDGET or forced or continues_unthought(call.messages):
        return None
    return {"type": "enabled", "budget_tokens": budget}


def continues_unthought(messages: tuple[Message, ...]) -> bool:
    """Whether the call answers a turn that called tools and whose thinking the client did not keep."""
    if not messages or not any(isinstance(part, ToolResult) for part in messages[-1].parts):
        return False
    last = next((message for message in reversed(messages) if message.role == "assistant"), None)
    return last is None or not any(
        isinstance(part, Thinking) and (part.signature or part.redacted) for part in last.parts
    )


def _encode_output(call: ChatCall) -> Json | None:
    output: Json = {}
    if call.reasoning is not None and call.reasoning.adaptive and call.reasoning.effort is not None:
        output["effort"] = call.reasoning.effort
    if call.response_format is not None and call.response_format.kind == "schema":
        output["format"] = {"type": "json_schema", "schema": call.response_format.schema or {}}
    return output or None


# the rest


def _decode_format(document: Json, output: Json) -> ResponseFormat | None:
    """`output_config.format`, or `output_format` as it was called before (version 2023-06-01 with a beta header)."""
    wanted, at = optional_mapping(output, "format", "output_config"), "output_config.format"
    if wanted is None:
        wanted, at = optional_mapping(document, "output_format", ""), "output_format"
    if wanted is None:
        return None
    check_fields(FIELDS, wanted, at, "output_config.format.")
    if wanted.get("type") != "json_schema":
        raise Untranslatable(f"{at}.type", f"the format `{wanted.get('type')}`")
    return ResponseFormat("schema", mapping(wanted.get("schema"), f"{at}.schema"))


def _encode_stop(call: ChatCall) -> list[str] | None:
    if any(not sequence.strip() for sequence in call.stop):
        raise Untranslatable("stop", "a stop sequence of blanks")
    return list(call.stop) or None


def _encode_sampling(call: ChatCall, *, thinks: bool) -> Json:
    """The vendor's temperature ends at 1, where its compatibility layer caps it too; thinking allows no other
    temperature than the default, no `top_k`, and `top_p` from 0.95
    (https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#feature-compatibility)."""
    if thinks:
        return {"top_p": call.top_p if call.top_p is not None and call.top_p >= 0.95 else None}
    temperature = call.temperature
    return {
        "temperature": min(temperature, 1) if temperature is not None else None,
        "top_p": call.top_p,
        "top_k": call.top_k,
    }
