"""One configuration, compiled: what is served, by which parts, and how its endpoints do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentgateway._host.chains import Chain
from agentgateway._host.circuits import told
from agentgateway._host.config import DownstreamTls, HttpFrontend
from agentgateway._host.load import Document
from agentgateway._host.parts import PartKey
from agentgateway._host.redaction import redacted
from agentgateway._host.routes import Listener, hostname_matches
from agentgateway._host.static_config import StaticConfig
from agentgateway.exchange import Target

logger = logging.getLogger("agentgateway.gateway")


@dataclass(frozen=True, slots=True)
class BoundListener:
    """A listener with the certificates it answers with."""

    listener: Listener
    tls: DownstreamTls | None


@dataclass(frozen=True, slots=True)
class Bind:
    """One port, and the listeners behind it by host name."""

    name: str
    port: int
    address: str | None
    listeners: tuple[BoundListener, ...]
    edge: bool | None = None
    """Whether the edge reads HTTP/1.1 there; None where the file leaves it to `config.server.edge`."""

    def listener(self, host: str) -> Listener | None:
        for bound in self.listeners:
            if hostname_matches(bound.listener.hostname, host):
                return bound.listener
        return None


@dataclass
class Gateway:
    """One configuration, compiled."""

    document: Document
    settings: StaticConfig
    http: HttpFrontend
    binds: Mapping[int, Bind]
    parts: dict[PartKey, Any]
    files: dict[PartKey, set[Path]]
    routes: tuple[tuple[str, str, Chain], ...]
    targets: tuple[Target, ...] = ()
    _active: int = 0
    _idle: asyncio.Event | None = None

    @property
    def active(self) -> int:
        """Exchanges in flight; the face counts them."""
        return self._active

    @active.setter
    def active(self, count: int) -> None:
        self._active = count
        if count == 0 and self._idle is not None:
            self._idle.set()

    async def idle(self) -> None:
        """Return when the last exchange has ended; for a gateway that gets no new ones."""
        if self._active:
            self._idle = asyncio.Event()
            await self._idle.wait()

    async def start(self, inherited: Gateway | None = None) -> None:
        """Start every part that the gateway before it had not. Raises what a part raises, after stopping the others."""
        running = set(map(id, inherited.parts.values())) if inherited is not None else set()
        try:
            for part in self.parts.values():
                if id(part) not in running:
                    await part.start()
        except BaseException:
            await self.stop(keep=inherited)
            raise

    async def stop(self, keep: Gateway | None = None) -> None:
        """Stop, in reverse, every part that is not in `keep`."""
        kept = set(map(id, keep.parts.values())) if keep is not None else set()
        for part in reversed(list(self.parts.values())):
            if id(part) not in kept:
                try:
                    await part.stop()
                except Exception:
                    logger.exception("%s failed to stop", type(part).__name__)

    def evicted(self) -> dict[tuple[str, ...], float]:
        """1 for each endpoint that is left alone now, else 0; by `health.LABELS`."""
        now = time.monotonic()
        return {
            (target.provider, target.name, target.endpoint): float(target.health.evicted_until > now)
            for target in self.targets
            if target.endpoint
        }

    def dump(self) -> dict[str, Any]:
        """The configuration with secrets redacted, and the compiled chains, for people."""
        chains = [
            {"route": name, "rule": rule, "chain": [origin._asdict() for origin in chain.origins]}
            for name, rule, chain in self.routes
        ]
        endpoints = {id(target.health): endpoint(target) for target in self.targets if target.endpoint}
        return {
            "config": redacted(self.document.data),
            "chains": chains,
            "endpoints": list(endpoints.values()),
            "guards": told(self.parts.values()),
            "activeRequests": self.active,
        }


def endpoint(target: Target) -> dict[str, Any]:
    """Where a target is and how it does; times in seconds."""
    health = target.health
    return {
        "name": target.name,
        "endpoint": target.endpoint,
        "model": target.model,
        "health": round(health.score, 3),
        "latency": round(health.latency, 4),
        "inFlight": health.in_flight,
        "failures": health.failures,
        "evictedFor": round(max(0.0, health.evicted_until - time.monotonic()), 3),
    }
