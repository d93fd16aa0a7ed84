"""The policy `backendTunnel`: connections to a backend go through an HTTP proxy."""

from __future__ import annotations

from base64 import b64encode
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from agentgateway._host.builtin.backend_tls import BackendTlsConfig, refuse_unusable, tls_settings
from agentgateway.endpoints import Proxy
from agentgateway.errors import ConfigError
from agentgateway.exchange import Exchange
from agentgateway.files import Secret
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Host, Level, Policy
from agentgateway.settings import PluginConfig, problem


class ProxyAddress(PluginConfig):
    """Where the proxy is."""

    host: str = Field(pattern=r"^([\w.\-]+|\[[\w:.]+\]):\d{1,5}$", examples=["proxy.example.com:3128"])
    """`host:port`."""

    @field_validator("host")
    @classmethod
    def _a_port(cls, value: str) -> str:
        if not 0 < int(value.rpartition(":")[2]) < 65536:
            raise problem("there is no such port", "write it like proxy.example.com:3128")
        return value


class BasicCredential(PluginConfig):
    """A name and a password (RFC 7617)."""

    username: str = Field(min_length=1, pattern="^[^:]+$")
    """The name; no colon in it."""
    password: Secret
    """The password, inline or as `{file: …}`."""


class ProxyCredential(PluginConfig):
    """What to show the proxy."""

    key: Secret | None = None
    """A bearer token, inline or as `{file: …}`."""
    basic: BasicCredential | None = None
    """A name and a password."""

    @model_validator(mode="after")
    def _one_kind(self) -> ProxyCredential:
        if (self.key is None) == (self.basic is None):
            raise ValueError("either `key` or `basic`")
        return self

    def authorization(self) -> Secret:
        """The whole value of `Proxy-Authorization`."""
        if self.key is not None:
            return Secret(f"Bearer {self.key.reveal()}")
        assert self.basic is not None
        pair = f"{self.basic.username}:{self.basic.password.reveal()}"
        return Secret(f"Basic {b64encode(pair.encode()).decode()}")


class ProxyPolicies(PluginConfig):
    """How the proxy itself is reached."""

    backend_auth: ProxyCredential | None = None
    """What to show it."""
    backend_tls: BackendTlsConfig | None = Field(None, alias="backendTLS")
    """TLS towards it."""


class BackendTunnelConfig(PluginConfig):
    """An HTTP proxy between the gateway and the backend."""

    proxy: ProxyAddress
    """Where it is."""
    mode: Literal["connect"] = "connect"
    """The tunnel is opened by CONNECT, for plain backends too."""
    policies: ProxyPolicies = ProxyPolicies()
    """`backendAuth` and `backendTLS` of the proxy; the backend's own are another matter."""


class BackendTunnel(Policy):
    """Sends through a proxy."""

    Config = BackendTunnelConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route", "backend"})

    def __init__(self, config: BackendTunnelConfig, host: Host) -> None:
        super().__init__(config, host)
        policies = config.policies
        tls = tls_settings(policies.backend_tls) if policies.backend_tls is not None else None
        if tls is not None:
            refuse_unusable(tls, f"{host.at}.policies.backendTLS")
        name, _, port = config.proxy.host.rpartition(":")
        self._proxy = Proxy(name.strip("[]"), int(port), tls, self._authorization(policies.backend_auth))

    def _authorization(self, credential: ProxyCredential | None) -> Secret | None:
        if credential is None:
            return None
        shown = credential.authorization()
        if not (shown.reveal().isascii() and shown.reveal().isprintable()):
            at = f"{self.host.at}.policies.backendAuth.key"
            raise ConfigError("cannot be sent in a header", path=at, hint="is there a line break in it?")
        return shown

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        if exchange.outgoing is not None:
            exchange.outgoing.proxy = self._proxy
