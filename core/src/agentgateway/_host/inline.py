"""Driving the pipeline without a task: its coroutine goes on inside the callback of whatever it waited for.

A request whose participants are all plain functions waits for nothing but the connections on both sides of it, and
each of those waits is a `Suspension`. Whoever meets something else on the way (a participant that is a coroutine
function, a stream that a plugin wrapped) asks for a task with `in_a_task`, and the same coroutine goes on in one.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from agentgateway._host import suspension
from agentgateway._host.suspension import PARK

logger = logging.getLogger("agentgateway.server")

_TASK = object()
_ENDED = object()


@types.coroutine
def in_a_task() -> Generator[object, None, None]:
    """From here on the caller runs in a task, if it did not before: what follows may await anything."""
    if suspension.present is not None:
        yield _TASK


class Drive:
    """One coroutine, from its first step to its end, which `ended` is told of.

    Everything runs in a copy of `context`: what a participant sets in a context variable belongs to this request,
    whoever's callback begins or resumes it. Nothing that the coroutine raises escapes into that callback.
    """

    __slots__ = ("_context", "_coroutine", "_ended", "_loop", "_running", "_task")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, None],
        ended: Callable[[], None],
        context: contextvars.Context,
    ) -> None:
        self._loop = loop
        self._coroutine: Coroutine[Any, Any, None] | None = coroutine
        self._ended = ended
        self._context = context.copy()
        self._running = False
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Raise CancelledError where the coroutine waits. It ends at once, unless it is in a task."""
        if self._running or self._task is not None:
            # Behind the first step of a task: one that is cancelled before never runs, nor does its `finally`.
            self._loop.call_soon(self._cancel_later)
        elif self._coroutine is not None:
            self.resume(asyncio.CancelledError())

    def _cancel_later(self) -> None:
        if self._task is not None:
            self._task.cancel()
        elif self._coroutine is not None:
            self.resume(asyncio.CancelledError())

    def resume(self, error: BaseException | None = None) -> None:
        """Take the next step, or the first; `error` is raised where the coroutine waits."""
        coroutine = self._coroutine
        if coroutine is None:
            return
        before, suspension.present = suspension.present, self
        self._running = True
        waits_for: object = _ENDED
        try:
            if error is None:
                waits_for = self._context.run(coroutine.send, None)
            else:
                waits_for = self._context.run(coroutine.throw, error)
        except (StopIteration, asyncio.CancelledError):
            pass
        except Exception:
            logger.exception("a request ended in an error of the gateway")
        finally:
            self._running = False
            suspension.present = before
            error = None  # whose traceback leads to this frame
        if waits_for is PARK:
            return
        self._coroutine = None
        if waits_for is _ENDED:
            self._ended()
        else:
            self._task = self._loop.create_task(rest(coroutine, waits_for), context=self._context)
            self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a request ended in an error of the gateway", exc_info=error)
        self._ended()


async def rest(coroutine: Coroutine[Any, Any, None], waits_for: object) -> None:
    """What is left of a coroutine that has begun, which `await` refuses, and waits for something."""
    await _rest(coroutine, waits_for)


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, None], waits_for: object) -> Generator[object, None, None]:
    while True:
        error: BaseException | None = None
        if waits_for is not _TASK:
            try:
                yield waits_for
            except BaseException as raised:
                error = raised
        try:
            waits_for = coroutine.send(None) if error is None else coroutine.throw(error)
        except StopIteration:
            return
        finally:
            error = None  # whose traceback leads to this frame
