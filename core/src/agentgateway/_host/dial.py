"""A new connection to an origin: names, address families, TCP options, TLS."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from agentgateway.endpoints import Origin, PoolLimits, TlsSettings
from agentgateway.errors import ConnectFailed

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside the previous one (RFC 8305 section 5)."""

_Address = tuple[int, Any]  # family, socket address


async def dial(
    origin: Origin, limits: PoolLimits, context: ssl.SSLContext | None, protocol: Callable[[], asyncio.Protocol]
) -> None:
    """Connect `protocol` to `origin`. Raises `ConnectFailed`, whose detail says why."""
    try:
        transport = await _open(origin, limits, context, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        raise ConnectFailed(detail=f"{origin.unix or origin.authority}: {error}") from error
    if origin.tls is not None:
        refusal = origin.tls.refusal(transport.get_extra_info("ssl_object"))
        if refusal is not None:
            transport.abort()
            raise ConnectFailed(detail=f"{origin.authority}: {refusal}")


async def _open(
    origin: Origin, limits: PoolLimits, context: ssl.SSLContext | None, protocol: Callable[[], asyncio.Protocol]
) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    tls: dict[str, Any] = {}
    if context is not None:
        tls = {
            "ssl": context,
            "server_hostname": _server_name(origin, origin.tls),
            "ssl_handshake_timeout": limits.connect_timeout,
        }
    if origin.unix is not None:
        transport, _ = await loop.create_unix_connection(protocol, origin.unix, **tls)
        return transport
    sock = await _connect(await _resolve(origin.host, origin.port), limits)
    try:
        transport, _ = await loop.create_connection(protocol, sock=sock, **tls)
    except BaseException:
        sock.close()
        raise
    return transport


def _server_name(origin: Origin, tls: TlsSettings | None) -> str:
    return (tls.hostname if tls is not None and tls.hostname else origin.host).rstrip(".")


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
