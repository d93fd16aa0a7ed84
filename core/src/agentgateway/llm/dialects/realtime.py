"""The dialect `realtime`: OpenAI's events over a WebSocket, read for their texts and their usage, and passed on as they
are. https://platform.openai.com/docs/api-reference/realtime
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, ClassVar, NamedTuple

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Head, Json, nothing
from agentgateway.llm.dialects.forwarded import Forwarded
from agentgateway.llm.sse import Event
from agentgateway.llm.texts import Slot
from agentgateway.llm.wire import amount

SCOPES: Mapping[str, str] = {
    "text": "messages",
    "transcript": "messages",
    "refusal": "messages",
    "delta": "messages",
    "arguments": "toolInput",
    "output": "toolOutput",
    "instructions": "systemPrompt",
    "prompt": "systemPrompt",
}
"""Keys of events that hold texts, and what they are. What is under `audio` and in a delta of sound is base64."""
SOUND = frozenset(("response.output_audio.delta", "response.audio.delta"))
HEARD = "conversation.item.input_audio_transcription."
"""What the client said aloud, in words: events of the upstream with a text of the client's."""

_texts_so_far = count()  # a text that comes whole is a channel of its own, in whatever session


class Place(NamedTuple):
    """Where a walk through an event has come: the path, and who speaks there."""

    path: str
    role: str


class Realtime(Forwarded):
    """A session has no document of its own: its model is in the query, its texts are in its events."""

    name = "realtime"
    operation: ClassVar[str] = "realtime"
    paths: ClassVar[tuple[str, ...]] = ("/v1/realtime", "/realtime")
    model_in_path: ClassVar[bool] = True
    replies: ClassVar[bool] = False

    def read(self, document: Json, path: str) -> Head:
        message = "this is a WebSocket: ask for an upgrade"
        raise InvalidRequest(message, status=426, code="upgrade_required", headers=[("upgrade", "websocket")])

    def sent_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        """The texts of a client's event."""
        return list(walk(document, Place("", "user"), edited))

    def heard_segments(self, event: Event) -> list[Segment]:
        """What an event of the upstream tells of the client's own words."""
        document = event.document or {}
        if not str(document.get("type")).startswith(HEARD):
            return []
        return list(walk(document, Place("", "user"), event.mark_changed))

    def event_segments(self, event: Event) -> list[Segment]:
        """The texts of the model in an event. The pieces of one text have one path; one that is whole has its own."""
        document = event.document or {}
        kind = str(document.get("type"))
        if kind in SOUND or kind.startswith(HEARD):
            return []
        if kind.endswith(".delta"):
            return list(self._piece(document, kind, event.mark_changed))
        return list(walk(document, Place(f"{next(_texts_so_far)}:{kind}", "assistant"), event.mark_changed))

    def _piece(self, document: Json, kind: str, edited: Callable[[], object]) -> Iterator[Segment]:
        if type(text := document.get("delta")) is str:
            of = [str(document.get(key)) for key in ("response_id", "item_id", "output_index", "content_index")]
            scope = "toolInput" if "arguments" in kind else "messages"
            yield Segment("assistant", scope, "/".join((kind, *of)), text, Slot(document, "delta", edited))

    def ends(self, event: Event) -> bool:
        """Whether every text that came before is whole now."""
        kind = str((event.document or {}).get("type"))
        return kind.endswith(".done") or (not kind.endswith(".delta") and bool(self.event_segments(event)))

    def concludes(self, event: Event) -> bool:
        return (event.document or {}).get("type") == "response.done"

    def usage_fields(self, document: Json) -> Json | None:
        response = document.get("response")
        usage = response.get("usage") if isinstance(response, dict) else None
        return usage if isinstance(usage, dict) else None

    def read_usage(self, fields: Json) -> Usage:
        details = fields.get("input_token_details")
        cached = amount(details, "cached_tokens") if isinstance(details, dict) else 0
        return Usage(amount(fields, "input_tokens"), amount(fields, "output_tokens"), cached)


def walk(value: Any, at: Place, edited: Callable[[], object]) -> Iterator[Segment]:
    """Every text below a value, by the names of the keys that hold one."""
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from walk(one, at._replace(path=f"{at.path}[{index}]"), edited)
    elif isinstance(value, dict):
        yield from _of_object(value, at, edited)


def _of_object(value: Json, at: Place, edited: Callable[[], object]) -> Iterator[Segment]:
    by_model = at.role == "assistant"
    role = value.get("role")
    if isinstance(role, str):
        if by_model and role in ("user", "system"):
            return  # the client's own, which it is told again
        at = at._replace(role=role)
    for key, one in value.items():
        where = f"{at.path}.{key}"
        if isinstance(one, str):
            scope = "systemPrompt" if at.path.endswith(".variables") else SCOPES.get(key)
            if scope is not None:
                scope = "systemPrompt" if at.role == "system" and scope == "messages" else scope
                yield Segment(at.role, scope, where, one, Slot(value, key, edited))
        elif not (by_model and key == "session"):
            yield from walk(one, at._replace(path=where), edited)
