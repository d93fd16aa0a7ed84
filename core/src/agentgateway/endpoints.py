"""Where upstream connections go, how they are secured, and how many there may be."""

import os
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentgateway.files import Secret


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """What `backendTLS` says; the default verifies the server against the system's trust store.

    `cert`, `key` and `root` are PEM file paths; `root` replaces the system's trust. `hostname` is used for SNI and for
    verification instead of the host dialled. `subject_alt_names`, when given, replaces the host name check: the
    certificate must carry one of them, literally. `insecure_host` skips the name check, `insecure` every check.
    """

    cert: str | None = None
    key: str | None = None
    root: str | None = None
    hostname: str | None = None
    insecure: bool = False
    insecure_host: bool = False
    alpn: tuple[str, ...] = ("http/1.1",)
    subject_alt_names: tuple[str, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Settings are part of a dictionary key on every request: hashing them each time would cost 1 µs.
        files, names = (self.cert, self.key, self.root), (self.hostname, self.alpn, self.subject_alt_names)
        object.__setattr__(self, "_hash", hash((files, names, self.insecure, self.insecure_host)))

    def __hash__(self) -> int:
        return self._hash

    def context(self) -> ssl.SSLContext:
        """Read the files and build a client context (some 20 ms with the system's trust: not for the request path).

        Raises OSError for a file that cannot be read, `ssl.SSLError` for one that is not what it should be.
        """
        context = ssl.create_default_context(cafile=self.root)
        if self.insecure or self.insecure_host or self.subject_alt_names:
            context.check_hostname = False
        if self.insecure:
            context.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key, password="")  # or else it asks on the terminal
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        return context

    def stamp(self) -> tuple[int, ...]:
        """Changes when one of the files does. Raises OSError."""
        return tuple(os.stat(path).st_mtime_ns for path in (self.cert, self.key, self.root) if path is not None)

    def refusal(self, connection: ssl.SSLObject) -> str | None:
        """Why this handshake, although valid, is not to be used: the checks OpenSSL does not make for us."""
        if connection.selected_alpn_protocol() not in (None, "http/1.1", "http/1.0"):
            return f"the server chose protocol {connection.selected_alpn_protocol()}"
        if self.insecure or not self.subject_alt_names:
            return None
        certificate = connection.getpeercert() or {}
        names = {str(entry[1]) for entry in certificate.get("subjectAltName", ())}
        if names.isdisjoint(self.subject_alt_names):
            return "the certificate carries none of the expected subject alternative names"
        return None


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that opens tunnels by CONNECT (RFC 9110 section 9.3.6), over TLS if there is `tls`.

    `authorization` is the whole value of `Proxy-Authorization` (section 11.7.2), printable ASCII.
    """

    host: str
    port: int
    tls: TlsSettings | None = None
    authorization: "Secret | None" = None
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.host, self.port, self.tls, self.authorization)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def authority(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Origin:
    """One upstream as connections see it; equal origins share a pool. `unix` is a socket path, dialled instead;
    `proxy` opens the way to the host, whose name it resolves."""

    host: str
    port: int
    tls: TlsSettings | None = None
    unix: str | None = None
    proxy: Proxy | None = None
    authority: str = field(init=False, repr=False, compare=False)
    """`host:port` as the `Host` header wants it: without the scheme's default port, IPv6 in brackets."""
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # An origin is used on every request: what follows from its fields is worked out once.
        host = bracketed(self.host)
        authority = host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"
        object.__setattr__(self, "authority", authority)
        object.__setattr__(self, "_hash", hash((self.host, self.port, self.tls, self.unix, self.proxy)))

    def __hash__(self) -> int:
        return self._hash

    @property
    def label(self) -> str:
        """What error details call it."""
        return self.unix or self.authority


def bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds of every pool; times in seconds, counts per origin. Defaults are the reference's `config.backend`.

    A connection older than `max_age` serves no further request, so that a name that has moved is noticed; 0 is no
    limit.
    """

    connect_timeout: float = 10.0
    idle_timeout: float = 90.0
    max_age: float = 600.0
    max_connections: int = 1024
    max_idle: int = 256
    max_head_bytes: int = 65536
    max_origins: int = 4096  # above it, pools that hold nothing are forgotten, with their counts
    keepalive: bool = True
    keepalive_time: float = 180.0
    keepalive_interval: float = 180.0
    keepalive_retries: int = 9

    def apply(self, sock: socket.socket) -> None:
        """Set the TCP options of a socket about to connect."""
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.keepalive:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        options = (("TCP_KEEPIDLE", self.keepalive_time), ("TCP_KEEPINTVL", self.keepalive_interval))
        for name, value in (*options, ("TCP_KEEPCNT", self.keepalive_retries)):
            if hasattr(socket, name):  # macOS lacks some of them
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), max(1, round(value)))
