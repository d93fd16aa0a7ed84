"""The configuration of `mcpGuardrails`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, model_validator

from agentgateway.settings import CelText, Duration, FilePath, HeaderName, PluginConfig, Secret, problem
from agentgateway_guardrail_ext_mcp.methods import Phase, is_pattern

PSEUDO = (":method", ":scheme", ":authority", ":path")
NAMES: TypeAdapter[str] = TypeAdapter(HeaderName)
HINT = "write host:port, http://host:port or https://host:port"


def _address(text: str) -> str:
    """`http` or `https`, host and port."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        bare = parts.username is None and not (parts.path.strip("/") or parts.query or parts.fragment)
    except ValueError:
        raise problem("not an address", HINT) from None
    if not fine or not text.isascii() or not text.isprintable() or " " in text:
        raise problem("not an address", HINT)
    if not bare:
        raise problem("an address without credentials, path and query", HINT)
    return f"{parts.scheme}://{parts.netloc}"


def _seen_header(name: str) -> str:
    return name if name in PSEUDO else NAMES.validate_python(name)


def _pattern(text: str) -> str:
    if not is_pattern(text):
        raise problem("no method can ever fit this pattern", "write a method, prefix/*, */suffix or *")
    return text


SeenHeader = Annotated[str, AfterValidator(_seen_header)]


class HeaderFilter(PluginConfig):
    """Which headers of the client's request a processor is shown."""

    allowed: list[SeenHeader] = []
    """Those alone, also `:method`, `:scheme`, `:authority` and `:path`; empty: all but `authorization`, `cookie` and
    `proxy-authorization`."""
    disallowed: list[SeenHeader] = []
    """Those never."""


class ProcessorTls(PluginConfig):
    """TLS towards the processor; `{}` verifies it against the system's trust store."""

    cert: FilePath | None = None
    """PEM file of the client certificate."""
    key: FilePath | None = None
    """PEM file of its private key."""
    root: FilePath | None = None
    """PEM file of the authorities to trust instead of the system's."""
    hostname: str | None = None
    """The name to ask for and to verify."""

    @model_validator(mode="after")
    def _a_pair(self) -> ProcessorTls:
        if (self.cert is None) != (self.key is None):
            raise problem("`cert` and `key` go together")
        return self


class ProcessorAuth(PluginConfig):
    """A credential of the gateway's own."""

    key: Secret
    """Sent as `authorization: Bearer …`."""


class ProcessorPolicies(PluginConfig):
    """What is done with questions."""

    backend_tls: ProcessorTls | None = Field(None, alias="backendTLS")
    """TLS, also where the address does not say `https`."""
    backend_auth: ProcessorAuth | None = None
    """A credential."""


class ProcessorConfig(PluginConfig):
    """A gRPC service `agentgateway.dev.ext_mcp.ExtMcp`."""

    kind: Literal["remote"] = "remote"
    """There is one kind."""
    host: Annotated[str, AfterValidator(_address)]
    """`host:port`, or `https://host:port`; also `target: {host: …}`."""
    methods: dict[
        Annotated[str, AfterValidator(_pattern)],
        Annotated[Phase, BeforeValidator(lambda given: "off" if given is False else given)],
    ] = Field(min_length=1)
    """Which messages it sees, by patterns of their methods: `request`, `response`, `full` (both) or `off`."""
    failure_mode: Literal["failClosed", "failOpen"] = "failClosed"
    """What happens to a message when the processor gives no verdict."""
    timeout: Duration = Field(10.0, gt=0)
    """How long it may take."""
    metadata: dict[str, CelText] = {}
    """What it is told besides, each computed by an expression. One that fails is left out."""
    request_headers: HeaderFilter = HeaderFilter()
    """Which headers of the client's request it is shown."""
    policies: ProcessorPolicies = ProcessorPolicies()
    """TLS and credentials."""

    @model_validator(mode="before")
    @classmethod
    def _also_as_target(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "target" not in given or "host" in given:
            return given
        target = given["target"]
        host = target["host"] if isinstance(target, Mapping) and list(target) == ["host"] else target
        return {**{key: value for key, value in given.items() if key != "target"}, "host": host}


class McpGuardrailsConfig(PluginConfig):
    """Remote processors of MCP messages."""

    processors: list[ProcessorConfig] = Field(min_length=1)
    """Asked one after the other, in this order; the first refusal ends it."""
