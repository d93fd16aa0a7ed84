"""Events of a stream, held back until the texts in them were judged. No I/O, and no opinion on the texts.

An event leaves when every text in it is decided and every event before it has left. Texts of one path (a content
block, a tool call's arguments) are pieces of one text, its channel, and are decided from its front: what a channel
shows in place of some of them goes into the first event that holds one, and nothing into the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import takewhile
from math import inf

from agentgateway.errors import GuardFailed
from agentgateway.interfaces import Segment
from agentgateway.llm.sse import Event

MAX_CHANNELS = 4096


class _HeldEvent:
    __slots__ = ("event", "size", "waiting")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.size = len(event.raw)
        self.waiting = 0


class _Piece:
    """One segment of a held event: what of its text is decided (`shown`), and what is not (`rest`)."""

    __slots__ = ("held", "rest", "segment", "shown")

    def __init__(self, held: _HeldEvent, segment: Segment) -> None:
        self.held = held
        self.segment = segment
        self.shown = ""
        self.rest = segment.text


class Channel:
    """One text that comes in pieces. `text` is the part that is not decided yet, `context` what had to leave before it
    when the channel seemed to have ended, `due` the length at which it is worth judging again: never, for the arguments
    of a tool call, because half a JSON text cannot be judged."""

    __slots__ = ("_pieces", "_tail", "context", "due", "first", "heard", "text")

    def __init__(self, first: Segment, due: float) -> None:
        self.first = first
        self.text = ""
        self.context = ""
        self.due = due
        self.heard = 0
        self._tail = ""
        self._pieces: deque[_Piece] = deque()

    def segment(self, text: str) -> Segment:
        """A text of this channel as guards take it; replacing it changes nothing."""
        first = self.first
        return Segment(first.role, first.scope, first.path, text, ignore)

    def add(self, piece: _Piece) -> None:
        self.text += piece.rest
        self._pieces.append(piece)

    def settle(self, cut: int, shown: str) -> None:
        """Decide the first `cut` characters, at least one: the client will read `shown` in their place."""
        text, self.text = self.text[:cut], self.text[cut:]
        start, end = _difference(text, shown)
        self._take(start, None)
        self._take(len(text) - start - end, shown[start : len(shown) - end])
        self._take(end, None)

    def _take(self, count: int, shown: str | None) -> None:
        """Decide the next characters: as they are, or `shown`, which the first piece among them gets."""
        while count:
            piece = self._pieces[0]
            taken, piece.rest = piece.rest[:count], piece.rest[count:]
            count -= len(taken)
            piece.shown += taken if shown is None else shown
            shown = shown and ""
            if not piece.rest:
                self._pieces.popleft()
                piece.segment.replace(piece.shown)
                piece.held.waiting -= 1

    def left(self, shown: str, window: float) -> None:
        """Remember the end of what has left, so that a text that goes on after all is judged together with it."""
        self.context = (self.context + shown)[-int(min(window, 65536)) :]


def _difference(text: str, shown: str) -> tuple[int, int]:
    """How long the two are equal from the front, and then from the back; what is between holds some of `text`."""
    if text == shown:
        return len(text), 0
    start = _alike(text, shown)
    end = _alike(text[start:][::-1], shown[start:][::-1])
    if start + end == len(text):  # something was only put in: it goes to a neighbour's event
        return (start - 1, end) if start else (0, end - 1)
    return start, end


def _alike(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def ignore(text: str) -> None:
    """Where a replaced text goes that belongs to no event."""


class HeldEvents:
    """Events in the order they came. `window` is how much of a channel stays behind (infinite: all of it), `limit`
    how many bytes may be held."""

    def __init__(self, window: float, limit: int) -> None:
        self.window = window
        self._limit = limit
        self._size = 0
        self._heard = 0
        self._queue: deque[_HeldEvent] = deque()
        self._channels: dict[str, Channel] = {}
        self._undecided: dict[str, Channel] = {}

    def hold(self, event: Event, segments: Sequence[Segment]) -> list[Channel]:
        """Take an event in; `segments` are those of its texts that are to be judged. Returns their channels.

        Raises `GuardFailed` when more than the limit is held.
        """
        held = _HeldEvent(event)
        self._queue.append(held)
        self._size += held.size
        touched = []
        for segment in segments:
            if not segment.text:
                continue
            channel = self._channels.get(segment.path) or self._open(segment)
            channel.add(_Piece(held, segment))
            self._undecided[segment.path] = channel
            held.waiting += 1
            self._heard += len(segment.text)
            channel.heard = self._heard
            touched.append(channel)
        if self._size > self._limit:
            raise GuardFailed(detail=f"over {self._limit} bytes of a stream would have to be held back")
        return touched

    def _open(self, segment: Segment) -> Channel:
        if len(self._channels) == MAX_CHANNELS:
            raise GuardFailed(detail=f"a stream has over {MAX_CHANNELS} texts")
        due = inf if segment.scope == "toolInput" else self.window * 1.25
        channel = self._channels[segment.path] = Channel(segment, due)
        return channel

    def undecided(self) -> list[Channel]:
        """The channels that still wait for something to be decided."""
        self._undecided = {path: channel for path, channel in self._undecided.items() if channel.text}
        return list(self._undecided.values())

    def stalled(self) -> list[Channel]:
        """Channels that seem to have ended: a window's worth of other texts came since, which wait behind them."""
        if self.window == inf or self._heard < self.window:
            return []
        return [channel for channel in self.undecided() if self._heard - channel.heard >= self.window]

    def ready(self) -> list[Event]:
        """The events that may leave now."""
        events = []
        while self._queue and not self._queue[0].waiting:
            held = self._queue.popleft()
            self._size -= held.size
            events.append(held.event)
        return events
