"""The backend `ai`: a model call in any dialect, to a provider that speaks some."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import unquote_plus, urlsplit

from pydantic import Field, field_validator, model_validator

from agentgateway._host.builtin.models import allowed
from agentgateway.errors import ConfigError, Forbidden, InvalidRequest, NotFound, UpstreamError
from agentgateway.exchange import HOP_BY_HOP, NAME, Exchange, Outgoing, Reply, Request, Target
from agentgateway.hookspecs import hookimpl
from agentgateway.interfaces import Backend, Credential, Host, Layer, Participant, Provider
from agentgateway.llm.beginnings import begun
from agentgateway.llm.calls import JSON_FIELD, Dialect, LlmCall, LlmReply
from agentgateway.llm.counting import COUNTING
from agentgateway.llm.dialects import dialect, operations
from agentgateway.llm.dialects.resources import Resource
from agentgateway.llm.realtime import RealtimeCall, RealtimeSession
from agentgateway.llm.replies import LlmStream, decompressed, learn, translated_error
from agentgateway.llm.resources import ResourceCall
from agentgateway.llm.watched import WatchedStream, look_at
from agentgateway.settings import PluginConfig, Secret, problem
from agentgateway.sockets import Duplex

KeyPath = tuple[str | int, ...]
CREDENTIALS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
CREDENTIAL_FIELDS = frozenset(name.encode() for name in CREDENTIALS)
NOT_FORWARDED = (
    HOP_BY_HOP
    | CREDENTIAL_FIELDS
    | {b"accept-encoding", b"content-encoding", b"content-length", b"content-type", b"cookie", b"expect", b"host"}
    | {b"origin", b"referer", b"access-control-request-headers", b"access-control-request-method"}
    | {b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-user"}
    | {b"x-amz-security-token", b"x-amz-date", b"x-amz-content-sha256", b"amz-sdk-invocation-id", b"amz-sdk-request"}
)
"""What of the client's headers never goes on: what is written anew, its credentials, and what a browser adds for its
own checks, which vendors take for a call from a web page."""
NOT_RETURNED = frozenset((b"set-cookie", b"alt-svc", b"strict-transport-security", b"server", b"via"))
"""What a vendor's edge says to its own clients; `alt-svc` would lead ours around the gateway."""
UNCODED = (b"", b"identity")
_PORT = re.compile(r"(?:https?://)?(?:[^:/\[]+|\[[^\]]*\]):(\d+)")
UNCODED_FIELD = (b"accept-encoding", b"identity")
FIXED = (JSON_FIELD, UNCODED_FIELD)


class Address(PluginConfig):
    """Where a provider is, when not at its vendor's own address."""

    name: str | None = None
    """For logs and metrics."""
    host_override: str | None = Field(
        None, pattern=r"^([\w.\-]+|\[[\w:.]+\])(:\d{1,5})?$", examples=["models.internal:8000"]
    )
    """`host:port` to send to instead of the vendor's; plain HTTP unless the port is 443 or `backendTLS` says more."""
    path_prefix: str | None = Field(None, pattern="^/", examples=["/v1"])
    """Replaces the vendor's base path (`/v1`)."""
    path_override: str | None = Field(None, pattern="^/", examples=["/v1/chat/completions"])
    """Replaces the whole path."""
    base_url: str | None = Field(
        None,
        pattern=r"^https?://([\w.\-]+|\[[\w:.]+\])(:\d{1,5})?(/[^\s?#]*)?$",
        examples=["https://models.internal/v1"],
    )
    """Scheme, host and base path at once."""

    passthrough: Literal["detect", "opaque"] | None = None
    """Take calls as they are, in any format and to any path, as long as they name a model: `detect` looks at replies
    for what they cost, `opaque` at nothing."""

    @field_validator("host_override", "base_url")
    @classmethod
    def _a_port(cls, value: str | None) -> str | None:
        port = _PORT.match(value) if value else None
        if port is not None and not 0 < int(port[1]) < 65536:
            raise problem("there is no such port", "ports are 1 to 65535")
        return value

    @model_validator(mode="after")
    def _one_address(self) -> Address:
        if self.base_url and (self.host_override or self.path_prefix):
            raise ValueError("`baseUrl` excludes `hostOverride` and `pathPrefix`")
        if self.path_override and self.path_prefix:
            raise ValueError("`pathOverride` excludes `pathPrefix`")
        return self


Vendor = Annotated[
    dict[str, Any],
    Field(min_length=1, max_length=1, json_schema_extra={"x-kinds": "agentgateway.providers"}),
]


class ProviderEntry(Address):
    """One provider of a group."""

    provider: Vendor
    """The vendor and its settings: `openAI: {model: gpt-5}`."""
    weight: int = Field(1, ge=0)
    """The share of requests inside its group."""
    policies: dict[str, Any] = {}
    """Policies of this provider alone."""


class Group(PluginConfig):
    """Providers of one priority."""

    providers: list[ProviderEntry] = Field(min_length=1)
    """Alternatives, chosen by weight."""


class AiConfig(Address):
    """A provider, or groups of providers in order of priority."""

    provider: Vendor | None = None
    """The vendor and its settings: `openAI: {model: gpt-5}`."""
    groups: list[Group] = []
    """Groups in order of priority: a later one is used when every provider before it has failed the request."""
    resources: list[str] = []
    """What the provider keeps for its account that clients may get at: `files`, `batches`, `stored_responses`."""

    @model_validator(mode="after")
    def _one_or_groups(self) -> AiConfig:
        if bool(self.provider) == bool(self.groups):
            raise ValueError("either `provider` or `groups`")
        return self


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
        """The client's own path and query, below the operator's base if there is one."""
        if self.path_override:
            return self.path_override
        path = request.path
        if self.model is not None and call.dialect.model_in_path:
            path = call.dialect.path(call.model, stream=call.stream)
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


class AiBackend(Backend):
    """Sends model calls to a provider, translating when they do not share a dialect."""

    Config = AiConfig
    protocol: ClassVar[str] = "llm"
    fails_over: ClassVar[bool] = True

    def __init__(self, config: AiConfig, host: Host) -> None:
        super().__init__(config, host)
        if config.provider is not None:
            self._targets = [self._target(config, config.provider, (), 0, {}, 1)]
        else:
            self._targets = [
                self._target(one, one.provider, ("groups", g, "providers", p), g, one.policies, one.weight)
                for g, group in enumerate(config.groups)
                for p, one in enumerate(group.providers)
            ]
        self.unread = bool(config.resources)
        if self.unread:
            self._check_resources()

    def _check_resources(self) -> None:
        """What is kept at one provider is nowhere else. Raises `ConfigError`."""
        where = f"{self.host.at}.resources"
        if self.config.groups:
            raise ConfigError("what one provider keeps, no other has", path=where, hint="name a single `provider`")
        entry: Entry = self._targets[0].facts
        if entry.path_override:
            raise ConfigError("`pathOverride` would lead all of them to one path", path=where, hint="use `pathPrefix`")
        offered = [name for name, one in entry.dialects.items() if isinstance(one, Resource)]
        for index, name in enumerate(self.config.resources):
            if name not in offered:
                hint = f"it has: {', '.join(offered) or 'none'}"
                raise ConfigError(f"this provider has no resource `{name}`", path=f"{where}[{index}]", hint=hint)

    def _target(
        self, config: Address, vendor: Vendor, at: KeyPath, priority: int, policies: dict[str, Any], weight: int
    ) -> Target:
        ((kind, settings),) = vendor.items()
        where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in (*at, "provider", kind))
        provider: Provider = self.host.build("agentgateway.providers", kind, settings or {}, where.lstrip("."))
        spoken = {name: dialect(name) for operation in operations() for name in provider.dialects(operation)}
        url = _url(config, provider)
        variable = provider.key_variable
        ambient = self.host.environment(variable) if variable else None
        model = getattr(provider.config, "model", None)
        key = Secret(ambient) if ambient else None
        layer = Layer((*self.host.path, *at, "policies"), policies, "backend")
        base, own = _base(config), urlsplit(provider.url).path.rstrip("/")
        kept_back = NOT_FORWARDED | provider.unwanted
        credential = self._default_credential(provider, where) if key is None else None
        where_to = (url, config.path_override, base, own)
        varies = type(provider).speaks is not Provider.speaks
        how = config.passthrough or ""
        self._check_passing(how, provider, model)
        self.passes = self.passes or bool(how)
        entry = Entry(provider, spoken, *where_to, model, key, credential, layer, kept_back, varies, how)
        name = config.name or kind
        endpoint = urlsplit(url).netloc or url.rstrip(":")
        return Target(self, name, endpoint, provider.system, model, weight, priority, entry)

    def _check_passing(self, how: str, provider: Provider, model: str | None) -> None:
        """Raises ConfigError for a promise that cannot be kept."""
        at = f"{self.host.at}.passthrough"
        if how and provider.answers:
            raise ConfigError("this provider answers by itself: there is nowhere to pass calls on to", path=at)
        if how == "opaque" and model is not None:
            hint = "leave out `model`, or write `detect`"
            raise ConfigError(
                "nothing in an opaque call is changed, so no other model can be asked for", path=at, hint=hint
            )

    def _default_credential(self, provider: Provider, where: str) -> Credential | None:
        if provider.credential is None:
            return None
        kind, settings = provider.credential
        built: Credential = self.host.build("agentgateway.credentials", kind, settings, where.lstrip("."))
        return built

    @property
    def inline(self) -> bool:  # type: ignore[override]
        return not any(target.facts.provider.answers for target in self._targets)

    def targets(self) -> Sequence[Target]:
        return self._targets

    def layers(self, target: Target) -> Sequence[Layer]:
        return [target.facts.layer]

    def participants(self, target: Target) -> Iterable[Participant]:
        yield Participant(Finish(target.facts), "provider")
        credential = target.facts.credential
        if credential is not None:
            kind = AwaitedDefault if inspect.iscoroutinefunction(credential.apply) else Default
            yield Participant(kind(credential), "backendAuth.signing")

    async def start(self) -> None:
        for target in self._targets:
            if target.facts.credential is not None:
                await target.facts.credential.start()

    async def stop(self) -> None:
        for target in self._targets:
            if target.facts.credential is not None:
                await target.facts.credential.stop()

    async def prepare(self, exchange: Exchange) -> Reply | None:
        entry, call = entry_of(exchange), exchange.call
        if not isinstance(call, LlmCall):
            raise NotFound(f"no installed dialect reads {exchange.request.method} {exchange.request.path}")
        method = "POST"
        if isinstance(call, ResourceCall):
            self._admit(exchange, call)
            method = call.method
        if how := entry.passes(call):
            outbound = call.passed(how, entry.model)
            path = entry.passed_path(outbound, exchange.request)
        else:
            spoken = entry.dialect_for(call)
            if spoken is None:
                return answered(exchange, call, entry.model or call.model)
            outbound = call.outbound(spoken, entry.model)
            path = entry.path(outbound)
        headers = exchange.request.headers.end_to_end(entry.kept_back)
        outgoing = exchange.outgoing = Outgoing(method, entry.url, path, headers)
        outgoing.call = outbound
        if exchange.request.upgrade and isinstance(call, RealtimeCall):
            outgoing.method, outgoing.target = "GET", call.target(outgoing.target, outbound.model)
        return None

    def _admit(self, exchange: Exchange, call: ResourceCall) -> None:
        """Callers who are kept to certain models are not let at what was made with any. Raises `NotFound`,
        `Forbidden`."""
        if call.dialect.name not in self.config.resources:
            raise NotFound(f"`{call.dialect.name}` are not served here", code="unsupported_operation")
        if not all(allowed(one, "") for one in exchange.identities.values()):
            raise Forbidden("this caller may use certain models, and the request names none", code="model_not_allowed")

    async def send(self, exchange: Exchange) -> Reply:
        entry = entry_of(exchange)
        outgoing, call = exchange.outgoing, exchange.call
        if outgoing is None or not isinstance(call, LlmCall):
            raise UpstreamError(detail="the call was not prepared")
        outbound: LlmCall = outgoing.call
        if entry.provider.answers:
            reply = await entry.provider.answer(outbound, outgoing)
            reply.upstream = True
            exchange.answered_at = time.monotonic()
        else:
            streams = call.stream or not call.whole or not outbound.dialect.replies
            reply = await self.host.send(exchange, stream=streams)
        return await incoming(exchange, reply, call, outbound)


def answered(exchange: Exchange, call: LlmCall, model: str) -> Reply:
    """What the gateway says itself, where the provider has nothing for such a call. Raises `NotFound`."""
    assert exchange.target is not None
    document = call.dialect.answer(call, exchange.target.provider, model)
    if document is None:
        raise NotFound(f"this model's provider has no `{call.operation}`", code="unsupported_operation")
    return Reply.json(200, document)


def entry_of(exchange: Exchange) -> Entry:
    assert exchange.target is not None
    entry: Entry = exchange.target.facts
    return entry


class Finish:
    """The provider's last word before signing, and the bytes of the call as it then is."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        outgoing = exchange.outgoing
        assert outgoing is not None
        if lacks_credential(exchange):
            self._ambient(exchange, outgoing)
        call: LlmCall = outgoing.call
        call.mark_cache()
        if call.passes:
            finish_around(self._entry.provider, outgoing, call)
        else:
            self._entry.provider.finish(outgoing, call)
        outgoing.headers.raw.extend(FIXED if call.whole else (*call.framing(), UNCODED_FIELD))
        outgoing.body = call.payload()

    def _ambient(self, exchange: Exchange, outgoing: Outgoing) -> None:
        """No policy gave a credential: the operator's, from the vendor's usual variable, else the client's own."""
        if self._entry.key is not None:
            outgoing.headers.set("authorization", f"Bearer {self._entry.key.reveal()}")
            return
        if self._entry.credential is not None:
            return
        for name in CREDENTIALS:
            value = exchange.request.headers.get(name)
            if value is not None:
                outgoing.headers.add(name, value)
                return


def finish_around(provider: Provider, outgoing: Outgoing, call: LlmCall) -> None:
    """What the provider does to a request, and not to its call: that is passed on as it is. Raises `InvalidRequest`
    when it has something to put into the call (a guardrail of the operator's), which must not be lost."""
    blank, accept = LlmCall(call.dialect, {}, call, raw=b""), outgoing.headers.get("accept")
    blank.stream = False  # the client has said in its own words what it wants
    provider.finish(outgoing, blank)
    if accept is not None:
        outgoing.headers.set("accept", accept)
    if blank.changed:
        raise InvalidRequest("this call cannot be passed on unread: its provider has to add something to it")


CREDENTIAL_PARAMETERS = frozenset(("key", "api_key", "api-key", "access_token"))


def without_credentials(query: str) -> str:
    """A query without what vendors take for a credential in it: it is the gateway's to show one."""
    if not query:
        return query
    return "&".join(
        part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in CREDENTIAL_PARAMETERS
    )


class Default:
    """The provider's own choice of a credential, for requests that have none."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    @hookimpl
    def upstream(self, exchange: Exchange) -> None:
        if lacks_credential(exchange):
            self._credential.apply(exchange)


class AwaitedDefault:
    """One that may have to be fetched first."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    @hookimpl
    async def upstream(self, exchange: Exchange) -> None:
        if lacks_credential(exchange):
            await self._credential.apply(exchange)


def lacks_credential(exchange: Exchange) -> bool:
    outgoing = exchange.outgoing
    assert outgoing is not None
    return not outgoing.pinned and CREDENTIAL_FIELDS.isdisjoint(map(NAME, outgoing.headers.raw))


async def incoming(exchange: Exchange, reply: Reply, call: LlmCall, outbound: LlmCall) -> Reply:
    """The upstream's reply in the client's dialect, with an eye on its usage."""
    fields = first_of_each(reply.headers.raw)
    if not NOT_RETURNED.isdisjoint(fields):
        reply.headers.raw = [field for field in reply.headers.raw if field[0] not in NOT_RETURNED]
    source, target = outbound.dialect, call.dialect
    if reply.status < 400 and (outbound.passes == "opaque" or source.unread):
        return reply if outbound.passes == "opaque" else await watched(exchange, reply, source, fields)
    if reply.status < 400 and not source.replies:
        if isinstance(call, RealtimeCall) and isinstance(reply.body, Duplex):
            reply.body = RealtimeSession(exchange, reply.body, call, outbound.model)
        return await localised(reply, source) if isinstance(source, Resource) and source.links else reply
    if reply.status < 400 and fields.get(b"content-type", b"").startswith(source.stream_content_type.encode()):
        reply.headers.remove("content-length")
        if isinstance(reply.body, bytes):
            reply.body = once(reply.body)
        if source.name != target.name:
            reply.headers.set("content-type", target.stream_content_type)
        if exchange.attempt.others:
            reply.body = await begun(reply.body, source)
        reply.body = LlmStream(exchange, reply.body, source, target, call, hides_usage=outbound.prepared)
        return reply
    if reply.status < 400 and not call.whole and b"json" not in fields.get(b"content-type", b""):
        return reply
    reply.body = await whole(reply.body)
    if (coding := fields.get(b"content-encoding", b"")) not in UNCODED:
        reply.body = decompressed(reply, coding.decode("latin-1"))
    if reply.status >= 400:
        conceal(reply, exchange.outgoing)
        if source.name != target.name:
            translated_error(reply, source, target)
        return reply
    content = LlmReply.read(source, reply.body)
    source.read_headers(content.document, reply.headers)
    exchange.usage = source.usage(content.document)
    exchange.response_model = source.reply_model(content.document)
    exchange.first_token_at = exchange.answered_at
    if COUNTING.watched:
        learn(exchange, call)
    reply.content = content if source.name == target.name else content.translated(target, call.canonical())
    return reply


async def localised(reply: Reply, source: Resource) -> Reply:
    """A document that tells paths at the vendor, without the vendor's address in front of them."""
    kind = (reply.headers.get("content-type") or "").partition(";")[0].strip()
    if source.links is not None and kind == "application/json":
        reply.body = source.links.sub(rb"\1", await whole(reply.body))
        reply.headers.remove("content-length")
    return reply


async def watched(exchange: Exchange, reply: Reply, dialect: Dialect, fields: Mapping[bytes, bytes]) -> Reply:
    """A reply in a format that nobody knows, as it came; what it cost is told if it says so in the usual words."""
    kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind == dialect.stream_content_type.encode():
        body = once(reply.body) if isinstance(reply.body, bytes) else reply.body
        reply.headers.remove("content-length")
        reply.body = WatchedStream(exchange, body, dialect)
    elif kind == b"application/json":
        reply.body = await whole(reply.body)
        look_at(exchange, reply.body, dialect)
    return reply


def conceal(reply: Reply, outgoing: Outgoing | None) -> None:
    """Take the credential that was sent out of an error that quotes it: some vendors do, and it is not the client's."""
    assert isinstance(reply.body, bytes)
    for name, value in outgoing.headers.raw if outgoing is not None else ():
        secret = value.rpartition(b" ")[2]
        if name in CREDENTIAL_FIELDS and len(secret) >= SHORTEST_SECRET and secret in reply.body:
            reply.body = reply.body.replace(secret, b"***")
            reply.headers.remove("content-length")


SHORTEST_SECRET = 8
"""Shorter ones would be found in words."""


def first_of_each(fields: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header fields by name; of those that came more than once, the first."""
    return dict(reversed(fields))


async def once(body: bytes) -> AsyncIterator[bytes]:
    """A stream that arrived whole with its head."""
    yield body


LONGEST = 64 * 1024 * 1024


async def whole(body: bytes | AsyncIterator[bytes]) -> bytes:
    """All of a body. Raises `UpstreamError` for one that is too large."""
    if isinstance(body, bytes):
        return body
    chunks, size = [], 0
    async for chunk in body:
        size += len(chunk)
        if size > LONGEST:
            raise UpstreamError("the upstream's reply is too large", detail=f"over {LONGEST} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def _base(config: Address) -> str | None:
    """The base path to send to in place of the vendor's own, if the operator named one."""
    base = urlsplit(config.base_url).path if config.base_url else config.path_prefix
    return None if base is None else base.rstrip("/")


def _url(config: Address, provider: Provider) -> str:
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
