"""Tasks for clients of 2025-11-25, at a server that has them as an extension of 2026-07-28.

There a server decides by itself what becomes a task, tells its result where its state is asked for, and is told there
what it wants to know. What a client says with a request, asks for at the end, and is asked meanwhile, is made of that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from pydantic_core import to_json

from agentgateway_mcp import rpc
from agentgateway_mcp.callers import Caller
from agentgateway_mcp.envelope import Json, member
from agentgateway_mcp.errors import INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND
from agentgateway_mcp.finished import Finished
from agentgateway_mcp.messages import MODERN
from agentgateway_mcp.modern_call import ModernCall
from agentgateway_mcp.modern_words import legacy_response, legacy_result
from agentgateway_mcp.servers import Answer, Ask
from agentgateway_mcp.talks import Talk, Talks
from agentgateway_mcp.task_words import FINAL, METHODS, TASK, legacy_task, related, supporting

PAUSES = (0.05, 60.0)
"""Seconds, at least and at most, between two looks at a task; 1 where its server does not say."""


Made = Callable[[Json], Awaitable[Json]]


class ToolList(ModernCall):
    """A list of tools, any of which may become a task."""

    async def _told(self, document: Json) -> Json:
        response = await super()._told(document)
        tools = member(response, "result").get("tools")
        if isinstance(tools, list):
            response["result"]["tools"] = [supporting(tool) for tool in tools]
        return response


class TaskCall(ModernCall):
    """A call that its client wants to be a task. `made` makes one of its result."""

    def __init__(self, made: Made, *rest: Any) -> None:
        super().__init__(*rest)
        self._made = made

    async def _told(self, document: Json) -> Json:
        response = await super()._told(document) if "error" in document else {"jsonrpc": "2.0", "id": self._id}
        if isinstance(document.get("result"), dict):
            response["result"] = {"task": legacy_task(await self._made(document["result"]))}
        return response


class TaskResult(ModernCall):
    """A request for the result of a task (`tasks/result`): it waits for that, and asks the client meanwhile what the
    server wants to know. `document` is the request for the task's state."""

    _rounds = 1_000_000
    _asked: frozenset[str] = frozenset()

    def _continues(self, document: Json) -> bool:
        return "result" in document and member(document, "result").get("status") not in FINAL

    async def _round(self, caller: Caller, result: Json, number: int) -> Json:
        task, wanted = self._document["params"]["taskId"], member(result, "inputRequests")
        new = {key: one for key, one in wanted.items() if key not in self._asked and isinstance(one, dict)}
        if new:
            self._asked |= new.keys()
            told = {key: {**one, "params": related(member(one, "params"), task)} for key, one in new.items()}
            given = await self._answers(told)
            await caller.response(self._ask(self._next("tasks/update", {"taskId": task, "inputResponses": given})))
        else:
            await asyncio.sleep(pause(result))
        return self._next("tasks/get", {"taskId": task})

    def _next(self, method: str, params: Json) -> Json:
        meta = member(self._document["params"], "_meta")
        wanted = f"agw-task-{secrets.token_hex(4)}"
        return {"jsonrpc": "2.0", "id": wanted, "method": method, "params": {**params, "_meta": meta}}

    async def _told(self, document: Json) -> Json:
        if "result" not in document:
            return await super()._told(document)
        return response_of(member(document, "result"), self._id)


class Tasks:
    """What clients ask of tasks, at one server."""

    def __init__(self, talks: Talks, finished: Finished) -> None:
        self._talks = talks
        self._finished = finished

    def kind(self, talk: Talk, ask: Ask, document: Json) -> Callable[..., ModernCall]:
        """What a request is that goes to the server, which gets it as `document`."""
        if ask.method == "tools/list":
            return ToolList
        if ask.method == "tools/call":
            ttl = member(member(ask.document, "params"), "task").get("ttl")
            return partial(TaskCall, partial(self._made, talk, ttl))
        document["method"] = "tasks/get"
        return TaskResult

    async def answer(self, caller: Caller, talk: Talk, document: Json) -> Answer | None:
        """The answer to everything but the request for a result that may take its time."""
        method, wanted, task = document["method"], document["id"], document["params"].get("taskId")
        if method == "tasks/list":
            return Answer(200, whole=rpc.failure(wanted, METHOD_NOT_FOUND, "the server has no list of tasks"))
        if not isinstance(task, str):
            return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, "params.taskId is missing"))
        found = await self._finished.find(talk.name, task)
        if found is not None:
            return local(method, wanted, found)
        if method == "tasks/get":
            return await self.state(caller, document)
        return await self.cancel(caller, document) if method == "tasks/cancel" else None

    def stop(self) -> None:
        self._finished.stop()

    async def _made(self, talk: Talk, ttl: object, result: Json) -> Json:
        """The task that a call has become. One that has its result already is kept here."""
        if result.get("resultType") != TASK:
            return self._finished.keep(talk.name, legacy_result(result, "tools/call"), ttl)
        if isinstance(result.get("taskId"), str):
            await self._talks.follow(talk, result["taskId"])
        return result

    async def state(self, caller: Caller, document: Json) -> Answer:
        """`tasks/get`: `document` is the request as the server gets it."""
        response = await asked(caller, document, "tasks/get")
        wanted = document["id"]
        return told(wanted, response["result"]) if "result" in response else refused(wanted, response)

    async def cancel(self, caller: Caller, document: Json) -> Answer:
        """`tasks/cancel`, which in 2025-11-25 refuses what is over, and says how things stand then."""
        wanted = document["id"]
        before = await asked(caller, document, "tasks/get")
        if "result" not in before:
            return refused(wanted, before)
        if member(before, "result").get("status") in FINAL:
            return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, OVER))
        done = await asked(caller, document, "tasks/cancel")
        return await self.state(caller, document) if "result" in done else refused(wanted, done)


OVER = "the task is over"


def is_about_tasks(ask: Ask) -> bool:
    """Whether tasks make a difference to a request."""
    as_task = ask.method == "tools/call" and "task" in member(ask.document, "params")
    return as_task or ask.method == "tools/list" or ask.method in METHODS


def local(method: str, wanted: Any, task: Json) -> Answer:
    """What is said of a task that was over when it began."""
    if method == "tasks/cancel":
        return Answer(200, whole=rpc.failure(wanted, INVALID_PARAMS, OVER))
    return told(wanted, task) if method == "tasks/get" else Answer(200, whole=to_json(response_of(task, wanted)))


async def asked(caller: Caller, like: Json, method: str) -> Json:
    """The response to another request about the same task."""
    document = {**like, "method": method, "id": f"agw-task-{secrets.token_hex(4)}"}
    return await caller.response(Ask("send", to_json(document), document, MODERN))


def told(wanted: Any, task: Json) -> Answer:
    return Answer(200, whole=to_json({"jsonrpc": "2.0", "id": wanted, "result": legacy_task(task)}))


def refused(wanted: Any, response: Json) -> Answer:
    return Answer(200, whole=to_json(legacy_response(response, "tasks/get", wanted)))


def response_of(task: Json, wanted: Any) -> Json:
    """What came of a task that is over, as the response to a request for its result."""
    response: Json = {"jsonrpc": "2.0", "id": wanted}
    if task.get("status") == "completed":
        return {**response, "result": related(legacy_result(member(task, "result"), "tools/call"), task["taskId"])}
    if task.get("status") == "failed":
        return {**response, "error": member(task, "error")}
    return {**response, "error": {"code": INVALID_REQUEST, "message": "the task was cancelled"}}


def pause(task: Json) -> float:
    wanted = task.get("pollIntervalMs")
    return min(max(wanted / 1000 if type(wanted) is int else 1.0, PAUSES[0]), PAUSES[1])
