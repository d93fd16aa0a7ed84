"""`config`: settings of the process; see `docs/configuration.md`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from agentgateway._host.metrics import label_problem
from agentgateway._host.request_metrics import OWN
from agentgateway.llm.price_format import CatalogConfig
from agentgateway.settings import (
    CelText,
    Duration,
    FilePath,
    HeaderName,
    ListenAddress,
    PluginConfig,
    Secret,
    problem,
)


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
