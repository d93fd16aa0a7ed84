"""Tasks in the words of both eras: of the core of 2025-11-25 ("Tasks"), and of the extension
`io.modelcontextprotocol/tasks` of 2026-07-28 (SEP-2663)."""

from __future__ import annotations

from typing import Any

from agentgateway_mcp.envelope import Json, member, without

EXTENSION = "io.modelcontextprotocol/tasks"
RELATED = "io.modelcontextprotocol/related-task"
"""What says in `_meta`, in 2025-11-25, which task a message is about."""
SINCE = "2025-11-25"
"""The one version of those with sessions that has tasks."""
TASK = "task"
"""The type of a result that is a task."""
OFFERED: Json = {"cancel": {}, "requests": {"tools": {"call": {}}}}
"""What a server with the extension can do, in 2025-11-25: everything but a list, which the extension has not."""
FINAL = frozenset(("completed", "failed", "cancelled"))
METHODS = frozenset(("tasks/get", "tasks/result", "tasks/list", "tasks/cancel"))
"""Those of 2025-11-25."""
STATUS = "notifications/tasks/status"
"""Of 2025-11-25; `TOLD` is that of the extension."""
TOLD = "notifications/tasks"
_SAME = ("taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt")


def has_extension(capabilities: Json) -> bool:
    return EXTENSION in member(capabilities, "extensions")


def has_tasks(capabilities: Json) -> bool:
    """Whether calls to a server of 2025-11-25 may be tasks."""
    return "call" in member(member(member(capabilities, "tasks"), "requests"), "tools")


def with_extension(about: Json) -> Json:
    """Who asks, by the parameters of an `initialize`, as one that can be answered with a task."""
    capabilities = member(about, "capabilities")
    extensions = {**member(capabilities, "extensions"), EXTENSION: {}}
    return {**about, "capabilities": {**capabilities, "extensions": extensions}}


def legacy_task(task: Json) -> Json:
    """A task of the extension's, without its result."""
    told = {key: task[key] for key in _SAME if key in task}
    told["ttl"] = task.get("ttlMs")
    if "pollIntervalMs" in task:
        told["pollInterval"] = task["pollIntervalMs"]
    return told


def related(holder: Json, task: str) -> Json:
    """Parameters, or a result, that say which task they are about."""
    return {**holder, "_meta": {**member(holder, "_meta"), RELATED: {"taskId": task}}}


def supporting(tool: Any) -> Any:
    """A tool that may be called as a task: a server with the extension decides by itself what becomes one."""
    return {**tool, "execution": {"taskSupport": "optional"}} if isinstance(tool, dict) else tool


def modern_task(task: Json, named: str) -> Json:
    """A task of 2025-11-25 in the words of the extension, without its result, by that name."""
    told = {key: task[key] for key in _SAME if key in task}
    told |= {"taskId": named, "ttlMs": task.get("ttl")}
    if "pollInterval" in task:
        told["pollIntervalMs"] = task["pollInterval"]
    return told


def unrelated(result: Json) -> Json:
    """A result that does not say which task it is of: the extension says that around it."""
    meta = without(member(result, "_meta"), (RELATED,))
    return {**without(result, ("_meta",)), **({"_meta": meta} if meta else {})}
