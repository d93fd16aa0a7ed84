"""What the simulator is going to do with a call, all of it decided before the first byte: no clock, no chance."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from hashlib import blake2b

from agentgateway.llm.calls import (
    ChatCall,
    ChatReply,
    Document,
    Image,
    Message,
    Part,
    StopReason,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)
from agentgateway_simulator import directives
from agentgateway_simulator.config import SimulatorConfig
from agentgateway_simulator.directives import Directives
from agentgateway_simulator.example import UnusableSchema, example
from agentgateway_simulator.tools import arguments, chosen
from agentgateway_simulator.usage import usage
from agentgateway_simulator.words import count, cut, lorem

CREATED = 1_767_225_600
"""The moment of every reply: 2026-01-01, so that equal calls get equal bytes."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of the vendor's; in the middle of a stream when `after` says so."""

    status: int
    message: str
    retry_after: float | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """`reply` is None when there is nothing but a failure. `breaks_after` is the number of chunks after which the
    connection dies."""

    reply: ChatReply | None
    failure: Failure | None = None
    latency: float = 0.0
    pace: float = 0.0
    breaks_after: int | None = None


@dataclass(frozen=True, slots=True)
class Marks:
    """How a vendor's ids look."""

    reply: str = "sim-"
    tool: str = "call_"


MARKS = {"completions": Marks("chatcmpl-", "call_"), "messages": Marks("msg_", "toolu_")}


def script(call: ChatCall, config: SimulatorConfig, *, dialect: str, seed: bytes, failing: bool = False) -> Script:
    """The script for a call. `seed` makes its ids; `failing` says that it is this call's turn in `fail`."""
    text, asked = last_text(call), Directives()
    try:
        if config.directives:
            text, asked = directives.without(text), directives.read(text, call.model)
        asked = asked.over(_configured(config, failing and asked.error is None and not asked.disconnect))
        failure = _failure(asked)
        only_fails = failure is not None and failure.after is None
        answer = None if only_fails else _reply(call, config, asked, text, dialect, seed)
    except directives.UnknownDirective as error:
        return Script(None, Failure(400, str(error)))
    except UnusableSchema as error:
        return Script(None, Failure(400, f"a schema of the request cannot be used: {error}"))
    breaks = (asked.after or 0) if asked.disconnect else None
    return Script(answer, failure, asked.latency or 0.0, asked.pace or 0.0, breaks)


def _configured(config: SimulatorConfig, failing: bool) -> Directives:
    """The configuration in the words of directives."""
    fail = config.fail if failing else None
    return Directives(
        error=fail.error if fail else None,
        disconnect=fail is not None and fail.disconnect_after is not None,
        after=fail.disconnect_after if fail else None,
        latency=config.latency,
        pace=config.pace,
        tokens=config.tokens,
    )


def _failure(asked: Directives) -> Failure | None:
    if asked.error is None:
        return None
    retry_after = 1.0 if asked.retry_after is None and asked.error == 429 else asked.retry_after
    return Failure(asked.error, f"simulated error {asked.error}", retry_after, asked.after)


def _reply(
    call: ChatCall, config: SimulatorConfig, asked: Directives, text: str, dialect: str, seed: bytes
) -> ChatReply:
    key, marks = blake2b(seed, digest_size=12).hexdigest(), MARKS.get(dialect, Marks())
    parts: list[Part] = []
    if asked.thinking or wants_thinking(call):
        parts.append(_thinking(text, key))
    tools = chosen(call, text, asked.tool) if config.tool_calls == "auto" else ()
    stop: StopReason = "tool_use"
    sequence = None
    for index, tool in enumerate(tools):
        parts.append(ToolUse(f"{marks.tool}{key}{index:02}", tool.name, json.dumps(arguments(tool))))
    if not tools:
        answer, stop, sequence = _limited(_answer(call, config, asked, text), call)
        parts.append(Text(answer))
    answered = tuple(parts)
    spent = usage(call, answered, asked.cached)
    return ChatReply(f"{marks.reply}{key}", call.model, answered, stop, sequence, spent, CREATED)


def last_text(call: ChatCall) -> str:
    """The text of the last user message."""
    message = _last_user(call)
    return "\n".join(part.text for part in message.parts if isinstance(part, Text)) if message else ""


def _last_user(call: ChatCall) -> Message | None:
    return next((message for message in reversed(call.messages) if message.role == "user"), None)


def wants_thinking(call: ChatCall) -> bool:
    reasoning = call.reasoning
    return reasoning is not None and (
        reasoning.adaptive or reasoning.budget is not None or reasoning.effort not in (None, "none")
    )


def _thinking(text: str, key: str) -> Thinking:
    """The signature is no signature, but as opaque as one."""
    return Thinking(f"The user wrote {count(text)} words. I shall answer.", b64encode(key.encode()).decode())


def _answer(call: ChatCall, config: SimulatorConfig, asked: Directives, text: str) -> str:
    wanted = call.response_format
    if asked.text is not None:
        answer = asked.text
    elif wanted is not None and wanted.kind == "schema":
        return json.dumps(example(wanted.schema))
    elif asked.tokens is not None:
        answer = lorem(asked.tokens)
    else:
        answer = _conversation(call, config, text)
    return json.dumps({"text": answer}) if asked.json or (wanted is not None and wanted.kind == "json") else answer


def _conversation(call: ChatCall, config: SimulatorConfig, text: str) -> str:
    """An answer that shows what arrived: the results of tools when they come last, else the user's text and files."""
    if call.messages and call.messages[-1].role == "tool":
        results = [part for part in call.messages[-1].parts if isinstance(part, ToolResult)]
        return "; ".join(
            f"The tool {'failed' if result.is_error else 'said'}: {_shown(result.parts)}" for result in results
        )
    last = _last_user(call)
    files = tuple(part for part in (last.parts if last else ()) if isinstance(part, Image | Document))
    shown = " ".join(filter(None, (text, _shown(files))))
    return config.reply.replace("{model}", call.model).replace("{text}", shown)


def _shown(parts: tuple[Part, ...]) -> str:
    shown = []
    for part in parts:
        if isinstance(part, Text):
            shown.append(part.text)
        elif isinstance(part, Image | Document):
            kind = "image" if isinstance(part, Image) else "document"
            what = (
                part.url
                or f"{part.media_type or 'text/plain'}, {len(part.data or getattr(part, 'text', '') or '')} characters"
            )
            shown.append(f"[{kind}: {what}]")
    return " ".join(shown)


def _limited(text: str, call: ChatCall) -> tuple[str, StopReason, str | None]:
    """The text up to a stop sequence or to the limit on tokens, whichever comes first, and why it ended."""
    found = [(at, stop) for stop in call.stop if stop and (at := text.find(stop)) >= 0]
    kept, stopped = (text[: min(found)[0]], min(found)[1]) if found else (text, None)
    if call.max_tokens is not None and count(kept) > call.max_tokens:
        return cut(kept, call.max_tokens), "length", None
    return kept, "stop_sequence" if stopped is not None else "stop", stopped
