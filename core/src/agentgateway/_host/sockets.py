"""Listening sockets: opening them, and saying where they are."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import sys
from typing import Protocol

from agentgateway.settings import ListenAddress

logger = logging.getLogger("agentgateway.server")

BACKLOG = 2048
IN_USE = (errno.EADDRINUSE, errno.EACCES, errno.EPERM)


class CannotListen(Exception):
    """An address cannot be listened on; the message says which and why."""


class Sockets(Protocol):
    """Where a server gets its listening sockets from: it opens them itself, or asks its supervisor."""

    async def open(self, name: str, address: str | None, port: int, scheme: str) -> socket.socket:
        """A listening socket for a bind. Raises `CannotListen`."""
        ...

    async def close(self, sock: socket.socket) -> None:
        """Give a socket back."""
        ...


class OwnSockets:
    """Sockets of a process that stands alone."""

    def __init__(self, *, ipv6: bool = True) -> None:
        self._ipv6 = ipv6

    async def open(self, name: str, address: str | None, port: int, scheme: str) -> socket.socket:
        sock = listen(address, port, ipv6=self._ipv6)
        announce(sock, scheme, f"gateway {name}")
        return sock

    async def close(self, sock: socket.socket) -> None:
        sock.close()


def listen(address: str | None, port: int, *, ipv6: bool = True) -> socket.socket:
    """A listening TCP socket; every address of both families when `address` is None. Raises `CannotListen`."""
    host = address if address is not None else "::" if ipv6 and socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104
    if host == "localhost":
        host = "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = address is None and family == socket.AF_INET6
    try:
        sock = socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        if dual and error.errno not in IN_USE:
            return listen("0.0.0.0", port)  # noqa: S104  # IPv6 is known to the system but switched off
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        raise CannotListen(f"cannot listen on {where}: {_reason(error)}") from error
    return _with_options(sock)


def listen_together(address: str | None, port: int, count: int, *, ipv6: bool = True) -> list[socket.socket]:
    """Up to `count` listening sockets on one address, over which the kernel spreads connections evenly; one alone where
    the system does no such thing. Raises `CannotListen`, also when others than these listen there."""
    # Bound before it is said to share, so that it finds out who is there: a second gateway would share, too.
    together = [listen(address, port, ipv6=ipv6)]
    first = together[0]
    if count == 1 or not sys.platform.startswith("linux"):  # elsewhere the last one gets everything
        return together
    try:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        while len(together) < count:
            together.append(_beside(first))
    except OSError as error:
        logger.debug("workers share one queue of connections: %s", error)
        for sock in together[1:]:
            sock.close()
        return [first]
    return together


def listen_at(address: ListenAddress) -> socket.socket:
    """A listening socket at an address of the configuration that is not `off`. Raises `CannotListen`."""
    if not address.socket:
        return listen(address.host, address.port)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(address.socket).st_mode) and not _answers(address.socket):
                os.unlink(address.socket)
        mask = os.umask(0o177)  # nobody else, until somebody opens it up
        try:
            sock.bind(address.socket)
        finally:
            os.umask(mask)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise CannotListen(f"cannot listen on {address}: {_reason(error)}") from error
    return sock


def announce(sock: socket.socket, scheme: str, what: str) -> None:
    """Say where what listens; the only way to learn of a port that the system chose."""
    logger.info("listening on %s (%s)", place(sock, scheme), what)


def place(sock: socket.socket, scheme: str = "http") -> str:
    """Where a socket listens: `http://127.0.0.1:4000`, `http://[::]:4000`, `unix:/run/admin.sock`."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{scheme}://{host}:{name[1]}"


def _beside(first: socket.socket) -> socket.socket:
    """One more socket where `first` listens."""
    sock = socket.socket(first.family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if sock.family == socket.AF_INET6:
            only = first.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.bind(first.getsockname())
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return _with_options(sock)


def _with_options(sock: socket.socket) -> socket.socket:
    """Connections inherit both."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return sock


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
