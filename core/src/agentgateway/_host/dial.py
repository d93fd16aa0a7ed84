"""A new connection to an origin: names, address families, TCP options, TLS."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from agentgateway._host.tunnel import ProxyAnswer, open_tunnel
from agentgateway.endpoints import Origin, PoolLimits, Proxy, TlsSettings
from agentgateway.errors import ConnectFailed

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the previous one (RFC 8305 section 5)."""

_Address = tuple[int, Any]  # family, socket address


Contexts = Callable[[TlsSettings], Awaitable[ssl.SSLContext]]
"""Raises OSError for files that cannot be used."""


async def dial(
    origin: Origin, limits: PoolLimits, contexts: Contexts, protocol: Callable[[], asyncio.Protocol]
) -> None:
    """Connect `protocol` to `origin`. Raises `ConnectFailed`, whose detail says why."""
    try:
        tls = await _tls_options(origin.tls, origin.host, contexts, limits)
        if origin.unix is not None:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_unix_connection(protocol, origin.unix, **tls)
        elif origin.proxy is None:
            transport = await _open(origin.host, origin.port, limits, tls, protocol)
        else:
            transport = await _open_through(origin.proxy, origin, limits, contexts, tls, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        raise ConnectFailed(detail=f"{origin.label}: {error}") from error
    if origin.tls is not None:
        refusal = origin.tls.refusal(transport.get_extra_info("ssl_object"))
        if refusal is not None:
            transport.abort()
            raise ConnectFailed(detail=f"{origin.label}: {refusal}")


async def _open(
    host: str, port: int, limits: PoolLimits, tls: dict[str, Any], protocol: Callable[[], asyncio.Protocol]
) -> asyncio.Transport:
    sock = await _connect(await _resolve(host, port), limits)
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(protocol, sock=sock, **tls)
    except BaseException:
        sock.close()
        raise
    return transport


async def _open_through(
    proxy: Proxy,
    origin: Origin,
    limits: PoolLimits,
    contexts: Contexts,
    tls: dict[str, Any],
    protocol: Callable[[], asyncio.Protocol],
) -> asyncio.Transport:
    answer = ProxyAnswer(proxy)
    to_proxy = await _tls_options(proxy.tls, proxy.host, contexts, limits)
    transport = await _open(proxy.host, proxy.port, limits, to_proxy, lambda: answer)
    try:
        if proxy.tls is not None and (refusal := proxy.tls.refusal(transport.get_extra_info("ssl_object"))):
            raise ConnectFailed(detail=f"proxy {proxy.authority}: {refusal}")
        await open_tunnel(transport, answer, proxy, origin)
        return await _hand_over(transport, protocol(), tls)
    except BaseException:
        transport.abort()
        raise


async def _hand_over(
    transport: asyncio.Transport, connection: asyncio.Protocol, tls: dict[str, Any]
) -> asyncio.Transport:
    """From here on the transport, or TLS on top of it, is the connection's."""
    if tls:
        context, names = tls["ssl"], {name: value for name, value in tls.items() if name != "ssl"}
        secured = await asyncio.get_running_loop().start_tls(transport, connection, context, **names)
        assert secured is not None
        transport = secured
    else:
        transport.set_protocol(connection)
    connection.connection_made(transport)
    transport.resume_reading()
    return transport


async def _tls_options(tls: TlsSettings | None, host: str, contexts: Contexts, limits: PoolLimits) -> dict[str, Any]:
    if tls is None:
        return {}
    try:
        context = await contexts(tls)
    except OSError as error:
        raise ConnectFailed(detail=f"{host}: TLS settings: {error}") from error
    return {
        "ssl": context,
        "server_hostname": (tls.hostname or host).rstrip("."),
        "ssl_handshake_timeout": limits.connect_timeout,
    }


async def _resolve(host: str, port: int) -> Sequence[_Address]:
    try:  # a literal address needs no thread
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return _alternate([(int(family), address) for family, _, _, _, address in found])


def _alternate(addresses: Sequence[_Address]) -> Sequence[_Address]:
    """The resolver's order, but with the families taking turns (RFC 8305 section 4)."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    pairs = itertools.zip_longest(first, others)
    return [address for pair in pairs for address in pair if address is not None]


async def _connect(addresses: Sequence[_Address], limits: PoolLimits) -> socket.socket:
    """The first address that answers, each tried a moment after the one before: loop.create_connection's own way, which
    uvloop lacks and which would hide the socket until it is too late for its options."""
    if len(addresses) == 1:
        return await _connect_one(addresses[0], limits)
    attempts: list[asyncio.Task[socket.socket]] = []
    try:
        for address in addresses:
            attempts.append(asyncio.create_task(_connect_one(address, limits)))
            winner = await _winner(attempts, ATTEMPT_DELAY)
            if winner is not None:
                return winner
        while not all(attempt.done() for attempt in attempts):
            winner = await _winner(attempts, None)
            if winner is not None:
                return winner
        raise attempts[0].exception() or OSError("no address")
    finally:
        await _give_up(attempts)


async def _winner(attempts: list[asyncio.Task[socket.socket]], delay: float | None) -> socket.socket | None:
    """The first of the attempts to succeed; None when the delay is over or one more has failed."""
    running = [attempt for attempt in attempts if not attempt.done()]
    done, _ = await asyncio.wait(running, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
    for attempt in done:
        if attempt.exception() is None:
            attempts.remove(attempt)
            return attempt.result()
    return None


async def _give_up(attempts: list[asyncio.Task[socket.socket]]) -> None:
    for attempt in attempts:
        attempt.cancel()
    for outcome in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(outcome, socket.socket):
            outcome.close()


async def _connect_one(address: _Address, limits: PoolLimits) -> socket.socket:
    family, target = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        limits.apply(sock)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock
