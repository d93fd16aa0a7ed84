"""What things that a vendor keeps have used: batches, and responses made in the background.

Vendors tell it each time somebody asks, from when such a thing has ended. Whoever counts it remembers for longer than
`NEW` what was counted; nothing older is told here, so that what is forgotten is not counted again.

Pages: https://platform.openai.com/docs/api-reference/{batch/object,responses/object},
https://platform.openai.com/docs/guides/background, https://docs.anthropic.com/en/api/retrieving-message-batch-results
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic_core import from_json

from agentgateway.exchange import Usage
from agentgateway.llm.dialect import Json
from agentgateway.llm.dialects.messages_reply import read_usage as read_messages_usage
from agentgateway.llm.dialects.responses_reply import read_usage
from agentgateway.llm.sse import Parser

ENDED_BATCH = frozenset(("completed", "failed", "expired", "cancelled"))
ENDED_RESPONSE = frozenset(("completed", "failed", "incomplete", "cancelled"))
NEW = 30 * 86400.0
"""Seconds from when a thing was made for which its usage is told: longer than batches last, and as long as files of
results and stored responses are kept by default."""
LONGEST = 8 * 1024 * 1024
"""Bytes of a line or an event that is looked at."""


class Used(NamedTuple):
    """What a thing used. Several of them together have a model if all have the same."""

    id: str
    usage: Usage
    model: str | None


def batches(document: Json) -> list[Used]:
    """Those that have ended, in one's own document or in a list."""
    listed = document.get("data") if document.get("object") == "list" else [document]
    found = [_ended(one, ENDED_BATCH) for one in listed] if isinstance(listed, list) else []
    return [one for one in found if one is not None]


def background_response(document: Any, *, made_here: bool = False) -> list[Used]:
    """The response, if it has ended and was made in the background: any other has told its usage to who made it.
    `made_here` says that it is the answer to a call for such a one."""
    if not isinstance(document, dict) or not (made_here or document.get("background") is True):
        return []
    found = _ended(document, ENDED_RESPONSE, of_any_age=made_here)
    return [found] if found is not None else []


def result(document: Json) -> list[Used]:
    """The message in a line of a batch's results, if there is one."""
    outcome = document.get("result")
    message = outcome.get("message") if isinstance(outcome, dict) else None
    fields = message.get("usage") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(fields, dict):
        return []
    return [Used("", read_messages_usage(fields), _text(message, "model"))]


class Sum:
    """Usage that is added up."""

    def __init__(self) -> None:
        self._usage = Usage()
        self._models: set[str | None] = set()

    def add(self, one: Used) -> None:
        amounts = [mine + more for mine, more in zip(self._usage, one.usage, strict=True)]
        self._usage = Usage._make(amounts)._replace(estimated=False)
        if len(self._models) < 2:
            self._models.add(one.model)

    def used(self, identity: str) -> Used | None:
        if not self._usage.total_tokens:
            return None
        return Used(identity, self._usage, next(iter(self._models)) if len(self._models) == 1 else None)


class Lines:
    """Adds up what lines of JSON tell, from bytes in any portions. `fault` is why the sum would be wrong."""

    def __init__(self, read: Callable[[Json], list[Used]], limit: int = LONGEST) -> None:
        self._read = read
        self._limit = limit
        self._rest: list[bytes] = []
        self._size = 0
        self._sum = Sum()
        self.fault = ""

    def feed(self, chunk: bytes) -> None:
        if self.fault:
            return
        first, *others = chunk.split(b"\n")
        self._keep(first)
        for piece in others:
            self._line(b"".join(self._rest))
            self._rest, self._size = [], 0
            self._keep(piece)

    def end(self, identity: str) -> Used | None:
        """The sum, when there are no more bytes."""
        if not self.fault:
            self._line(b"".join(self._rest))
        self._rest = []
        return None if self.fault else self._sum.used(identity)

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            self.fault = f"a line has more than {self._limit} bytes"
            self._rest = []
        elif piece:
            self._rest.append(piece)

    def _line(self, line: bytes) -> None:
        if self.fault or not line.strip():
            return
        try:
            document = from_json(line, cache_strings="none")
        except ValueError:
            document = None
        if not isinstance(document, dict):
            self.fault = "a line is not a JSON object"
            return
        for one in self._read(document):
            self._sum.add(one)


class LastResponse:
    """Finds the response that a stream of events ends with. Raises `UpstreamError` for an event beyond the limit."""

    def __init__(self, *, made_here: bool, limit: int = LONGEST) -> None:
        self._made_here = made_here
        self._parser = Parser(limit)

    def feed(self, chunk: bytes) -> list[Used]:
        """What is told by the events that are complete now."""
        found: list[Used] = []
        for event in self._parser.feed(chunk):
            if b'"usage"' in event.raw and (document := event.document) is not None:
                found += background_response(document.get("response"), made_here=self._made_here)
        return found


def _ended(document: Any, ended: frozenset[str], *, of_any_age: bool = False) -> Used | None:
    """What a thing used that has ended."""
    if not isinstance(document, dict) or _text(document, "status") not in ended:
        return None
    identity, fields = _text(document, "id"), document.get("usage")
    if not identity or not isinstance(fields, dict) or not (of_any_age or _new(document.get("created_at"))):
        return None
    usage = read_usage(fields)
    return Used(identity, usage, _text(document, "model")) if usage.total_tokens else None


def _new(made: Any) -> bool:
    return isinstance(made, int | float) and made > time.time() - NEW


def _text(document: Json, key: str) -> str | None:
    value = document.get(key)
    return value if isinstance(value, str) else None
