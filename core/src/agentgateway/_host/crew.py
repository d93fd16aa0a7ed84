"""The workers that live, taken together: what they ask of their parent, and what the admin ports ask of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from agentgateway._host.admin_ports import set_level
from agentgateway._host.channel import ChannelClosed, Fields
from agentgateway._host.forking import Worker
from agentgateway._host.metrics import Metrics, Snapshot, lasting, merge
from agentgateway._host.shared_sockets import SharedSockets

logger = logging.getLogger("agentgateway.workers")

ANSWER_SECONDS = 2.0


class Crew:
    """The workers, from their births until they are buried. To the admin ports it is the process that serves.

    Readiness means that a worker is ready; metrics are those of all workers, ended ones included, so that counters
    never go back.
    """

    def __init__(self, shared: SharedSockets, remove: Collection[str] = ()) -> None:
        self.workers: list[Worker] = []
        self.shared = shared
        self.draining = False
        self.level: str | None = None
        self._retired: Snapshot = []
        self._metrics = Metrics(remove)
        self.restarts = self._metrics.counter("agentgateway_worker_restarts_total", "Workers replaced after they died.")
        self._metrics.gauge("agentgateway_workers", "Workers that serve.", (), lambda: {(): len(self.serving())})

    def serving(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.serving]

    def answer(self, worker: Worker, frame: Fields) -> Fields:
        """Do what a worker asks."""
        what, answer = frame["what"], {}
        if what == "open":
            answer = self.shared.lend(worker, frame)
        elif what == "close":
            worker.holds.pop(frame["key"], None)
            self.shared.take_back(frame["key"], self.workers)
        elif what == "metrics":
            worker.metrics = frame["metrics"]
        elif what == "ready":
            worker.ready.set()
            logger.info("worker %d: ready", worker.pid)
        self.cover()
        return answer

    def cover(self) -> None:
        """See to it that every socket is served by somebody."""
        self.shared.cover(self.workers)

    async def bury(self, worker: Worker) -> None:
        """Keep what it counted, close what it alone had open."""
        if worker.listening is not None:
            await asyncio.wait([worker.listening])
        self.workers.remove(worker)
        self._retired = merge([self._retired, lasting(worker.metrics)])
        if self.serving():  # else they are kept for whoever comes next
            for key in worker.holds:
                self.shared.take_back(key, self.workers)
        worker.pipe.close()
        if worker.channel is not None:
            await worker.channel.close()

    # --- what the admin ports show and change ------------------------------------------------------------------------

    def ready(self) -> bool:
        return bool(self.serving()) and not self.draining

    async def snapshot(self) -> Snapshot:
        await asyncio.gather(*(self._refresh(worker) for worker in self.workers))
        living = [lasting(one.metrics) if one.gone.is_set() else one.metrics for one in self.workers]
        return merge([self._metrics.snapshot(), self._retired, *living])

    async def _refresh(self, worker: Worker) -> None:
        if worker.serving and worker.channel is not None:
            with suppress(ChannelClosed, TimeoutError):
                worker.metrics = (await worker.channel.ask("metrics", ANSWER_SECONDS))["metrics"]

    async def dump(self) -> dict[str, Any]:
        for worker in self.serving():
            with suppress(ChannelClosed, TimeoutError):
                if worker.channel is not None:
                    dumped: dict[str, Any] = (await worker.channel.ask("dump", ANSWER_SECONDS))["dump"]
                    return dumped
        return {}

    def set_level(self, level: str) -> None:
        self.level = level
        set_level(level)
        for worker in self.workers:
            if worker.channel is not None:
                worker.channel.tell("level", level=level)
