"""The fixed part of the configuration dialect. Whatever has a plugin's name in it stays plain data here and is read
by that plugin's own model; see `docs/configuration.md`."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from agentgateway._host.access_log import LogFields
from agentgateway._host.inbound_head import Limits
from agentgateway._host.metrics import label_problem
from agentgateway._host.request_metrics import OWN
from agentgateway.llm.price_format import CatalogConfig
from agentgateway.settings import (
    CelText,
    Duration,
    FilePath,
    HeaderName,
    ListenAddress,
    PathMatch,
    PluginConfig,
    Secret,
    StringMatch,
    problem,
)

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


class KeepAlives(PluginConfig):
    enabled: bool = True
    """Send TCP keep-alive probes on upstream connections."""
    time: Duration = 180.0
    """Idle time before the first probe."""
    interval: Duration = 180.0
    """Time between probes."""
    retries: int = Field(9, ge=1, le=127)
    """Unanswered probes before the connection is given up."""


class UpstreamConfig(PluginConfig):
    """`config.backend`: upstream connections."""

    connect_timeout: Duration = Field(10.0, gt=0)
    """How long a connection may take to be made."""
    pool_idle_timeout: Duration = 90.0
    """How long an unused connection is kept."""
    pool_max_age: Duration = 600.0
    """How old a connection may be to serve another request; 0 is no limit."""
    pool_max_size: int = Field(1024, ge=1)
    """Connections per upstream; more requests than that wait in line."""
    keepalives: KeepAlives = KeepAlives()
    """TCP keep-alive of upstream connections."""


class Logging(PluginConfig):
    level: Literal["debug", "info", "warn", "error"] = "info"
    """The least severe messages that are written."""
    format: Literal["text", "json"] = "text"
    """How log lines, the access log's among them, are written."""


def _label_name(name: str) -> str:
    wrong = label_problem(name, OWN)
    if wrong:
        raise problem(wrong, "give it a name of its own, like team or user_tier")
    return name


class MetricFields(PluginConfig):
    add: dict[Annotated[str, AfterValidator(_label_name)], CelText] = {}
    """Labels for every request metric: a name and an expression."""


class MetricsConfig(PluginConfig):
    remove: list[str] = []
    """Metrics to leave out, with or without the prefix `agentgateway_` and the suffix `_total`."""
    fields: MetricFields = MetricFields()
    """Labels of your own."""


class CatalogSource(PluginConfig):
    """One entry of `config.modelCatalog`."""

    file: FilePath | None = None
    """A file with a price catalogue, YAML or JSON."""
    inline: CatalogConfig | None = None
    """A price catalogue, written in place."""
    plugin: str | None = None
    """A catalogue that an installed plugin brings, by name."""

    @model_validator(mode="after")
    def _exactly_one(self) -> CatalogSource:
        if sum(value is not None for value in (self.file, self.inline, self.plugin)) != 1:
            raise ValueError("exactly one of `file`, `inline`, `plugin`")
        return self


class TokenEncodings(PluginConfig):
    """`config.tokenEncodings`."""

    folder: str = Field(min_length=1)
    """Where the vocabularies are: `o200k_base.tiktoken`, or as in tiktoken's own cache."""
    models: dict[str, str] = {}
    """Models that tiktoken does not know, and the names of their encodings."""

    @field_validator("folder")
    @classmethod
    def _is_there(cls, name: str, info: ValidationInfo) -> str:
        if find_spec("tiktoken") is None:
            raise problem("tiktoken is not installed", "pip install 'agentgateway[tokens]'")
        folder = Path((info.context or {}).get("folder", ".")) / name
        if not folder.is_dir():
            raise problem("no such folder", "paths are relative to the configuration's folder")
        return str(folder)


class ServerConfig(PluginConfig):
    """How requests come in."""

    edge: bool = True
    """HTTP/1.1 is read by the gateway's own protocol; `off` leaves it to Hypercorn, like HTTP/2: slower, for
    comparing. Gateways and listeners may say otherwise for themselves."""


class SessionConfig(PluginConfig):
    """What sessions are sealed with."""

    key: Secret | None = None
    """Any text that nobody can guess; the same for every replica. Without it the ids of sessions hold until the process
    ends."""


class StoreConfig(PluginConfig):
    """`config.store`: where state is kept that has to outlast the process."""

    url: Secret | None = None
    """`memory:`, `sqlite:FILE`, or another installed kind. Without it an SQLite file in the user's state folder, made
    when it is first needed."""

    @model_validator(mode="before")
    @classmethod
    def _is_no_text(cls, given: object) -> object:
        if isinstance(given, str):
            raise problem("expected a mapping", 'write {url: "sqlite:state.sqlite"}', kind="model_type")
        return given


class StaticConfig(PluginConfig):
    """`config`: settings of the process. Changing them needs a restart, but for `modelCatalog`."""

    admin_addr: ListenAddress = ListenAddress("127.0.0.1", 15000)
    """The admin interface (`/config_dump`, `/logging`); `off` turns it off."""
    stats_addr: ListenAddress = ListenAddress("127.0.0.1", 15020)
    """Prometheus metrics (`/metrics`); `off` turns them off."""
    readiness_addr: ListenAddress = ListenAddress("127.0.0.1", 15021)
    """Health and readiness (`/healthz/live`, `/healthz/ready`); `off` turns them off."""
    workers: int = Field(1, ge=1, le=256)
    """Processes that share the ports."""
    worker_threads: int | None = Field(None, ge=1, le=256)
    """The reference's name for `workers`."""
    enable_ipv6: bool = Field(True, alias="enableIpv6")
    """Listen on IPv6 as well."""
    connection_termination_deadline: Duration = 5.0
    """How long a drain may last before what is left is cut."""
    connection_min_termination_deadline: Duration = 0.0
    """How long a drain lasts at least, while a load balancer still sends."""
    server: ServerConfig = ServerConfig()
    """How requests come in."""
    backend: UpstreamConfig = UpstreamConfig()
    """Upstream connections."""
    logging: Logging = Logging()
    """What is logged, and how."""
    metrics: MetricsConfig = MetricsConfig()
    """Which metrics, with which labels."""
    session: SessionConfig = SessionConfig()
    """What sessions are sealed with."""
    store: StoreConfig = StoreConfig()
    """Where state is kept that has to outlast the process."""
    sensitive_headers: list[HeaderName] = []
    """Headers to redact besides the well-known ones."""
    model_catalog: list[CatalogSource] = []
    """What tokens cost: price catalogues, of which a later one wins over those before it."""
    token_encodings: TokenEncodings | None = None
    """Exact numbers of tokens where the gateway counts them itself."""

    @property
    def without_prices(self) -> StaticConfig:
        """What a restart is needed for."""
        return self.model_copy(update={"model_catalog": []})

    @property
    def processes(self) -> int:
        return self.worker_threads or self.workers


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
