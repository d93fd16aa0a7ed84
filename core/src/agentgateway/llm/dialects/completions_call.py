"""A call in OpenAI's chat completions format, to and from the canonical call.

Source: https://platform.openai.com/docs/api-reference/chat/create. Marked EXTENSION is what the vendor does not publish
and compatible vendors accept; `Completions.plain` takes it out.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from agentgateway.llm.calls import Json, Untranslatable
from agentgateway.llm.chat import ChatCall, Reasoning, ResponseFormat, Tool, ToolChoice
from agentgateway.llm.dialects.completions_fields import FIELDS
from agentgateway.llm.dialects.completions_messages import decode_cache, decode_messages, encode_cache, encode_messages
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

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def decode_call(document: Json) -> ChatCall:
    check_fields(FIELDS, document)
    if document.get("modalities") not in (None, ["text"]):
        raise Untranslatable("modalities", "output other than text")
    options = optional_mapping(document, "stream_options", "") or {}
    check_fields(FIELDS, options, "stream_options", "stream_options.")
    system, messages = decode_messages(objects(document.get("messages"), "messages"))
    limit = optional_count(document, "max_completion_tokens", "")
    return ChatCall(
        model=text(document, "model", ""),
        messages=messages,
        system=system,
        tools=tuple(_decode_tool(tool, at) for tool, at in objects(document.get("tools"), "tools")),
        tool_choice=_decode_tool_choice(document),
        max_tokens=limit if limit is not None else optional_count(document, "max_tokens", ""),
        temperature=optional_number(document, "temperature", ""),
        top_p=optional_number(document, "top_p", ""),
        top_k=optional_count(document, "top_k", ""),
        stop=_decode_stop(document.get("stop")),
        stream=bool(document.get("stream")),
        include_usage=bool(optional_flag(options, "include_usage", "stream_options")),
        reasoning=_decode_reasoning(document),
        response_format=_decode_response_format(document),
        user=optional_text(document, "safety_identifier", "") or optional_text(document, "user", ""),
        seed=_decode_seed(document.get("seed")),
        frequency_penalty=optional_number(document, "frequency_penalty", ""),
        presence_penalty=optional_number(document, "presence_penalty", ""),
        n=optional_count(document, "n", "") or 1,
        verbosity=optional_text(document, "verbosity", ""),
        metadata=optional_mapping(document, "metadata", ""),
        service_tier=optional_text(document, "service_tier", ""),
        cache=decode_cache(document, ""),
    )


def encode_call(call: ChatCall) -> Json:
    document: Json = {"model": call.model, "messages": list(encode_messages(call))}
    if call.tools:
        document["tools"] = [_encode_tool(tool) for tool in call.tools]
    _encode_tool_choice(call, document)
    said = {
        "max_tokens": call.max_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "top_k": call.top_k,  # EXTENSION
        "stop": list(call.stop) or None,
        "user": encode_user(call.user),
        "seed": call.seed,
        "frequency_penalty": call.frequency_penalty,
        "presence_penalty": call.presence_penalty,
        "n": call.n if call.n != 1 else None,
        "verbosity": call.verbosity,
        "metadata": call.metadata,
        "service_tier": call.service_tier,
        "reasoning_effort": encode_effort(call.reasoning),
        "response_format": _encode_response_format(call.response_format),
        "cache_control": encode_cache(call.cache),  # EXTENSION
    }
    document |= {key: value for key, value in said.items() if value is not None}
    if call.stream:
        document["stream"] = True
        document["stream_options"] = {"include_usage": True}  # whatever the client wants to see, we count
    return document


def encode_user(user: str | None) -> str | None:
    """The vendor takes 64 characters; a longer name keeps its identity as a digest."""
    return user if user is None or len(user) <= 64 else sha256(user.encode("utf-8", "replace")).hexdigest()


def _decode_tool(tool: Json, at: str) -> Tool:
    check_fields(FIELDS, tool, at, "tools[].")
    if tool.get("type") != "function":
        raise Untranslatable(f"{at}.type", f"a tool of type `{tool.get('type')}`")
    function = mapping(tool.get("function"), f"{at}.function")
    check_fields(FIELDS, function, f"{at}.function", "tools[].function.")
    return Tool(
        name=text(function, "name", f"{at}.function"),
        description=optional_text(function, "description", f"{at}.function"),
        schema=optional_mapping(function, "parameters", f"{at}.function"),
        strict=optional_flag(function, "strict", f"{at}.function"),
        cache=decode_cache(tool, at),
    )


def _encode_tool(tool: Tool) -> Json:
    said = {"description": tool.description, "parameters": tool.schema, "strict": tool.strict}
    function = {"name": tool.name} | {key: value for key, value in said.items() if value is not None}
    encoded: Json = {"type": "function", "function": function}
    return encoded if tool.cache is None else encoded | {"cache_control": encode_cache(tool.cache)}  # EXTENSION


def _decode_tool_choice(document: Json) -> ToolChoice | None:
    parallel = optional_flag(document, "parallel_tool_calls", "")
    match document.get("tool_choice"):
        case None:
            return None if parallel is None else ToolChoice(parallel=parallel)
        case "auto" | "none" | "required" as mode:
            return ToolChoice(mode, parallel=parallel)
        case {"type": "function"} as choice:
            check_fields(FIELDS, choice, "tool_choice", "tool_choice.")
            function = mapping(choice.get("function"), "tool_choice.function")
            return ToolChoice("named", text(function, "name", "tool_choice.function"), parallel)
        case _:
            raise Untranslatable("tool_choice", "this tool choice")


def _encode_tool_choice(call: ChatCall, document: Json) -> None:
    choice = call.tool_choice
    if choice is None or not call.tools:
        return
    if choice.mode == "named":
        document["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    else:
        document["tool_choice"] = choice.mode
    if choice.parallel is not None:
        document["parallel_tool_calls"] = choice.parallel


def _decode_stop(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str) else texts(stop, "stop")


def _decode_seed(seed: Any) -> int | None:
    if seed is not None and type(seed) is not int:
        raise wrong("seed", "an integer")
    return seed


def _decode_reasoning(document: Json) -> Reasoning | None:
    """`thinking_budget_tokens` is an EXTENSION, as in the reference."""
    if (budget := optional_count(document, "thinking_budget_tokens", "")) is not None:
        return Reasoning(budget=budget)
    effort = optional_text(document, "reasoning_effort", "")
    if effort is not None and effort not in EFFORTS:
        raise wrong("reasoning_effort", f"one of {', '.join(EFFORTS)}")
    return None if effort is None else Reasoning(effort)


def encode_effort(reasoning: Reasoning | None) -> str | None:
    """A budget becomes the smallest effort that is worth as much; `none` is what leaving it out means elsewhere."""
    if reasoning is None or reasoning.effort == "none":
        return None
    if reasoning.budget is not None:
        return "low" if reasoning.budget <= 1024 else "medium" if reasoning.budget <= 2048 else "high"
    return reasoning.effort or ("high" if reasoning.adaptive else None)


def _decode_response_format(document: Json) -> ResponseFormat | None:
    wanted = optional_mapping(document, "response_format", "")
    if wanted is None:
        return None
    check_fields(FIELDS, wanted, "response_format", "response_format.")
    match wanted.get("type"):
        case "text":
            return ResponseFormat("text")
        case "json_object":
            return ResponseFormat("json")
        case "json_schema":
            at = "response_format.json_schema"
            schema = mapping(wanted.get("json_schema"), at)
            check_fields(FIELDS, schema, at, f"{at}.")
            return ResponseFormat(
                "schema",
                schema=optional_mapping(schema, "schema", at),
                name=optional_text(schema, "name", at),
                strict=optional_flag(schema, "strict", at),
            )
        case other:
            raise Untranslatable("response_format.type", f"the format `{other}`")


def _encode_response_format(wanted: ResponseFormat | None) -> Json | None:
    if wanted is None:
        return None
    if wanted.kind != "schema":
        return {"type": "text" if wanted.kind == "text" else "json_object"}
    schema: Json = {"name": wanted.name or "response", "schema": wanted.schema or {}}
    strict = wanted.strict if wanted.strict is not None else (is_strict(schema["schema"]) or None)
    return {"type": "json_schema", "json_schema": schema if strict is None else schema | {"strict": strict}}


def is_strict(schema: Any) -> bool:
    """Whether a schema keeps the rules of strict mode: every object closed, every property required."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        names = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False or names != set(schema.get("required", ())):
            return False
    return all(is_strict(value) for value in schema.values())
