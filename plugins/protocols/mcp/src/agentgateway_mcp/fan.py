"""Several servers at a time: their results gathered, their streams made one."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from pydantic_core import from_json, to_json

from agentgateway.errors import GatewayError, UpstreamError, UpstreamTimeout
from agentgateway.tasks import in_a_task
from agentgateway_mcp.errors import INVALID_PARAMS, McpError
from agentgateway_mcp.servers import Answer, Said

logger = logging.getLogger("agentgateway.mcp")
T = TypeVar("T")
SPARED = 1.0
"""Seconds that are left to one server when another one has said already what was to be found out."""
WAITING = 64
"""Messages of all servers together that wait for a slow reader."""


async def gather(
    asked: Mapping[str, Callable[[], Awaitable[T]]],
    limit: float,
    *,
    fail_open: bool,
    late: Callable[[str], object] = lambda name: None,
) -> dict[str, T]:
    """What each of several servers answers, in their order. One that fails, or takes longer than `limit` seconds, fails
    all, or is left out; when all fail, the first one's failure is raised. `late` is told who took too long."""

    await in_a_task()
    tasks = {name: asyncio.ensure_future(within(limit, name, ask, late)) for name, ask in asked.items()}
    try:
        if not fail_open:
            await asyncio.gather(*tasks.values())
        results = await asyncio.gather(*tasks.values(), return_exceptions=True)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    found: dict[str, T] = {}
    first: BaseException | None = None
    for name, result in zip(tasks, results, strict=True):
        if isinstance(result, BaseException):
            if not isinstance(result, GatewayError):
                raise result
            first = first or result
        else:
            found[name] = result
    if first is not None and not found:
        raise first
    return found


async def within(limit: float, name: str, ask: Callable[[], Awaitable[T]], late: Callable[[str], object]) -> T:
    """One server's answer. Raises `UpstreamTimeout` after so many seconds."""
    try:
        async with asyncio.timeout(limit):
            return await ask()
    except TimeoutError:
        late(name)
        raise UpstreamTimeout from None


async def first_of(
    asked: Mapping[str, Callable[[], Awaitable[bool]]],
    limit: float,
    *,
    fail_open: bool,
    late: Callable[[str], object] = lambda name: None,
) -> str | None:
    """The first of several servers, in their order, that says yes. All are asked at once; those behind it need not
    answer. One before it that fails, or takes longer than `limit` seconds, fails all; with `fail_open` it is passed
    over, and is waited for `SPARED` seconds at most when another one has said yes. When all fail, the first one's
    failure is raised."""
    await in_a_task()
    tasks = {name: asyncio.ensure_future(within(limit, name, ask, late)) for name, ask in asked.items()}
    failures: list[GatewayError] = []
    try:
        for name, task in tasks.items():
            if fail_open:
                await _passed_over(task, list(tasks.values()))
            else:
                await asyncio.wait((task,))
            try:
                if task.done() and task.result():
                    return name
            except GatewayError as error:
                if not fail_open:
                    raise
                failures.append(error)
        if failures and len(failures) == len(tasks):
            raise failures[0]
        return None
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        failures.clear()  # which refer to this frame


async def _passed_over(task: asyncio.Task[bool], tasks: Sequence[asyncio.Task[bool]]) -> None:
    """Wait for one, but not for long when another one has said yes."""
    while not task.done() and not any(map(says_yes, tasks)):
        await asyncio.wait([one for one in tasks if not one.done()], return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        await asyncio.wait((task,), timeout=SPARED)


def says_yes(task: asyncio.Task[bool]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None and task.result()


def cursor_of(cursors: Mapping[str, str]) -> str | None:
    """One cursor for the pages that several servers still have; None when none has any."""
    return base64.urlsafe_b64encode(to_json(dict(cursors))).rstrip(b"=").decode() if cursors else None


def cursors_in(cursor: Any, targets: Sequence[str]) -> dict[str, str] | None:
    """The inverse; None for a first page. Raises `McpError` for what is no cursor of these targets."""
    if cursor is None:
        return None
    with suppress(ValueError, binascii.Error):
        if isinstance(cursor, str):
            read = from_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if isinstance(read, dict) and read and set(read) <= set(targets) and set(map(type, read.values())) == {str}:
                return read
    raise McpError(INVALID_PARAMS, "Invalid cursor")


PAUSES = (0.02, 60.0)
"""Seconds, at least and at most, after which a stream is taken up again."""


class Place(NamedTuple):
    """Where a stream ended, and the seconds that its server wants to be left alone."""

    event: str
    pause: float


class Merged:
    """The messages of several streams, as they come, each with the name of its server. It ends when all have ended. One
    that ends, or breaks off, is asked for `again` from where it was, if its events have ids, and else let go of."""

    def __init__(
        self, answers: Mapping[str, Answer], again: Callable[[str, str], Awaitable[Answer]] | None = None
    ) -> None:
        self._queue: asyncio.Queue[tuple[str, Said] | None] = asyncio.Queue(WAITING)
        self._answers = dict(answers)
        self._again = again
        self._open = len(answers)
        self._tasks: list[asyncio.Task[None]] = []

    def __aiter__(self) -> AsyncIterator[tuple[str, Said]]:
        return self

    async def __anext__(self) -> tuple[str, Said]:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._pass_on(name, one)) for name, one in self._answers.items()]
        while self._open:
            said = await self._queue.get()
            if said is not None:
                return said
            self._open -= 1
        raise StopAsyncIteration

    async def _pass_on(self, name: str, answer: Answer) -> None:
        try:
            place: Place | None = None
            while (place := await self._read(name, answer, place)) is not None and self._again is not None:
                await asyncio.sleep(min(max(place.pause, PAUSES[0]), PAUSES[1]))
                await answer.close()
                answer = self._answers[name] = await self._again(name, place.event)
                if answer.messages is None:
                    break
        except GatewayError:
            pass  # it has nothing more to say
        except Exception:
            logger.exception("a stream of %s was given up", name)
        finally:
            if self._open:  # else nobody reads any more
                await self._queue.put(None)

    async def _read(self, name: str, answer: Answer, before: Place | None) -> Place | None:
        """All of one stream, which goes on from `before`; the place where it ended, None where it cannot go on."""
        event, pause = (before.event if before is not None else None), 1.0
        with suppress(UpstreamError):
            assert answer.messages is not None
            async for said in answer.messages:
                event = said.event or event
                pause = said.retry / 1000 if said.retry is not None else pause
                await self._queue.put((name, said))
        return Place(event, pause) if event is not None else None

    async def aclose(self) -> None:
        self._open = 0
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for answer in self._answers.values():
            await answer.close()
