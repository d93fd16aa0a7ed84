"""Streams of model calls that guards look at: `guarded` holds back what was not judged yet, `observed` does not.

A guard with a window of n characters promises to need no more than n to see what it looks for. So the last n of every
text stay behind, and of what stands before them as much leaves as can be cut off without changing the judgement: both
halves, judged apart, must read as the whole does. That asks nothing of a guard but its verdict, and a mask may be of
any length, stand anywhere and grow with the text. A cut comes after the end of a word, where an expression's `\\b` sees
the same with and without what stood before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from math import inf

from agentgateway.errors import GatewayError, GuardFailed, GuardRejected
from agentgateway.held import Channel, HeldEvents, ignore
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, ErrorFacts
from agentgateway.llm.sse import Event
from agentgateway.streams import OwnedStream, Stream

Check = Callable[[Sequence[Segment]], Awaitable[list[str]]]
"""Judges texts: returns what the client may read in their place. Raises `GuardRejected` or `GuardFailed`."""

Blocked = Callable[[GatewayError, int], object]
"""Told why a stream was ended, and how many characters of judged text had left before."""

PATIENCE = 4
"""Windows of text without the end of a word, after which a cut is made inside one."""

REMEMBERED = 16
"""Judgements of whole texts that are not asked for twice: a stream of `responses` tells each text five times."""

OBSERVED = 1024
"""Characters that an observer is shown at once."""


def guarded(
    stream: Stream,
    dialect: Dialect,
    check: Check,
    blocked: Blocked,
    *,
    scopes: frozenset[str],
    window: float,
    limit: int,
) -> OwnedStream:
    """The stream with its texts judged before they leave; those in other `scopes` pass, in their turn.

    `window` is what is held back of each text (infinite: all of it, to its end), `limit` how many bytes may be held.
    When a check raises, nothing of what it had not passed leaves: the client gets an error in its own dialect, and the
    source is closed.
    """
    view = _Guarded(dialect, check, scopes, window, limit)
    return OwnedStream(_checked(stream, view, dialect, blocked), stream)


def observed(
    stream: Stream, dialect: Dialect, check: Check, blocked: Blocked, *, scopes: frozenset[str]
) -> OwnedStream:
    """The stream as it comes; its texts are shown to `check` after they left, some at a time. When it raises, the
    stream ends as a guarded one does."""
    view = _Observed(dialect, check, scopes)
    return OwnedStream(_watched(stream, view, dialect, blocked), stream)


async def _checked(stream: Stream, view: _Guarded, dialect: Dialect, blocked: Blocked) -> AsyncGenerator[bytes, None]:
    source = aiter(stream)
    chunk: bytes | None = b""
    while chunk is not None:
        chunk = await anext(source, None)
        try:
            out = await (view.end() if chunk is None else view.feed(chunk))
        except GatewayError as error:
            blocked(error, view.released)
            yield _failure(dialect, error)
            return
        if out:
            yield out


async def _watched(stream: Stream, view: _Observed, dialect: Dialect, blocked: Blocked) -> AsyncGenerator[bytes, None]:
    source = aiter(stream)
    chunk: bytes | None = b""
    while chunk is not None:
        chunk = await anext(source, None)
        if chunk is not None:
            yield chunk
        try:
            await view.see(chunk)
        except GatewayError as error:
            blocked(error, view.released)
            yield _failure(dialect, error)
            return


def _failure(dialect: Dialect, error: GatewayError) -> bytes:
    return dialect.encoder().fail(ErrorFacts(error.status, error.message, code=error.code))


class _Guarded:
    released = 0

    def __init__(self, dialect: Dialect, check: Check, scopes: frozenset[str], window: float, limit: int) -> None:
        self._dialect = dialect
        self._check = check
        self._scopes = scopes
        self._window = window
        self._parser = dialect.parser(limit)
        self._held = HeldEvents(window, limit)
        self._told: dict[tuple[str, str, str], str] = {}

    async def feed(self, chunk: bytes) -> bytes:
        for event in self._parser.feed(chunk):
            await self._take(event)
        return self._leaving()

    async def end(self) -> bytes:
        for event in self._parser.end():
            if event.document is not None or self._dialect.ends(event):  # else half an event, which nobody reads
                await self._take(event)
        for channel in self._held.undecided():
            await self._settle(channel)
        return self._leaving()

    def _leaving(self) -> bytes:
        return b"".join(event.encode() for event in self._held.ready())

    async def _take(self, event: Event) -> None:
        for channel in self._held.hold(event, self._texts(event)):
            if len(channel.text) >= channel.due:
                await self._advance(channel)
        ended = self._held.undecided() if self._dialect.ends(event) else self._held.stalled()
        for channel in ended:
            await self._settle(channel)

    def _texts(self, event: Event) -> list[Segment]:
        """The texts of an event that are to be judged. Raises `GuardFailed` for an event that cannot be read."""
        if event.document is None:
            if event.data and event.data.strip() and not self._dialect.ends(event):
                raise GuardFailed(detail="a stream has an event that is no JSON object")
            return []
        return [segment for segment in self._dialect.event_segments(event) if segment.scope in self._scopes]

    async def _settle(self, channel: Channel) -> None:
        """Decide all of a text that has ended, or seems to have."""
        text = channel.text
        shown = await self._judge(channel, text)
        channel.settle(len(text), shown)
        channel.left(shown, self._window)
        self.released += len(shown)

    async def _advance(self, channel: Channel) -> None:
        """Decide what stands more than a window before the end of a text that goes on."""
        text = channel.text[: self._judgeable(channel.text)]
        room = len(text) - int(self._window)
        if room > 0 and (found := await self._cut(channel, text, room)):
            cut, shown = found
            channel.settle(cut, shown)
            channel.context = ""
            self.released += len(shown)
        left = len(channel.text)
        channel.due = max(self._window * 1.25, left + max(self._window, left) / 4)

    def _judgeable(self, text: str) -> int:
        """The length up to the end of the last word: what follows may be the beginning of something else."""
        end = _word_end(text, len(text))
        return len(text) if end <= self._window and len(text) >= PATIENCE * self._window else end

    async def _cut(self, channel: Channel, text: str, room: int) -> tuple[int, str] | None:
        """How much of a text, at most `room`, can be decided now, and what is shown of it."""
        shown = await self._judge(channel, text)
        if shown == text:
            cut = _word_end(text, room) or (room if len(text) >= PATIENCE * self._window else 0)
            return (cut, text[:cut]) if cut else None
        for cut in _cuts(text, room):
            try:
                before = await self._judge(channel, text[:cut])
                (after,) = await self._check([channel.segment(text[cut:])])
            except GuardRejected:
                continue
            if before + after == shown and len(after) >= self._window:
                return cut, before
        return None

    async def _judge(self, channel: Channel, text: str) -> str:
        """What is shown of a text that begins where the channel's undecided one does."""
        shown = await self._shown(channel.segment(channel.context + text))
        if not shown.startswith(channel.context):
            raise GuardFailed(detail="a text went on after it seemed to have ended, and would be masked from before")
        return shown[len(channel.context) :]

    async def _shown(self, segment: Segment) -> str:
        """What a check makes of a text; when it holds all of them, of the same text only once."""
        if self._window < inf:
            (shown,) = await self._check([segment])
            return shown
        key = segment.role, segment.scope, segment.text
        if (known := self._told.get(key)) is None:
            (known,) = await self._check([segment])
            if len(self._told) == REMEMBERED:
                self._told.clear()
            self._told[key] = known
        return known


class GuardedEvents(_Guarded):
    """The same for events that come one by one, in no stream of bytes, and for as long as a session lasts: each
    answer's texts are forgotten behind it."""

    def __init__(
        self, dialect: Dialect, check: Check, blocked: Blocked, *, scopes: frozenset[str], window: float, limit: int
    ) -> None:
        super().__init__(dialect, check, scopes, window, limit)
        self._limit = limit
        self._blocked = blocked

    async def take(self, event: Event) -> list[Event]:
        """The events that may leave now. Raises what the check raises; then nothing more may leave."""
        try:
            await self._take(event)
        except GatewayError as error:
            self._blocked(error, self.released)
            raise
        return self._left(forget=self._dialect.concludes(event))

    async def finish(self) -> list[Event]:
        """No more come: what was held back, judged as it is."""
        try:
            for channel in self._held.undecided():
                await self._settle(channel)
        except GatewayError as error:
            self._blocked(error, self.released)
            raise
        return self._left(forget=True)

    def _left(self, *, forget: bool) -> list[Event]:
        events = self._held.ready()
        if forget and not self._held.undecided():
            self._held = HeldEvents(self._window, self._limit)
        return events


def _word_end(text: str, at: int) -> int:
    """The last place up to `at` that follows something other than a letter, a digit or `_`; 0 when there is none."""
    while at > 0 and (text[at - 1].isalnum() or text[at - 1] == "_"):
        at -= 1
    return at


def _cuts(text: str, room: int) -> Iterator[int]:
    """Places to try a cut at, the furthest first."""
    cut, step = room, 0
    while step < 512 and (cut := _word_end(text, cut - step)) > 0:
        yield cut
        step = step * 2 + 1


class _Observed:
    released = 0

    def __init__(self, dialect: Dialect, check: Check, scopes: frozenset[str]) -> None:
        self._dialect = dialect
        self._check = check
        self._scopes = scopes
        self._parser = dialect.parser()
        self._parts: dict[str, list[Segment]] = {}
        self._unseen = 0

    async def see(self, chunk: bytes | None) -> None:
        for event in self._parser.end() if chunk is None else self._parser.feed(chunk):
            if event.document is not None:
                self._collect(self._dialect.event_segments(event))
        if self._unseen >= OBSERVED or (chunk is None and self._unseen):
            await self._look()

    def _collect(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            if segment.scope in self._scopes:
                self._parts.setdefault(segment.path, []).append(segment)
                self._unseen += len(segment.text)

    async def _look(self) -> None:
        texts = [_joined(parts) for parts in self._parts.values()]
        self.released += self._unseen
        self._parts, self._unseen = {}, 0
        await self._check(texts)


def _joined(parts: Sequence[Segment]) -> Segment:
    first = parts[0]
    return Segment(first.role, first.scope, first.path, "".join(part.text for part in parts), ignore)


__all__ = ["Blocked", "Check", "GuardedEvents", "guarded", "observed"]
