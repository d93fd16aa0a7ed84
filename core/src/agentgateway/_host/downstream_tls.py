"""TLS with clients: a certificate for each host name, client certificates, and files that change while serving."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentgateway._host.face import Peer
from agentgateway._host.routes import hostname_matches
from agentgateway.errors import ConfigError

if TYPE_CHECKING:
    from agentgateway._host.config import DownstreamTls
    from agentgateway._host.gateway import BoundListener

logger = logging.getLogger("agentgateway.server")

LOOK_AGAIN = 1.0
"""Seconds for which files are taken to be unchanged."""
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # what HTTP/2 allows with TLS 1.2 (RFC 9113 section 9.2.2)
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Handshake:
    """The contexts of one port's listeners, as their files were at one moment. The first one starts every handshake;
    the server name then chooses."""

    listeners: tuple[tuple[str, DownstreamTls], ...]
    contexts: tuple[ssl.SSLContext, ...]

    @property
    def context(self) -> ssl.SSLContext:
        return self.contexts[0]

    def peer(self, connection: ssl.SSLObject) -> Peer:
        """What the handshake told of the client. Raises `ssl.SSLError` when it is less than its listener asks for."""
        used = next(index for index, context in enumerate(self.contexts) if context is connection.context)
        hostname, tls = self.listeners[used]
        if tls.min_tls_version == "1.3" and connection.version() != "TLSv1.3":
            raise ssl.SSLError("the client speaks an older version than its listener")
        certificate = connection.getpeercert() if tls.root is not None else None
        if tls.root is not None and not certificate:
            raise ssl.SSLError("the client showed no certificate")
        return Peer(certificate_facts(certificate, connection) if certificate else None, hostname, tls)

    def choose(self, connection: ssl.SSLObject, server_name: str | None, _: ssl.SSLContext) -> int | None:
        """The callback for the server name (RFC 6066 section 3)."""
        host = (server_name or "").lower()
        for (hostname, _tls), context in zip(self.listeners, self.contexts, strict=True):
            if hostname_matches(hostname, host):
                connection.context = context
                return None
        return None if server_name is None else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


def handshake(listeners: Sequence[BoundListener]) -> Handshake:
    """Read every file of a port's listeners. Raises `ConfigError`.

    OpenSSL keeps the mode of verification and the oldest version of the context that a handshake began with, so that
    one asks for the least any listener does, and `Handshake.peer` for the rest. A resumed session keeps the
    certificate it was made with, so that all listeners that want one must trust the same authorities.
    """
    served = tuple((bound.listener.hostname, bound.tls) for bound in listeners if bound.tls is not None)
    roots = {tls.root for _, tls in served}
    trusted = next((root for root in roots if root is not None), None)
    if len(roots - {None}) > 1:
        raise ConfigError("listeners of one port must agree on `root`", hint="put them on ports of their own")
    contexts = tuple(server_context(tls, trusted) for _, tls in served)
    first = contexts[0]
    first.minimum_version = min(context.minimum_version for context in contexts)
    if trusted is not None:
        first.verify_mode = ssl.CERT_OPTIONAL if None in roots else ssl.CERT_REQUIRED
    made = Handshake(served, contexts)
    first.sni_callback = made.choose
    return made


def server_context(tls: DownstreamTls, trusted: str | None = None) -> ssl.SSLContext:
    """Raises `ConfigError`, which names files but quotes nothing of them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.min_tls_version]
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(tls.cert, tls.key, password=_no_password)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use the certificate {tls.cert} with the key {tls.key}: {_reason(error)}") from error
    if tls.root is not None:
        context.verify_mode = ssl.CERT_REQUIRED  # without it `getpeercert` stays empty, whatever was verified
    if trusted is not None:
        try:
            context.load_verify_locations(trusted)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot use the authorities in {trusted}: {_reason(error)}") from error
    return context


class Certificates:
    """A port's certificates, read anew when their files change. Files that cannot be used change nothing."""

    def __init__(self, listeners: Sequence[BoundListener]) -> None:
        """Raises `ConfigError` when a file cannot be used."""
        self._listeners = tuple(listeners)
        self._stamp = self._look()
        self._looked = time.monotonic()
        self._current = handshake(self._listeners)

    def current(self) -> Handshake:
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN:
            self._looked = now
            self._refresh()
        return self._current

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._current = handshake(self._listeners)
        except ConfigError as error:
            logger.warning("certificates changed, the ones read before stay in use: %s", error)
        else:
            logger.info("certificates were read anew")

    def _look(self) -> tuple[object, ...]:
        files = [(bound.tls.cert, bound.tls.key, bound.tls.root) for bound in self._listeners if bound.tls is not None]
        return tuple(_stamp(name) for names in files for name in names if name is not None)


def certificate_facts(certificate: Mapping[str, Any], connection: ssl.SSLObject) -> dict[str, Any]:
    """A client's certificate as `source.*` shows it."""
    names = [(kind, str(value)) for kind, value in certificate.get("subjectAltName", ())]
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    facts: dict[str, Any] = {
        "subject": _distinguished(subject),
        "issuer": _distinguished([pair for part in certificate.get("issuer", ()) for pair in part]),
        "subjectAltNames": [value for _, value in names],
        "pem": ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True) or b""),
    }
    common = next((value for key, value in subject if key == "commonName"), None)
    spiffe = next((value for kind, value in names if kind == "URI" and value.startswith("spiffe://")), None)
    facts |= {"subjectCn": common} if common is not None else {}
    facts |= {"spiffeId": spiffe} if spiffe is not None else {}
    return facts


_SHORT = {
    "commonName": "CN", "organizationName": "O", "organizationalUnitName": "OU", "countryName": "C",
    "localityName": "L", "stateOrProvinceName": "ST",
}  # fmt: skip


def _distinguished(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{_SHORT.get(key, key)}={value}" for key, value in pairs)


def _no_password() -> str:
    raise ssl.SSLError("the key is encrypted")  # OpenSSL would ask for the password on the terminal


def _stamp(name: str) -> object:
    try:
        status = os.stat(name)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _reason(error: OSError) -> str:
    return (getattr(error, "reason", None) or error.strerror or "unreadable").replace("_", " ").lower()
