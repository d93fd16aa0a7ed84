"""What a session's streams have said, so that a client who lost one can come back for the rest."""

from typing import Any

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore


class Events(EventStore):
    """In memory; an event's id is its place."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        self._events.append((stream_id, message))
        return str(len(self._events))

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        place = int(last_event_id) if last_event_id.isdecimal() else 0
        if not 0 < place <= len(self._events):
            return None
        stream = self._events[place - 1][0]
        for number, (of, message) in enumerate(self._events[place:], place + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
