"""What servers say, on its way to the client: names as the client knows them, lists without what is hidden, texts in
front of guards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic_core import from_json, to_json

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Content, Exchange
from agentgateway.interfaces import Segment
from agentgateway_mcp.grammar import question
from agentgateway_mcp.merging import SHARED
from agentgateway_mcp.messages import McpCall
from agentgateway_mcp.naming import Names
from agentgateway_mcp.resumption import of_one
from agentgateway_mcp.rules import allowed
from agentgateway_mcp.task_words import RELATED
from agentgateway_mcp.texts import FREE, texts_of

LISTS = {
    "tools/list": ("tools", "tool", "name"),
    "prompts/list": ("prompts", "prompt", "name"),
    "resources/list": ("resources", "resource", "uri"),
    "resources/templates/list": ("resourceTemplates", "resource", "uriTemplate"),
    "tasks/list": ("tasks", "task", "taskId"),
}
"""Methods that list things: where they stand in the result, what they are, and the member that names them."""
DISPLAYED = "ui/resourceUri"
SHARED_MEMBER = b'"%b"' % SHARED.encode()


def read_message(data: bytes) -> dict[str, Any]:
    """Raises `UpstreamError` for what is no JSON-RPC message."""
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise UpstreamError("the server's answer is no JSON", detail=str(error)) from None
    if not isinstance(document, dict):
        raise UpstreamError("the server's answer is no message", detail=f"a JSON {type(document).__name__}")
    if not isinstance(document.get("method", ""), str):
        raise UpstreamError("the server's answer is no message", detail="its method is no text")
    return document


class Outward:
    """Turns the messages of one server into the client's."""

    def __init__(self, exchange: Exchange, call: McpCall, names: Names, target: str) -> None:
        self._exchange = exchange
        self._call = call
        self._names = names
        self._target = target

    @property
    def needed(self) -> bool:
        """Whether anything may have to change."""
        method, rules = self._call.method, bool(self._call.rules)
        return (
            self._names.marks_uris
            or ((method in LISTS or self._call.purpose == "listen") and (rules or self._names.changes))
            or (method == "resources/read" and rules)
        )

    def leaves(self, data: bytes) -> bool:
        """Whether messages stay as they are, by their bytes, one or several: nothing in them could be a member that is
        another one for clients, however it is spelt, nor an error, which somebody wants to note."""
        return not (
            self._call.method in LISTS
            or self._call.purpose == "listen"  # a list may come there, where a stream goes on
            or b'"uri"' in data
            or b'"taskId"' in data
            or b'"error"' in data
            or b"\\u00" in data
            or (b'"method"' in data and b'"id"' in data)
            or (bool(self._call.rules) and SHARED_MEMBER in data)
        )

    def message(self, document: dict[str, Any]) -> dict[str, Any]:
        """The same message, edited in place."""
        names, target = self._names, self._target
        if "method" in document:
            if "id" in document:
                document["id"] = names.outward_id(target, document["id"])
            params = document.get("params")
            if isinstance(params, dict):
                self._uri(params)
                self._task(params)
        elif isinstance(document.get("result"), dict):
            self.result(document["result"])
        return document

    def result(self, result: dict[str, Any]) -> dict[str, Any]:
        if self._call.rules and SHARED in result:
            result[SHARED] = "private"  # what there is depends on who asks
        listed = LISTS.get(self._call.method) or self._resumed(result)
        if listed is not None:
            key, kind, named = listed
            things = result.get(key)
            if isinstance(things, list):
                result[key] = list(self._things(things, kind, named))
            return result
        self._task(result)
        self._task(result.get("task"))
        if "taskId" in result and isinstance(result.get("result"), dict):  # a task, and what came of it
            self.result(result["result"])
        for part in _contents(result):
            self._uri(part)
            if isinstance(part.get("resource"), dict):
                self._uri(part["resource"])
        return result

    def _resumed(self, result: dict[str, Any]) -> tuple[str, str, str] | None:
        """Which list a result is that comes where a stream goes on: nobody says there what was asked for."""
        if self._call.purpose != "listen":
            return None
        return next((one for one in LISTS.values() if isinstance(result.get(one[0]), list)), None)

    @property
    def renames_events(self) -> bool:
        """Whether the ids of events are others for the client."""
        return len(self._names.targets) > 1

    def event(self, place: str | None) -> str | None:
        """The id of an event as the client knows it."""
        return of_one(self._target, place) if self.renames_events else place

    def _things(self, things: list[Any], kind: str, named: str) -> Iterator[Any]:
        seen = self._names.seen[self._target]
        for thing in things:
            if not isinstance(thing, dict) or not isinstance(thing.get(named), str):
                continue
            own = thing[named]
            if not seen.has(kind, own) or not allowed(self._exchange, kind, self._target, own):
                continue
            if kind == "resource":
                thing[named] = self._names.outward_uri(self._target, own)
            elif kind == "task":
                self._task(thing)
            else:
                thing[named] = self._names.outward(self._target, own, kind)
                if self._names.is_taken(self._target, own, kind, thing[named]):
                    continue
                seen.reworded(kind, own, thing)
                self._displayed(thing.get("_meta"))
            yield thing

    def _task(self, holder: Any) -> None:
        """Name a task, or the one that something is about."""
        meta = holder.get("_meta") if isinstance(holder, dict) else None
        for one in (holder, meta.get(RELATED) if isinstance(meta, dict) else None):
            if isinstance(one, dict) and isinstance(one.get("taskId"), str):
                one["taskId"] = self._names.outward_task(self._target, one["taskId"])

    def _displayed(self, meta: Any) -> None:
        """The page that shows a tool (MCP Apps): its link is named like every resource, or gone if it is hidden."""
        if not isinstance(meta, dict):
            return
        for holder, key in ((meta.get("ui"), "resourceUri"), (meta, DISPLAYED)):
            if isinstance(holder, dict) and isinstance(holder.get(key), str):
                if allowed(self._exchange, "resource", self._target, holder[key]):
                    holder[key] = self._names.outward_uri(self._target, holder[key])
                else:
                    del holder[key]

    def _uri(self, holder: dict[str, Any]) -> None:
        if isinstance(holder.get("uri"), str):
            holder["uri"] = self._names.outward_uri(self._target, holder["uri"])


def _contents(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for key in ("contents", "content", "messages"):
        parts = result.get(key)
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                yield part["content"] if isinstance(part.get("content"), dict) else part


class McpReply(Content):
    """A server's message as guards see it: every text in it that is not the protocol's own."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._changed = False

    def segments(self) -> list[Segment]:
        return texts_of(self.document, question, "tool", self._edited)

    def _edited(self) -> None:
        self._changed = True

    @property
    def changed(self) -> bool:
        return self._changed

    def body(self) -> bytes:
        return to_json(self.document)


class Page(Content):
    """What a server says of a failure that is no message, as guards see it."""

    def __init__(self, text: str) -> None:
        self._holder = {"body": text}
        self._changed = False

    def segments(self) -> list[Segment]:
        return texts_of(self._holder, FREE, "tool", self._edited) if self._holder["body"] else []

    def _edited(self) -> None:
        self._changed = True

    @property
    def changed(self) -> bool:
        return self._changed

    def body(self) -> bytes:
        return self._holder["body"].encode()
