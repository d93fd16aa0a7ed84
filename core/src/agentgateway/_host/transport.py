"""Upstream connections, pooled by origin: the raw face, which the hot path uses. `httpx_face` is the other one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

from agentgateway._host.dial import dial
from agentgateway._host.h1_client import is_stale
from agentgateway._host.pool import Pool, PoolExhausted
from agentgateway._host.request_head import CHUNKED, declared_length, encode_head, in_one_chunk
from agentgateway._host.tls_sessions import resume_sessions
from agentgateway._host.upload import upload
from agentgateway._host.upstream_response import HIGH_WATER, UpstreamResponse
from agentgateway.endpoints import Origin, PoolLimits, TlsSettings
from agentgateway.errors import ConnectFailed, UpstreamTimeout

__all__ = ["Origin", "PoolExhausted", "PoolLimits", "TlsSettings", "Transport", "UpstreamResponse", "encode_head"]

_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"))


class Transport:
    """All upstream connections of a process; belongs to one event loop from its first request on.

    Origins are made once, at load, and kept: a pool is found by its origin on every request.
    """

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self.limits = limits or PoolLimits()
        self._pools: dict[Origin, Pool] = {}
        self._contexts: dict[TlsSettings, tuple[tuple[int, ...], asyncio.Future[ssl.SSLContext]]] = {}
        self._closed = False

    async def send(
        self,
        origin: Origin,
        head: bytes,
        body: bytes | AsyncIterator[bytes] | None,
        *,
        method: bytes,
        head_timeout: float | None,
        expect_stream: bool | None = None,
        connect_timeout: float | None = None,
        body_timeout: float | None = None,
    ) -> UpstreamResponse:
        """Send a request and return its answer as soon as the final head is in; 1xx heads are skipped.

        `head` comes from `encode_head`. A streamed `body` is framed as the head says and stays the caller's to close;
        if the answer comes first, the rest of it is not sent. With `expect_stream` False the call also waits for the
        body, up to 256 KiB of it: one wait less for who reads it whole. What goes wrong after the head is raised by the
        response. Times in seconds: `connect_timeout` covers the wait for a connection too, `head_timeout` starts when
        the request is written, `body_timeout` is the longest silence within the answer's body.

        Raises `ConnectFailed` or `PoolExhausted` (503), `UpstreamTimeout` (504), `UpstreamError` (502), whose `sent`
        tells whether the request may have arrived; and whatever a streamed body raises. Cancelling closes the
        connection.

        A server may close an idle connection just when it is used again. An idempotent request is then sent once more,
        on a new connection (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1). Any other, a POST above all, may have been
        executed although no byte came back: it raises `ConnectFailed` with `sent` True, for the caller's retry policy.
        """
        stream = None if body is None or isinstance(body, bytes) else body
        whole = body if isinstance(body, bytes) else None
        length = None if stream is None else declared_length(head)
        if stream is None and head.endswith(CHUNKED):
            whole = in_one_chunk(whole)
        pool = self._pools.get(origin) or self._pool(origin)
        connection = pool.take() or await pool.acquire(connect_timeout)
        again = stream is None and method in _IDEMPOTENT
        while True:
            response = UpstreamResponse(pool.loop, connection, HIGH_WATER if expect_stream is False else 0)
            try:
                if stream is None:
                    connection.begin(response, head, whole, method, head_timeout, body_timeout)
                    if not response.ready:
                        await response.suspend()
                else:
                    connection.begin(response, head, None, method, None, body_timeout, uploading=True)
                    await upload(connection, response, stream, length, head_timeout)
            except BaseException:
                response.abort()
                raise
            if response.status:
                return response
            if not again or not is_stale(response.failure):
                raise response.told()
            again = False
            connection = await pool.acquire(connect_timeout, fresh=True)

    async def connect(
        self, origin: Origin, protocol: Callable[[], asyncio.Protocol], within: float | None = None
    ) -> None:
        """A connection of the caller's own, outside the pools: `protocol` is made of it. Raises `ConnectFailed`,
        `UpstreamTimeout`."""
        if self._closed:
            raise ConnectFailed(detail="the transport is closed")
        try:
            async with asyncio.timeout(self.limits.connect_timeout if within is None else within):
                await dial(origin, self.limits, self._context, protocol)
        except TimeoutError:
            error = UpstreamTimeout("the upstream cannot be reached in time", detail=f"{origin.label}: connect timeout")
            error.sent = False
            raise error from None

    def stats(self) -> dict[Origin, dict[str, int]]:
        """Per origin: connections `opened` and `reused` so far, `active` and `idle` now, requests `waiting` for one."""
        return {origin: pool.stats() for origin, pool in self._pools.items()}

    async def aclose(self) -> None:
        """Close all connections, running exchanges included; returns when the sockets are gone."""
        self._closed = True
        await asyncio.gather(*(pool.aclose() for pool in self._pools.values()))

    def _pool(self, origin: Origin) -> Pool:
        if self._closed:
            raise ConnectFailed(detail="the transport is closed")
        if len(self._pools) >= self.limits.max_origins:  # origins named by requests must not pile up
            self._pools = {origin: pool for origin, pool in self._pools.items() if not pool.empty}
        pool = self._pools[origin] = Pool(origin, self.limits, asyncio.get_running_loop(), self._context)
        return pool

    async def _context(self, tls: TlsSettings) -> ssl.SSLContext:
        """The context for these settings, built in a thread: it takes some 20 ms, and nobody else should wait."""
        stamp = tls.stamp()  # renewed certificates count from the next connection on
        known = self._contexts.get(tls)
        if known is None or known[0] != stamp:
            building = asyncio.get_running_loop().run_in_executor(None, resuming, tls)
            known = self._contexts[tls] = (stamp, building)
        try:
            return await asyncio.shield(known[1])  # others may wait for the same one
        except OSError:
            if self._contexts.get(tls) is known:
                del self._contexts[tls]
            raise


def resuming(tls: TlsSettings) -> ssl.SSLContext:
    context = tls.context()
    resume_sessions(context)
    return context
