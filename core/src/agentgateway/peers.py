"""A process alone as its own peer, and the pipes that links are made of inside one process."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from agentgateway.interfaces import Answering, Link, PeerGone, Peers

ROOM = 256 * 1024
"""Bytes that wait for their reader before a sender waits, too."""
AGREEMENTS = 10_000
"""Names that are agreed on at the same time; the one unused for longest makes room."""

logger = logging.getLogger("agentgateway.peers")


class Incoming:
    """Frames that wait for their reader. `roomy` is called when there is room again."""

    def __init__(self, roomy: Callable[[], object]) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._end: bool | None = None
        self._roomy = roomy
        self._waiter: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        return self._bytes > ROOM

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._bytes += len(frame)
        self._wake()

    def end(self, *, lost: bool) -> None:
        """Nothing more comes; only the first reason counts."""
        if self._end is None:
            self._end = lost
            self._wake()

    async def get(self) -> bytes | None:
        while not self._frames:
            if self._end is not None:
                if self._end:
                    raise PeerGone
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        was_full, frame = self.full, self._frames.popleft()
        self._bytes -= len(frame)
        if was_full and not self.full:
            self._roomy()
        return frame

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class PipeEnd(Link):
    """One end of a link inside a process."""

    def __init__(self) -> None:
        self._room = asyncio.Event()
        self._incoming = Incoming(self._room.set)
        self._closed = False
        self._other: PipeEnd | None = None  # until this end is left, so that the two are no cycle then

    async def send(self, frame: bytes) -> None:
        other = self._other
        while other is not None and other._incoming.full and not (self._closed or other._closed):
            other._room.clear()
            await other._room.wait()
        if other is None or self._closed or other._closed:
            raise PeerGone
        other._incoming.put(frame)

    async def receive(self) -> bytes | None:
        return await self._incoming.get()

    def close(self) -> None:
        self._leave(lost=False)

    def abort(self) -> None:
        self._leave(lost=True)

    def _leave(self, *, lost: bool) -> None:
        other, self._other = self._other, None
        self._closed = True
        self._incoming.end(lost=True)
        self._room.set()
        if other is not None:
            other._incoming.end(lost=lost)
            other._room.set()


def pipe() -> tuple[PipeEnd, PipeEnd]:
    """Both ends of a link inside this process."""
    one, other = PipeEnd(), PipeEnd()
    one._other, other._other = other, one
    return one, other


class LocalPeers(Peers):
    """What lives in this process. `own` is the worker's name; it stands in front of addresses, with a dot."""

    def __init__(self, own: str = "0") -> None:
        self._own = own
        self._open: dict[str, Answering] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._agreed: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def open(self, answering: Answering) -> str:
        address = f"{self._own}.{secrets.token_urlsafe(24)}"
        self._open[address] = answering
        return address

    def close(self, address: str) -> None:
        self._open.pop(address, None)

    async def call(self, address: str) -> Link:
        answering = self._open.get(address)
        if answering is None:
            raise PeerGone
        ours, theirs = pipe()
        self.run(answering, theirs)
        return ours

    def run(self, answering: Answering, link: Link) -> None:
        """Have a link answered, in a task of its own."""
        task = asyncio.get_running_loop().create_task(_answered(answering, link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def agree(self, name: str, value: str, instead_of: str = "", *, seconds: float) -> str:
        found = self.agreed(name)
        if found and found != instead_of:
            return found
        self._agreed[name] = (value, time.monotonic() + seconds)
        if len(self._agreed) > AGREEMENTS:
            self._agreed.popitem(last=False)
        return value

    def agreed(self, name: str) -> str:
        value, until = self._agreed.get(name, ("", 0.0))
        if not value or until < time.monotonic():
            return ""
        self._agreed.move_to_end(name)
        return value

    async def start(self) -> None:
        """Be there for others."""

    async def stop(self) -> None:
        """End what is being answered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _answered(answering: Answering, link: Link) -> None:
    try:
        await answering(link)
        link.close()
    except PeerGone:
        link.abort()
    except asyncio.CancelledError:
        link.abort()
        raise
    except Exception:
        logger.exception("a call of another worker failed")
        link.abort()
