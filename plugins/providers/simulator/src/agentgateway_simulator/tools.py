"""Which tools a simulated model calls."""

from __future__ import annotations

import re

from agentgateway.llm.calls import ChatCall, Tool
from agentgateway_simulator.example import example


def chosen(call: ChatCall, text: str, asked: tuple[str, ...]) -> tuple[Tool, ...]:
    """The tools to call now: those a directive asked for, those the request insists on, else those the user's text
    names. Nothing but an insisting request makes a model call a tool again after it got results."""
    choice = call.tool_choice
    mode = choice.mode if choice else "auto"
    fresh = bool(call.messages) and call.messages[-1].role == "user"
    if mode == "none":
        return ()
    if mode == "named" and choice is not None:
        found = tuple(tool for tool in call.tools if tool.name == choice.name)
    elif fresh and asked:
        known = {tool.name: tool for tool in call.tools}
        found = tuple(known.get(name) or Tool(name) for name in asked)
    else:
        found = named_in(call, text) if fresh else ()
        if mode == "required":
            found = found or call.tools[:1]
    return found[:1] if choice is not None and choice.parallel is False else found


def named_in(call: ChatCall, text: str) -> tuple[Tool, ...]:
    """Tools whose whole names stand in the text, in the order in which they stand there."""
    found = [(re.search(rf"(?<![\w-]){re.escape(tool.name)}(?![\w-])", text), tool) for tool in call.tools]
    return tuple(tool for place, tool in sorted(((m.start(), t) for m, t in found if m), key=lambda pair: pair[0]))


def arguments(tool: Tool) -> object:
    """Arguments that fit the tool's schema. Raises `UnusableSchema`."""
    value = example(tool.schema or {"type": "object"})
    return value if isinstance(value, dict) else {}
