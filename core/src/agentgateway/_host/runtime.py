"""What lives as long as the process: the current gateway, the connections and counters that outlast it, reloading."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from agentgateway._host import circuits
from agentgateway._host.access_log import LINES
from agentgateway._host.assembly import assemble
from agentgateway._host.chains import Placed
from agentgateway._host.gateway import Gateway
from agentgateway._host.host import Lends, expression
from agentgateway._host.load import Document, read
from agentgateway._host.metrics import PREFIX, Metrics
from agentgateway._host.price_sources import PriceSources, slots_of
from agentgateway._host.request_metrics import RequestMetrics
from agentgateway._host.sockets import CannotListen
from agentgateway._host.state import opened, store_of
from agentgateway._host.static_config import StaticConfig
from agentgateway._host.transport import Transport
from agentgateway._host.watch import FileWatch
from agentgateway.buckets import MemoryBuckets
from agentgateway.endpoints import PoolLimits
from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange
from agentgateway.expressions import ExpressionError
from agentgateway.health import LABELS
from agentgateway.interfaces import Buckets
from agentgateway.llm.encodings import ENCODINGS
from agentgateway.variables import ENVIRONMENT

logger = logging.getLogger("agentgateway.runtime")


class Runtime:
    """One process's gateway. `gateway` is swapped by a reload; each request keeps the one it began with."""

    def __init__(
        self,
        file: str | None,
        document: Document,
        environ: Mapping[str, str],
        settings: StaticConfig,
        shared_folder: Path | None = None,
        number: int = 0,
    ) -> None:
        """`shared_folder` is where several workers of one gateway keep what they share, `number` which of them this
        one is. Raises `ConfigError`."""
        self._file = file
        self._environ = environ
        self.metrics = Metrics(settings.metrics.remove)
        self.ready = False
        self.draining = False
        self.cutting = False
        name, text = "agentgateway_access_log_dropped_total", "Lines of the access log that nobody read."
        self.metrics.reading(name, "counter", text, (), LINES.outlet.counted)
        self.reloads = self.metrics.counter("agentgateway_config_reloads_total", "Reloads by outcome.", ("outcome",))
        ENVIRONMENT.update(podName=environ.get("POD_NAME", ""), namespace=environ.get("NAMESPACE", ""))
        lends = Lends(Transport(pool_limits(settings)), self.metrics, environ, buckets_in(shared_folder))
        lends.store = store_of(settings, document, environ)
        if shared_folder is not None:
            from agentgateway._host.shared_evictions import SharedEvictions
            from agentgateway._host.shared_peers import SharedPeers

            lends.evictions = SharedEvictions(shared_folder)
            lends.peers = SharedPeers(shared_folder, number)
        counted = RequestMetrics(self.metrics, own_labels(settings, document))
        lends.always.append(Placed(counted, "metrics", "gateway", ""))
        self._prices = PriceSources()
        if (exact := settings.token_encodings) is not None:
            ENCODINGS.use(exact.folder, exact.models)
        priced = slots_of(settings, document)
        self.gateway = assemble(document, lends)
        name, text = "agentgateway_endpoint_evicted", "1 while an endpoint is left alone, else 0."
        self.metrics.gauge(name, text, LABELS, lambda: self.gateway.evicted(), keep="max")
        name, text = circuits.METRIC
        self.metrics.gauge(
            name, text, circuits.LABELS, lambda: circuits.opened(self.gateway.parts.values()), keep="max"
        )
        self._prices.use(priced)
        refuse_unknown_metrics(settings, self.metrics, document)
        self._lends = lends
        self.on_swap: list[Callable[[Gateway], None]] = []
        """Called with each new gateway; the server opens and closes ports there."""
        self.prepare: Callable[[Gateway], Awaitable[None]] | None = None
        """Asked before a swap: the server opens ports that are new, and raises where it cannot."""
        self._watch: FileWatch | None = None
        self._reloading = asyncio.Lock()
        self._old: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        """Open the store, and start the plugins. Raises `ConfigError` for a store that cannot be used."""
        await opened(self._lends.store, self.gateway.document)
        await self._lends.peers.start()
        await self.gateway.start()

    async def start(self) -> None:
        """What serving needs: the plugins, prices, and an eye on the file unless it came from standard input."""
        await self.open()
        self._prices.start()
        if self._file not in (None, "-"):
            self._watch = FileWatch(self.gateway.document.files)
            self._tasks.add(asyncio.create_task(self._follow(self._watch)))

    async def stop(self) -> None:
        """Stop watching, then the plugins, then the connections and the store."""
        self.ready = False
        for task in (*self._tasks, *self._old):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._old, return_exceptions=True)
        await self._prices.stop()
        if self._watch is not None:
            await self._watch.close()
        await self.gateway.stop()
        await self._lends.peers.stop()
        for client in self._lends.clients:
            await client.aclose()
        await self._lends.transport.aclose()
        await self._lends.store.stop()
        LINES.flush()
        LINES.outlet.close()

    async def _follow(self, watch: FileWatch) -> None:
        if changed_since(self.gateway.document):
            await self.reload()
        async for _ in watch.changes():
            await self.reload()

    def ask_to_reload(self) -> None:
        """Reload soon, whether the file changed or not; for a signal."""
        if self._file in (None, "-"):
            logger.warning("no file to reload: standard input is read once")
        elif self._watch is not None:  # else it is about to be read
            task = asyncio.get_running_loop().create_task(self.reload())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def reload(self) -> bool:
        """Read the file again. A configuration that cannot be used changes nothing but the log; one that comes during
        the drain, nothing at all."""
        async with self._reloading:
            if self.draining:
                return False
            started = time.monotonic()
            try:
                document = read(self._file, environ=self._environ)
                fresh = assemble(document, self._lends, self.gateway)
                priced = slots_of(fresh.settings, document)
                if self.prepare is not None:
                    await self.prepare(fresh)
                await fresh.start(self.gateway)
            except (ConfigError, CannotListen) as error:
                logger.error("configuration refused, the previous one stays in use\n%s", error)
                self.reloads.add(("refused",))
                return False
            except Exception:
                logger.exception("configuration refused, the previous one stays in use")
                self.reloads.add(("refused",))
                return False
            self._swap(fresh)
            self._prices.use(priced)
            self._prices.start()
            self.reloads.add(("taken",))
            logger.info("configuration reloaded in %.0f ms", (time.monotonic() - started) * 1000)
            return True

    def _swap(self, fresh: Gateway) -> None:
        old, self.gateway = self.gateway, fresh
        for changed in self.on_swap:
            changed(fresh)
        if self._watch is not None:
            self._watch.update(fresh.document.files)
        if fresh.settings.without_prices != old.settings.without_prices:
            logger.warning("`config` changed: that part needs a restart")
        task = asyncio.create_task(self._retire(old))
        self._old.add(task)
        task.add_done_callback(self._old.discard)

    async def _retire(self, old: Gateway) -> None:
        """Stop what only the old gateway used, when its last request has ended."""
        await old.idle()
        await old.stop(keep=self.gateway)


def changed_since(document: Document) -> bool:
    """Whether the file reads differently than when it was read, before anybody watched it."""
    try:
        return Path(document.source.file).read_text() != document.source.text
    except OSError:
        return True
    except ValueError:
        return False


def buckets_in(folder: Path | None) -> Callable[[str], Buckets]:
    """Buckets in memory for one process; in a shared file for several."""
    if folder is None:
        return lambda name: MemoryBuckets()
    from agentgateway._host.shared_buckets import SharedBuckets

    return lambda name: SharedBuckets(folder, name)


def refuse_unknown_metrics(settings: StaticConfig, metrics: Metrics, document: Document) -> None:
    """`config.metrics.remove` names what there is. Raises `ConfigError`."""
    for index, name in enumerate(settings.metrics.remove):
        if not metrics.known(name):
            close = get_close_matches(name.removeprefix(PREFIX), metrics.names(), n=1)
            hint = f"did you mean {close[0]}?" if close else f"metrics: {', '.join(metrics.names())}"
            raise document.error(("config", "metrics", "remove", index), "no metric of that name", hint)


def own_labels(settings: StaticConfig, document: Document) -> list[tuple[str, Callable[[Exchange], str]]]:
    """`config.metrics.fields.add`: labels by expression. Raises `ConfigError`."""
    return [(name, label(source, name, document)) for name, source in settings.metrics.fields.add.items()]


def label(source: str, name: str, document: Document) -> Callable[[Exchange], str]:
    compiled = expression(source, document, ("config", "metrics", "fields", "add", name))

    def read(exchange: Exchange) -> str:
        try:
            return str(compiled.value(exchange))
        except ExpressionError:
            return "unknown"

    return read


def pool_limits(settings: StaticConfig) -> PoolLimits:
    config = settings.backend
    return PoolLimits(
        connect_timeout=config.connect_timeout,
        idle_timeout=config.pool_idle_timeout,
        max_age=config.pool_max_age,
        max_connections=config.pool_max_size,
        keepalive=config.keepalives.enabled,
        keepalive_time=config.keepalives.time,
        keepalive_interval=config.keepalives.interval,
        keepalive_retries=config.keepalives.retries,
    )
