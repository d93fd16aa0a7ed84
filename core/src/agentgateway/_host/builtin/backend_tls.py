"""The policy `backendTLS`: how a connection to a backend is secured."""

from __future__ import annotations

import ssl
from typing import ClassVar

from agentgateway.endpoints import TlsSettings
from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway.settings import FilePath, PluginConfig


class BackendTlsConfig(PluginConfig):
    """TLS towards the backend; `{}` verifies it against the system's trust store."""

    cert: FilePath | None = None
    """PEM file of the client certificate."""
    key: FilePath | None = None
    """PEM file of its private key."""
    root: FilePath | None = None
    """PEM file of the authorities to trust instead of the system's."""
    hostname: str | None = None
    """The name to ask for and to verify."""
    insecure: bool = False
    """Verify nothing."""
    insecure_host: bool = False
    """Verify the chain, not the name."""
    alpn: list[str] = ["http/1.1"]
    """Protocols to offer."""
    subject_alt_names: list[str] = []
    """The certificate must carry one of these instead of the host name."""


class BackendTls(Policy):
    """Sends over TLS."""

    Config = BackendTlsConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"route", "backend"})

    def __init__(self, config: BackendTlsConfig, host: Host) -> None:
        super().__init__(config, host)
        self._tls = tls_settings(config)
        refuse_unusable(self._tls, host.at)

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        if exchange.outgoing is not None:
            exchange.outgoing.tls = self._tls


def tls_settings(config: BackendTlsConfig) -> TlsSettings:
    return TlsSettings(
        config.cert,
        config.key,
        config.root,
        config.hostname,
        config.insecure,
        config.insecure_host,
        tuple(config.alpn),
        tuple(config.subject_alt_names),
    )


def refuse_unusable(tls: TlsSettings, at: str) -> None:
    """Stop the start for files that no connection could use later. Raises `ConfigError`."""
    context, key = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "root"
    try:
        if tls.root is not None:
            context.load_verify_locations(tls.root)
        key = "cert"
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key, password="")
        elif tls.key is not None:
            raise ConfigError("a key without its certificate", path=f"{at}.key", hint="`cert` names it")
    except OSError as error:
        reason = error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror
        raise ConfigError(f"cannot be used: {reason}", path=f"{at}.{key}", hint="PEM files are needed") from None
