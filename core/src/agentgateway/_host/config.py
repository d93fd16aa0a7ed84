"""The fixed part of the configuration dialect. Whatever has a plugin's name in it stays plain data here and is read
by that plugin's own model; see `docs/configuration.md`."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from agentgateway._host.access_log import LogFields
from agentgateway._host.inbound_head import Limits
from agentgateway._host.static_config import StaticConfig
from agentgateway.settings import Duration, FilePath, PathMatch, PluginConfig, StringMatch

Policies = dict[str, Any]
OneOrMany = str | list[str]
HostName = Annotated[
    str,
    Field(
        pattern=r"^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\])?$",
        examples=["api.example.com", "*.example.com"],
    ),
]
"""A host as requests name it, without a port; `*.` stands for one or more labels, `*` for every one."""


class HttpFrontend(PluginConfig):
    """`frontendPolicies.http`: limits on what clients send."""

    max_buffer_size: int = Field(2 * 1024 * 1024, ge=1)
    """Bytes of a body that may be held in memory, for every part of the gateway that reads bodies whole."""
    http1_max_headers: int = Field(100, ge=1)
    """Header fields in a request."""
    http1_max_head_size: int = Field(64 * 1024, ge=1024)
    """Bytes of request line and headers together."""
    http1_idle_timeout: Duration = 600.0
    """How long a connection may be silent between requests."""
    http1_header_timeout: Duration = Field(30.0, gt=0)
    """How long a request's head may take to arrive."""
    body_timeout: Duration = Field(60.0, gt=0)
    """How long a client may pause while sending a body, or while reading a reply."""
    http2_max_concurrent_streams: int = Field(100, ge=1, alias="http2MaxConcurrentStreams")
    """Requests at once on one HTTP/2 connection."""

    @cached_property
    def of_heads(self) -> Limits:
        return Limits(self.http1_max_headers, self.http1_max_head_size)


class FrontendPolicies(PluginConfig):
    http: HttpFrontend = HttpFrontend()
    """Limits on what clients send."""
    access_log: LogFields = LogFields()
    """One line for each request."""


class DownstreamTls(PluginConfig):
    """`tls` of a gateway or listener."""

    cert: FilePath
    """PEM file with the certificate chain."""
    key: FilePath
    """PEM file with the private key."""
    root: FilePath | None = None
    """PEM file of the authorities that client certificates must come from; asks for one (mutual TLS)."""
    min_tls_version: Literal["1.2", "1.3"] = Field("1.2", alias="minTLSVersion")
    """The oldest version that is spoken."""


ListenerProtocol = Literal["HTTP", "HTTPS"]


class FieldMatchConfig(PluginConfig):
    name: str = Field(min_length=1)
    """The header's or parameter's name."""
    value: StringMatch
    """`exact` or `regex`."""


class MatchConfig(PluginConfig):
    path: PathMatch = PathMatch(path_prefix="/")
    """`exact`, `pathPrefix` (whole segments) or `regex`."""
    method: str | None = Field(None, pattern="^[A-Z][A-Z0-9_-]*$", examples=["GET", "POST"])
    """The request's method."""
    headers: list[FieldMatchConfig] = []
    """Headers that must match, all of them."""
    query: list[FieldMatchConfig] = []
    """Query parameters that must match, all of them."""
    model: str | None = Field(None, pattern=r"^(\*?[^*]+|[^*]+\*|\*)$", examples=["gpt-5", "gpt-*", "*-mini", "*"])
    """The model that a call names; one `*` at the start or end stands for anything."""


class RouteBackendConfig(PluginConfig):
    """One entry of `backends`: exactly one kind, a weight, policies."""

    model_config = ConfigDict(extra="allow")

    weight: int = Field(1, ge=0, le=1_000_000)
    """The share of requests, relative to the other entries."""
    policies: Policies = {}
    """Policies of this backend."""


class RouteConfig(PluginConfig):
    name: str | None = None
    """For logs, metrics and targeted policies."""
    namespace: str | None = None
    """Goes in front of the name."""
    rule_name: str | None = None
    """The rule's name inside the route."""
    gateways: OneOrMany = []
    """Which gateways serve it: `name` or `name/listener`; all when empty."""
    hostnames: list[HostName] = []
    """Host names it answers to; `*.example.com` stands for one or more labels."""
    matches: list[MatchConfig] = [MatchConfig()]
    """The requests it takes: any of these."""
    policies: Policies = {}
    """What happens to its requests."""
    backends: list[RouteBackendConfig] = []
    """Where its requests go."""


class ListenerConfig(PluginConfig):
    name: str | None = None
    """For logs, metrics and references."""
    hostname: HostName = "*"
    """The host names it answers to."""
    protocol: ListenerProtocol = "HTTP"
    """HTTPS needs `tls`."""
    tls: DownstreamTls | None = None
    """Certificates, for HTTPS."""
    edge: bool | None = None
    """Who reads HTTP/1.1 here, like `config.server.edge`, which holds when absent. The same for all of a port."""
    routes: list[RouteConfig] = []
    """Routes of this listener alone."""
    policies: Policies = {}
    """Policies of every route of this listener."""

    @model_validator(mode="after")
    def _tls_when_https(self) -> ListenerConfig:
        if (self.protocol == "HTTPS") != (self.tls is not None):
            raise ValueError("HTTPS needs `tls`, and `tls` needs protocol HTTPS")
        return self


class GatewayConfig(PluginConfig):
    port: Annotated[int, Field(ge=0, le=65535)]
    """The TCP port."""
    address: str | None = None
    """The address to listen on; every one when absent."""
    protocol: ListenerProtocol | None = None
    """HTTPS when there is `tls`, else HTTP."""
    tls: DownstreamTls | None = None
    """Certificates; not together with `listeners`."""
    edge: bool | None = None
    """Who reads HTTP/1.1 here, like `config.server.edge`, which holds when absent."""
    listeners: list[ListenerConfig] = []
    """Several host names or certificates on one port."""
    policies: Policies = {}
    """Policies of every route of this gateway."""

    @model_validator(mode="after")
    def _one_place_for_tls(self) -> GatewayConfig:
        if self.listeners and self.tls is not None:
            raise ValueError("`listeners` exclude `tls` on the gateway")
        if self.protocol == "HTTPS" and self.tls is None and not self.listeners:
            raise ValueError("HTTPS needs `tls`")
        _one_protocol(self.listeners)
        return self


def _one_protocol(listeners: list[ListenerConfig]) -> None:
    if len({listener.protocol for listener in listeners}) > 1:
        raise ValueError("HTTP and HTTPS cannot share a port")


class BindConfig(PluginConfig):
    port: Annotated[int, Field(ge=0, le=65535)]
    """The TCP port."""
    address: str | None = None
    """The address to listen on; every one when absent."""
    listeners: list[ListenerConfig] = Field(min_length=1)
    """What is served on it."""

    @model_validator(mode="after")
    def _plain_or_tls(self) -> BindConfig:
        _one_protocol(self.listeners)
        return self


class NamedBackend(RouteBackendConfig):
    """A backend to refer to by name: `backends: [{backend: NAME}]`."""

    name: str = Field(min_length=1)
    """What routes call it."""


class PolicyTarget(PluginConfig):
    gateway: str | None = None
    """A gateway, or `gateway/listener`."""
    route: str | None = None
    """A route by name."""
    backend: str | None = None
    """A named backend."""

    @model_validator(mode="after")
    def _exactly_one(self) -> PolicyTarget:
        if sum(value is not None for value in (self.gateway, self.route, self.backend)) != 1:
            raise ValueError("exactly one of `gateway`, `route`, `backend`")
        return self


class PolicyName(PluginConfig):
    name: str
    """The policy's name."""
    namespace: str = ""
    """Its namespace."""


class TargetedPolicy(PluginConfig):
    name: PolicyName | str | None = None
    """For people."""
    target: PolicyTarget
    """What it applies to."""
    phase: Literal["route", "gateway"] = "route"
    """`gateway` runs before a route is chosen."""
    policy: Policies = Field(min_length=1, max_length=1)
    """Exactly one policy."""


class Root(PluginConfig):
    """The whole file. Other top-level keys are sections, each a plugin's."""

    model_config = ConfigDict(extra="allow")

    config: StaticConfig = StaticConfig()
    """Settings of the process; not reloaded."""
    gateways: dict[str, GatewayConfig] = {}
    """Ports, by name."""
    binds: list[BindConfig] = []
    """The older form of `gateways`, with routes inside."""
    routes: list[RouteConfig] = []
    """Which requests go where."""
    backends: list[NamedBackend] = []
    """Backends that several routes share."""
    policies: list[TargetedPolicy] = []
    """Policies that name what they apply to."""
    frontend_policies: FrontendPolicies = FrontendPolicies()
    """Limits on clients, and the access log."""
