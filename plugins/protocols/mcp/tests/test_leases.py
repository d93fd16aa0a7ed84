"""How long sessions last, among workers and replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from agentgateway_mcp import leases
from agentgateway_mcp.errors import McpError
from agentgateway_mcp.leases import Leases
from agentgateway_mcp.sessions import Opened

from agentgateway.errors import StoreFailed
from agentgateway.interfaces import Store
from agentgateway.testing import LoopbackHost

IDLE = 1000.0


class Broken(Store):
    def __init__(self) -> None:
        pass

    async def get(self, key: str) -> bytes | None:
        raise StoreFailed(detail="broken")

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        raise StoreFailed(detail="broken")


class Worker(Leases):
    """One worker; those with one host are on one machine, and share its store unless it has one of its own."""

    def __init__(self, host: LoopbackHost, store: Store | None = None) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        super().__init__(host, IDLE, 10 * IDLE, self._begun)
        self._store = store or self._store

    def _begun(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.ensure_future(work))

    async def written(self) -> None:
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()

    async def use(self, session: Opened) -> None:
        self.leave(await self.enter(session))
        await self.written()

    async def gone(self, session: Opened) -> bool:
        try:
            await self.use(session)
        except McpError as error:
            assert error.status == 404
            return True
        return self.has_ended(session)


class Clock:
    """`time` as the leases know it."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(leases, "time", made)
    return made


def opened(clock: Clock, name: str = "one") -> Opened:
    return Opened("2025-11-25", {}, "", clock.now, name)


def apart(host: LoopbackHost) -> Worker:
    """A worker whose store is in its own memory."""
    return Worker(host, LoopbackHost().store("mcp.sessions"))


async def test_a_session_ends_after_its_last_use_in_whichever_worker(clock: Clock) -> None:
    host = LoopbackHost()
    for first, second in ((Worker(host), Worker(host)), (apart(host), apart(host))):
        session = opened(clock, str(id(first)))
        first.begin(session)
        await first.written()
        for worker in (second, second, second, first, second):
            clock.now += IDLE * 0.8
            assert not await worker.gone(session)
        clock.now += IDLE * 1.3
        assert await first.gone(session) and await second.gone(session)
        for worker in (first, second):
            worker.stop()


async def test_a_session_that_is_used_while_it_goes_on_does_not_end(clock: Clock) -> None:
    worker = Worker(LoopbackHost())
    session = opened(clock)
    worker.begin(session)
    lease = await worker.enter(session)
    clock.now += 2 * IDLE
    assert not await worker.gone(session)
    worker.leave(lease)
    clock.now += IDLE * 0.9
    assert not await worker.gone(session)
    worker.stop()


async def test_who_has_another_store_goes_on_with_what_it_does_not_know(clock: Clock) -> None:
    here, elsewhere = Worker(LoopbackHost()), Worker(LoopbackHost())
    session = opened(clock)
    here.begin(session)
    await here.end(session)
    await here.written()
    clock.now += 2 * IDLE
    assert await here.gone(session) and not await elsewhere.gone(session)
    for worker in (here, elsewhere):
        worker.stop()


async def test_an_end_is_not_overwritten_by_a_use(clock: Clock) -> None:
    host = LoopbackHost()
    first, second = Worker(host), Worker(host)
    session = opened(clock)
    first.begin(session)
    lease = await second.enter(session)
    await first.end(session)
    clock.now += IDLE / 2
    second.leave(lease)
    await first.written()
    await second.written()
    assert await host.store("mcp.sessions").get(session.nonce) == leases.ENDED
    assert await second.gone(session)
    for worker in (first, second):
        worker.stop()


async def test_without_a_store_a_session_goes_on_and_ends_on_this_machine(clock: Clock) -> None:
    host = LoopbackHost()
    first, second = Worker(host, Broken()), Worker(host, Broken())
    session = opened(clock)
    first.begin(session)
    assert not await second.gone(session)
    await first.end(session)
    assert await second.gone(session)
    for worker in (first, second):
        worker.stop()


async def test_a_worker_remembers_so_many_and_looks_up_the_rest(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "MOST", 2)
    worker = Worker(LoopbackHost())
    sessions = [opened(clock, name) for name in "abc"]
    for session in sessions:
        worker.begin(session)
    await worker.written()
    assert len(worker._known) == 2
    clock.now += IDLE * 1.3
    assert await worker.gone(sessions[0])
    worker.stop()
