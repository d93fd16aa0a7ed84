"""What a vendor's reply cannot say in the client's terms, put back from the client's call: the names of tools that the
vendor's dialect had to write otherwise, and the model where the vendor does not name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from agentgateway.llm.chat import ChatCall, ChatReply, Delta, Part, PartStarted, Started, ToolUse
from agentgateway.llm.dialect import Dialect


def restored(reply: ChatReply, source: Dialect, call: ChatCall) -> ChatReply:
    """A reply that came in the dialect `source` to a call that was translated to it. Replies other than chat's have a
    model only."""
    if not isinstance(reply, ChatReply):
        return replace(reply, model=reply.model or call.model)
    names = renamed(call, source)
    parts = tuple(_called_back(part, names) for part in reply.parts) if names else reply.parts
    return replace(reply, parts=parts, model=reply.model or call.model)


def restoring(source: Dialect, call: ChatCall) -> Callable[[Delta], Delta] | None:
    """The same for each delta of a stream; None where there is nothing to put back."""
    names = renamed(call, source)
    if not names and not source.model_in_path:
        return None

    def restore(delta: Delta) -> Delta:
        if isinstance(delta, PartStarted) and delta.name in names:
            return replace(delta, name=names[delta.name])
        if isinstance(delta, Started) and not delta.model:
            return replace(delta, model=call.model)
        return delta

    return restore


def renamed(call: ChatCall, dialect: Dialect) -> Mapping[str, str]:
    """Tools that a dialect calls otherwise: its name, and the client's."""
    return {name: tool.name for tool in call.tools if (name := dialect.tool_name(tool.name)) != tool.name}


def _called_back(part: Part, names: Mapping[str, str]) -> Part:
    if isinstance(part, ToolUse) and part.name in names:
        return replace(part, name=names[part.name])
    return part
