"""What the gateway lends plugins by their `Host`: counters, token buckets, the store, the other workers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path


class Counter:
    """A counter with labels. `add` costs a dictionary update."""

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket's rule: at most `capacity`, `fill` more every `interval` seconds."""

    capacity: int
    fill: int
    interval: float


class Taken(NamedTuple):
    """The outcome of taking from a bucket: whether it was allowed, what is left, seconds until the next fill."""

    allowed: bool
    remaining: int
    reset: float


class Buckets:
    """Token buckets by key."""

    def take(self, key: str, rule: Bucket, amount: int = 1, *, force: bool = False) -> Taken:
        """Take `amount` if it is there. With `force` it is taken anyway and the bucket may go below zero (a charge
        after the fact); `amount=0` asks whether anything is left."""
        raise NotImplementedError


class Store:
    """Keys to bytes: what has to outlast a process. `url` is `config.store.url`, whose scheme is the name in the entry-
    point group; relative file names start at `folder`. The constructor raises `ConfigError` for a URL that makes no
    sense, and opens nothing.

    What several processes open by one URL they share. A key is any text. Every method raises `StoreFailed` when the
    store cannot do its work; none holds up the event loop. One that is cancelled may have done its work all the same.
    """

    def __init__(self, url: str, folder: Path) -> None:
        raise NotImplementedError

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none, or it has expired."""
        raise NotImplementedError

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Set a value, which expires after `ttl` seconds; None is never, also where the one before it had a time."""
        raise NotImplementedError

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        """Compare and set, at once for everybody: if the value is `old` (None: there is none) it becomes `new` (None:
        it is deleted). Whether it was."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Remove a value, if there is one."""
        raise NotImplementedError

    async def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, in order."""
        raise NotImplementedError

    async def start(self) -> None:
        """Open it, before anything is asked of it."""

    async def stop(self) -> None:
        """Close it."""


class PeerGone(Exception):
    """Nobody is there: a worker has ended, or what it had at an address; or the other end of a link broke off."""


class Link:
    """Frames between two workers, both ways and in order. Who calls opens it and closes it; for who answers it is
    closed at the end of that. What either end sends waits for its reader, up to some 256 KiB and one frame."""

    async def send(self, frame: bytes) -> None:
        """Send, at the pace the other end reads. Raises `PeerGone`."""
        raise NotImplementedError

    async def receive(self) -> bytes | None:
        """The next frame; None when the other end has said all it had to say. Raises `PeerGone`."""
        raise NotImplementedError

    def close(self) -> None:
        """All is said: the other end gets what was sent, and then None."""
        raise NotImplementedError

    def abort(self) -> None:
        """Break off: the other end gets `PeerGone`."""
        raise NotImplementedError


Answering: TypeAlias = Callable[[Link], Awaitable[None]]


class Peers:
    """The workers of this gateway, to each other: what lives in one of them has an address and is reached from all.
    A process alone has the same, with nobody but itself."""

    def open(self, answering: Answering) -> str:
        """An address that nobody can guess, until it is closed. `answering` is run for every link that somebody opens
        to it, and is to end when `Link.receive` or `Link.send` say that the other end has left."""
        raise NotImplementedError

    def close(self, address: str) -> None:
        """Nobody is there any more. Links that are open stay so."""
        raise NotImplementedError

    async def call(self, address: str) -> Link:
        """A link to what is at an address, whichever worker that is in. Raises `PeerGone`, and `UpstreamError` when
        that worker cannot be reached for now."""
        raise NotImplementedError

    def agree(self, name: str, value: str, instead_of: str = "", *, seconds: float) -> str:
        """Have all workers take `value` for that name, for so many seconds; but where another one has said something
        since it was `instead_of`, take that. What holds now."""
        raise NotImplementedError

    def agreed(self, name: str) -> str:
        """What holds for that name; empty for nothing."""
        raise NotImplementedError
