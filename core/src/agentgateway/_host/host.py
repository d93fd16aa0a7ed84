"""What a plugin borrows from the process: connections, expressions, buckets, counters, plugins of its own."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentgateway._host import registry
from agentgateway._host.chains import Placed
from agentgateway._host.load import Document, validate
from agentgateway._host.metrics import Metrics
from agentgateway._host.pipeline import phase
from agentgateway._host.transport import Origin, TlsSettings, Transport, encode_head
from agentgateway._host.upstream import limit_head
from agentgateway.buckets import MemoryBuckets
from agentgateway.endpoints import Proxy
from agentgateway.errors import ConfigError, ConnectFailed, InternalError
from agentgateway.exchange import Body, Exchange, Headers, Outgoing, Reply, UpgradeRequest
from agentgateway.expressions import Expression, ExpressionSyntaxError, UnknownVariable
from agentgateway.expressions import compile as compile_expression
from agentgateway.interfaces import Buckets, Counter, Host, Level, Store
from agentgateway.peers import LocalPeers
from agentgateway.settings import Secret
from agentgateway.stores import MemoryStore, Shelf
from agentgateway.variables import environment

if TYPE_CHECKING:
    import httpx

    from agentgateway._host.shared_evictions import SharedEvictions

KeyPath = tuple[str | int, ...]

ROOM_FOR_ORIGINS = 4096
AT_RANDOM = secrets.token_bytes(32)
"""What keys are made from where `config.session.key` says nothing: workers are forked from who made it."""
BODILESS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
"""Methods whose requests announce no body when they have none."""


@dataclass
class Lends:
    """What lives as long as the process and outlasts every reload."""

    transport: Transport
    metrics: Metrics
    environ: Mapping[str, str]
    make_buckets: Callable[[str], Buckets] = lambda name: MemoryBuckets()
    buckets: dict[str, Buckets] = field(default_factory=dict)
    peers: LocalPeers = field(default_factory=LocalPeers)
    evictions: SharedEvictions | None = None
    """What workers share of the health of endpoints; None for a process alone."""
    origins: dict[tuple[str, TlsSettings | None, Proxy | None], Origin] = field(default_factory=dict)
    clients: list[httpx.AsyncClient] = field(default_factory=list)
    session_key: Secret | None = None
    """`config.session.key`."""
    store: Store = field(default_factory=MemoryStore)
    """`config.store`."""
    always: list[Placed] = field(default_factory=list)
    """Participants of every chain that no configuration names: the request metrics."""

    def origin(self, url: str, tls: TlsSettings | None, proxy: Proxy | None) -> Origin:
        """The origin of `http(s)://host[:port]` or `unix:path`. Raises `ConnectFailed` for anything else."""
        found = self.origins.get((url, tls, proxy))
        if found is None:
            if len(self.origins) >= ROOM_FOR_ORIGINS:
                self.origins.clear()
            found = self.origins[(url, tls, proxy)] = parse_origin(url, tls, proxy)
        return found


def parse_origin(url: str, tls: TlsSettings | None, proxy: Proxy | None) -> Origin:
    if url.startswith("unix:"):
        if proxy is not None:
            raise ConnectFailed(detail="no proxy leads to a unix socket")
        return Origin("localhost", 80, tls, url.removeprefix("unix:").removeprefix("//"))
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConnectFailed(detail="the upstream's address cannot be read") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConnectFailed(detail="the upstream's address is neither http nor https")
    secure = tls or (TlsSettings() if parts.scheme == "https" else None)
    return Origin(parts.hostname, port or (443 if secure else 80), secure, proxy=proxy)


class PluginHost(Host):
    """The host at one place of the file."""

    def __init__(self, lends: Lends, document: Document, path: KeyPath, level: Level, body_limit: int) -> None:
        self._lends = lends
        self._document = document
        self.path = path
        self.level = level
        self.body_limit = body_limit
        self.peers = lends.peers
        self.at = document.error(path, "").path

    def expression(self, source: str) -> Expression:
        return expression(source, self._document, self.path)

    def build(self, group: str, name: str, config: Any, at: str) -> Any:
        path = (*self.path, *split_path(at))
        try:
            plugin = registry.load(group, name)
            read = validate(plugin.Config, config, self._document, path)
            host = PluginHost(self._lends, self._document, path, self.level, self.body_limit)
            return plugin(read, host)
        except ConfigError as error:
            raise located(error, self._document, path) from error

    def client(self) -> httpx.AsyncClient:
        import httpx

        from agentgateway._host.httpx_face import httpx_transport

        client = httpx.AsyncClient(transport=httpx_transport(self._lends.transport), trust_env=False)
        self._lends.clients.append(client)
        return client

    async def send(self, exchange: Exchange, *, stream: bool) -> Reply:
        """Send `exchange.outgoing` by the raw face of the transport."""
        out = exchange.outgoing
        if out is None:
            raise InternalError(detail="nothing to send")
        lends, method = self._lends, out.method
        place = (out.url, out.tls, out.proxy)
        origin = lends.origins.get(place) or lends.origin(*place)
        if exchange.request.upgrade:
            return await self._upgrade(exchange, out, origin)
        body, length = ready(out.body)
        head = encode_head(
            method,
            out.target,
            out.authority or origin.authority,
            out.headers.raw,
            content_length=length if length or method not in BODILESS else None,
            chunked=length is None,
        )
        response = await lends.transport.send(
            origin,
            head,
            body,
            method=method.encode(),
            head_timeout=out.head_timeout,
            expect_stream=stream,
            connect_timeout=out.connect_timeout,
        )
        exchange.answered_at = time.monotonic()
        whole = response.body
        if whole is None and stream:
            return Reply(response.status, Headers(response.headers), response, upstream=True)
        if whole is None or len(whole) > self.body_limit:
            whole = await response.read(self.body_limit)
        return Reply(response.status, Headers(response.headers), whole, upstream=True)

    async def ready(self, exchange: Exchange) -> Reply | None:
        target = exchange.target
        if target is None:
            raise InternalError(detail="nothing to make ready")
        reply = await target.backend.prepare(exchange) or await phase(target.steps, exchange)
        limit_head(exchange)
        exchange.sent_at = time.monotonic()
        return reply

    async def _upgrade(self, exchange: Exchange, out: Outgoing, origin: Origin) -> Reply:
        from agentgateway._host.upstream_socket import open_socket  # wsproto, on first use

        assert isinstance(exchange.request, UpgradeRequest)
        offered = exchange.request.subprotocols
        reply = await open_socket(self._lends.transport, origin, out, offered, self.body_limit)
        exchange.answered_at = time.monotonic()
        return reply

    def environment(self, name: str) -> str | None:
        return self._lends.environ.get(name)

    def key(self, purpose: str) -> bytes:
        configured = self._lends.session_key
        secret = configured.reveal().encode() if configured is not None else AT_RANDOM
        return hmac.digest(secret, b"agentgateway " + purpose.encode(), "sha256")

    def buckets(self, name: str) -> Buckets:
        if name not in self._lends.buckets:
            self._lends.buckets[name] = self._lends.make_buckets(name)
        return self._lends.buckets[name]

    def store(self, name: str) -> Store:
        return Shelf(self._lends.store, name)

    def counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return self._lends.metrics.counter(f"agentgateway_{name}_total", text, labels)

    def watch(self, path: Path) -> None:
        self._document.files.add(path)


def expression(source: str, document: Document, path: KeyPath) -> Expression:
    """What a text of the file compiles to; `path` is the place of who uses it. Raises `ConfigError` at the text's own
    place."""
    try:
        return compile_expression(source, environment())
    except ExpressionSyntaxError as error:
        message, hint = str(error), ""
        if isinstance(error, UnknownVariable):
            distribution = registry.offered_by("agentgateway.variables", error.name)
            if distribution is not None:
                message += ": no installed plugin provides it"
                hint = f"pip install {distribution}"
        raise document.error(document.find(source, path) or path, message, hint) from error


def ready(body: bytes | Body) -> tuple[bytes | AsyncIterator[bytes] | None, int | None]:
    """A body as the transport takes it, None for an empty one; and its length, None for one that nobody knows."""
    whole = body if isinstance(body, bytes) else body.data
    if whole is not None:
        return whole or None, len(whole)
    assert isinstance(body, Body)
    return body.__aiter__(), body.length


def split_path(at: str) -> KeyPath:
    """`request[0].regex` as ("request", 0, "regex")."""
    keys: list[str | int] = []
    for part in at.replace("]", "").split("."):
        name, *indexes = part.split("[")
        if name:
            keys.append(name)
        keys.extend(int(index) for index in indexes)
    return tuple(keys)


def located(error: ConfigError, document: Document, path: KeyPath) -> ConfigError:
    """The error with file, line and key path, if it does not know them yet; a path below this place is kept."""
    if error.file or hasattr(error, "errors"):
        return error
    here = document.error(path, "").path
    exact = split_path(error.path) if error.path.startswith((f"{here}.", f"{here}[")) else path
    return document.error(exact, error.message, error.hint)
