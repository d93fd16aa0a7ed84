"""A provider that the backend `ai` sends to: where it is, and the dialect and path in which a call goes there."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote_plus, urlsplit

from agentgateway._host.builtin.ai_config import Address
from agentgateway.errors import ConfigError, NotFound
from agentgateway.exchange import Exchange, Request
from agentgateway.interfaces import Credential, Layer, Provider
from agentgateway.llm.calls import Dialect, LlmCall
from agentgateway.llm.path_models import insist_on_model
from agentgateway.llm.resources import ResourceCall
from agentgateway.settings import Secret

CREDENTIAL_PARAMETERS = frozenset(("key", "api_key", "api-key", "access_token"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A provider, ready: its dialects, where it is, and the model it is asked for whatever the client says."""

    provider: Provider
    dialects: dict[str, Dialect]
    """By name, the preferred one first."""
    url: str
    path_override: str | None
    base: str | None
    """The operator's base path, which takes the place of the vendor's; None leaves that."""
    own_base: str
    model: str | None
    key: Secret | None
    credential: Credential | None
    """What a request gets when nothing else gave it a credential."""
    layer: Layer
    kept_back: frozenset[bytes]
    varies: bool = False
    """Whether the dialects depend on the model."""
    passthrough: str = ""
    """How calls are taken that the provider has no dialect for: `detect` or `opaque`, else not at all."""

    def passes(self, call: LlmCall) -> str:
        """How the call is passed on as it is, if it is: `detect`, `opaque` or empty. What `detect` finds in a dialect
        of the provider's goes the usual way, which leaves it as it is, too. Raises `NotFound`."""
        how = call.dialect.passes or self.passthrough
        if call.dialect.unread and not how:
            raise NotFound(f"no installed dialect reads POST {call.path}")
        return "" if how == "detect" and call.dialect.name in self.dialects else how

    def dialect_for(self, call: LlmCall) -> Dialect | None:
        """The call's own dialect if the provider speaks it, else the one it prefers for that operation, if any."""
        dialects = self.dialects
        if self.varies:
            names = self.provider.speaks(call.dialect.operation, self.model or call.model)
            dialects = {name: dialects[name] for name in names}
        own = dialects.get(call.dialect.name)
        if own is not None:
            return own
        for spoken in dialects.values():
            if spoken.operation == call.dialect.operation:
                return spoken
        return None

    def passed_path(self, call: LlmCall, request: Request) -> str:
        """The client's own path and query, below the operator's base if there is one. Raises `InvalidRequest` for one
        that names another model than the call."""
        if self.path_override:
            return self.path_override
        path = request.path
        if self.model is not None and call.dialect.model_in_path:
            path = call.dialect.path(call.model, stream=call.stream)
        else:
            insist_on_model(path, call.model)
        if self.base is not None:
            path = self.base + path.removeprefix(self.own_base)
        query = without_credentials(request.query)
        return f"{path}?{query}" if query else path

    def path(self, call: LlmCall) -> str:
        if self.path_override:
            return self.path_override
        path = self.provider.path(call)
        if self.base is not None and not self.provider.verbatim(call):
            path = self.base + path.removeprefix(self.own_base)
        return call.below(path) if isinstance(call, ResourceCall) else path


def entry_of(exchange: Exchange) -> Entry:
    assert exchange.target is not None
    entry: Entry = exchange.target.facts
    return entry


def without_credentials(query: str) -> str:
    """A query without what vendors take for a credential in it: it is the gateway's to show one."""
    if not query:
        return query
    return "&".join(
        part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in CREDENTIAL_PARAMETERS
    )


def base_of(config: Address) -> str | None:
    """The base path to send to in place of the vendor's own, if the operator named one."""
    base = urlsplit(config.base_url).path if config.base_url else config.path_prefix
    return None if base is None else base.rstrip("/")


def url_of(config: Address, provider: Provider) -> str:
    """Scheme and authority to send to."""
    if config.base_url:
        parts = urlsplit(config.base_url)
        return f"{parts.scheme}://{parts.netloc}"
    if config.host_override:
        scheme = "https" if config.host_override.endswith(":443") else "http"
        return f"{scheme}://{config.host_override}"
    parts = urlsplit(provider.url)
    if not parts.netloc and not provider.answers:
        raise ConfigError("this provider has no address of its own", hint="set `hostOverride` or `baseUrl`")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else provider.url
