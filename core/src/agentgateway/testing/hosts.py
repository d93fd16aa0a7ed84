"""A host for plugins under test, and phases without a server."""

from __future__ import annotations

import inspect
import re
import ssl
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from agentgateway.buckets import MemoryBuckets
from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange, Reply
from agentgateway.expressions import Expression, ExpressionSyntaxError
from agentgateway.expressions import compile as compile_expression
from agentgateway.hookspecs import PHASES, Later
from agentgateway.interfaces import Buckets, Counter, Host, Level, Policy, Store
from agentgateway.peers import LocalPeers
from agentgateway.stores import MemoryStore, Shelf
from agentgateway.variables import environment

if TYPE_CHECKING:
    import httpx


@cache
def trusted() -> ssl.SSLContext:
    """Whom the machine trusts; 30 ms to read."""
    return ssl.create_default_context()


class CountedLabels(Counter):
    """A counter that remembers: `counts[labels]`."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        self.counts[labels] = self.counts.get(labels, 0) + amount


class LoopbackHost(Host):
    """Everything a plugin may borrow, in this process: real expressions, buckets and store, an ordinary HTTP client.

    `at` is its place, also as keys (`response[0].words`: a guard of replies); `environ` is what `environment` answers
    from; `counters` holds what was counted, by name.
    """

    def __init__(self, at: str = "test", level: Level = "route", environ: dict[str, str] | None = None) -> None:
        self.at = at
        self.path = tuple(int(key) if key.isdigit() else key for key in re.findall(r"[^.\[\]]+", at))
        self.level = level
        self.body_limit = 2 * 1024 * 1024
        self.counters: dict[str, CountedLabels] = {}
        self.watched: set[Path] = set()
        self.peers = LocalPeers()
        self._environ = environ or {}
        self._buckets: dict[str, MemoryBuckets] = {}
        self._store = MemoryStore()
        self._clients: list[httpx.AsyncClient] = []

    def expression(self, source: str) -> Expression:
        try:
            return compile_expression(source, environment())
        except ExpressionSyntaxError as error:
            raise ConfigError(str(error), path=self.at) from error

    def build(self, group: str, name: str, config: Any, at: str) -> Any:
        return make(group, name, config, self)

    def client(self) -> httpx.AsyncClient:
        import httpx

        client = httpx.AsyncClient(trust_env=False, verify=trusted())
        self._clients.append(client)
        return client

    def environment(self, name: str) -> str | None:
        return self._environ.get(name)

    def key(self, purpose: str) -> bytes:
        return sha256(purpose.encode()).digest()

    def buckets(self, name: str) -> Buckets:
        return self._buckets.setdefault(name, MemoryBuckets())

    def store(self, name: str) -> Store:
        return Shelf(self._store, name)

    def counter(self, name: str, text: str, labels: Sequence[str]) -> CountedLabels:
        return self.counters.setdefault(name, CountedLabels())

    def watch(self, path: Path) -> None:
        self.watched.add(path)

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()


def make(group: str, name: str, config: Any, host: Host | None = None, folder: Path | None = None) -> Any:
    """The installed plugin of that name, with its configuration as the file would give it.

    Raises `pydantic.ValidationError` for a wrong configuration.
    """
    (point,) = entry_points(group=group, name=name)
    plugin = point.load()
    read = TypeAdapter(plugin.Config).validate_python(config, context={"folder": folder or Path.cwd()})
    return plugin(read, host or LoopbackHost())


async def run_phase(policy: Policy, phase: str, exchange: Exchange) -> Reply | None:
    """Run one phase of a policy's participants, in order, as the pipeline would."""
    assert phase in PHASES, phase
    for participant in policy.participants():
        hook = getattr(participant.hooks, phase, None)
        if hook is None or not hasattr(hook, "agentgateway_impl"):
            continue
        answer = hook(exchange)
        if isinstance(answer, Later):
            answer = answer.hook(exchange)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is not None:
            assert isinstance(answer, Reply), f"{phase} returned {type(answer).__name__}"
            return answer
    return None
