"""Time by participant: a listener whose every step is clocked, for `pipeline.py --profile`."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from statistics import median
from typing import Any

from agentgateway._host.chains import Chain, Step, Steps
from agentgateway._host.routes import Listener, Route
from agentgateway.exchange import Exchange, Target
from agentgateway.hookspecs import PHASES

Function = Callable[..., Any]


class Clock:
    """Durations in nanoseconds by name."""

    def __init__(self) -> None:
        self.durations: dict[str, list[int]] = defaultdict(list)

    def plain(self, name: str, function: Function) -> Function:
        durations, now = self.durations, time.perf_counter_ns

        def clocked(*arguments: Any) -> Any:
            began = now()
            try:
                return function(*arguments)
            finally:
                durations[name].append(now() - began)

        return clocked

    def awaited(self, name: str, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        durations, now = self.durations, time.perf_counter_ns

        async def clocked(*arguments: Any) -> Any:
            began = now()
            try:
                return await function(*arguments)
            finally:
                durations[name].append(now() - began)

        return clocked

    def medians(self) -> dict[str, float]:
        """Microseconds by name: the median, which a call that was interrupted does not move."""
        return {name: median(found) / 1000 for name, found in self.durations.items()}

    def step(self, phase: str, step: Step) -> Step:
        wrap = self.awaited if step.awaits else self.plain
        return step._replace(call=wrap(f"{phase}: {step.name}", step.call))

    def steps(self, phase: str, steps: Steps) -> Steps:
        return tuple(self.step(phase, step) for step in steps)


class ClockedBackend:
    """A backend whose two calls are clocked."""

    def __init__(self, backend: Any, clock: Clock) -> None:
        self._backend = backend
        self.prepare = clock.awaited("upstream: prepare", backend.prepare)
        self.send = clock.awaited("upstream: send (transport, usage)", backend.send)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


class ClockedListener:
    """Stands in for a listener; a request sees the same participants in the same order."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self.place = listener.place
        self.name = listener.name
        self.inline = listener.inline
        self._clock = clock
        self._find = clock.awaited("route match and decode", listener.find)
        self._chains: dict[int, Chain] = {}
        self._targets: dict[int, Target] = {}
        self.chain = self._clocked(listener.chain)

    async def find(self, exchange: Exchange) -> Route:
        route: Route = await self._find(exchange)
        return replace(route, chain=self._clocked(route.chain))

    def _clocked(self, chain: Chain) -> Chain:
        if id(chain) not in self._chains:
            phases: dict[str, Any] = {phase: self._clock.steps(phase, getattr(chain, phase)) for phase in PHASES}
            phases["route"] = tuple(step._replace(call=self._choosing(step.call)) for step in phases["route"])
            self._chains[id(chain)] = replace(chain, **phases)
        return self._chains[id(chain)]

    def _choosing(self, choose: Function) -> Function:
        def chosen(exchange: Exchange) -> Any:
            answer = choose(exchange)
            target = exchange.target
            assert target is not None
            if id(target) not in self._targets:
                backend: Any = ClockedBackend(target.backend, self._clock)
                steps = self._clock.steps("upstream", target.steps)
                self._targets[id(target)] = replace(target, backend=backend, steps=steps)
            exchange.target = self._targets[id(target)]
            return answer

        return chosen


def table(listener: Listener, once: Callable[[Any], object], count: int) -> tuple[float, list[tuple[str, float]]]:
    """Microseconds of a call, and those of each participant, the clock's own share taken off."""
    clock = Clock()
    clocked = ClockedListener(listener, clock)
    bare, nothing = clock.plain("bare", once), clock.plain("nothing", lambda exchange: None)
    for _ in range(count):
        bare(listener)
        nothing(listener)
        once(clocked)
    found = clock.medians()
    own, whole = found.pop("nothing"), found.pop("bare")
    return whole, [(name, us - own) for name, us in found.items()]
