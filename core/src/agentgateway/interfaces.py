"""What a plugin can be. One small class a kind, found by name in its entry-point group.

==========  ==========================  =====================================================================
class       entry-point group           a name in that group is
==========  ==========================  =====================================================================
Policy      agentgateway.policies       a key under any `policies:`
Backend     agentgateway.backends       a key that says where an entry of `backends:` goes
Provider    agentgateway.providers      a key of `provider:` of an `ai` backend or a model
Guard       agentgateway.guards         a key of an entry of `promptGuard.request` / `.response`
Credential  agentgateway.credentials    a key of `backendAuth`
Section     agentgateway.sections       a top-level key of the file
Protocol    agentgateway.protocols      what a backend names as the language its routes speak
Dialect     agentgateway.dialects       a wire format of model calls (see `agentgateway.llm.calls`)
getter      agentgateway.variables      a variable of expressions: a function from the exchange to its value; names
                                        inside it are checked where the function has `members`, name to members,
                                        or to None where those may be any
Catalog     agentgateway.catalogs       a `plugin` of `config.modelCatalog`
Store       agentgateway.stores         the scheme of `config.store.url`
a command   agentgateway.commands       `agentgateway NAME` (see `agentgateway.commands`)
==========  ==========================  =====================================================================

Every class names its configuration model as `Config`; the loader validates the file's value with it and passes the
result and a `Host` to the constructor (a `Catalog` takes neither, a `Store` its URL). Constructors have no side
effects: work starts in `start` and ends in `stop`, which is called also when start failed half-way. The entry point's
module imports nothing heavy.

What a `Host` lends stands in `agentgateway.lent`, what a `Section` turns into in `agentgateway.sections`; plugins have
the names of both from here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel

from agentgateway.exchange import Content, Exchange, Outgoing, Reply, Target
from agentgateway.expressions import Expression
from agentgateway.lent import Answering, Bucket, Buckets, Counter, Link, PeerGone, Peers, Store, Taken
from agentgateway.sections import BackendDraft, Choice, Layer, Level, Lowered, RouteDraft, Section
from agentgateway.settings import PluginConfig

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from agentgateway.errors import GatewayError
    from agentgateway.llm.calls import LlmCall


class Host:
    """What the gateway lends a plugin: everything it may need from outside itself. One for each place in the file.

    `at` is that place (`routes[0].policies.jwtAuth`), for messages, and `path` the same as keys; `level` whether it
    stands on a gateway or listener, a route, or a backend. `peers` are the other workers.
    """

    at: str
    path: tuple[str | int, ...]
    level: Level
    body_limit: int
    peers: Peers

    def expression(self, source: str) -> Expression:
        """Compile CEL against the exchange's variables. Raises `ConfigError` with the place."""
        raise NotImplementedError

    def build(self, group: str, name: str, config: Any, at: str) -> Any:
        """A plugin inside this one (a guard in `promptGuard`). `at` is relative to this place: `request[0].regex`."""
        raise NotImplementedError

    def client(self) -> httpx.AsyncClient:
        """An HTTP client on the gateway's own connection pools; closed by the gateway."""
        raise NotImplementedError

    async def send(self, exchange: Exchange, *, stream: bool) -> Reply:
        """Send `exchange.outgoing`; the reply has its body whole, or as a stream when `stream` and it came as one.

        Raises `UpstreamError`.
        """
        raise NotImplementedError

    async def ready(self, exchange: Exchange) -> Reply | None:
        """Take an exchange of a backend's own, whose `target` is one of its members, up to the point where it is sent:
        `Backend.prepare`, then the participants of that target. A Reply is the answer: nothing is to be sent."""
        raise NotImplementedError

    def environment(self, name: str) -> str | None:
        """A variable of the process's environment, for credentials that vendors' tools keep there."""
        raise NotImplementedError

    def key(self, purpose: str) -> bytes:
        """A secret of 32 bytes for one purpose: the same in every worker, and in every replica and after a restart
        where `config.session.key` is set."""
        raise NotImplementedError

    def buckets(self, name: str) -> Buckets:
        """Token buckets under that name, exact across the workers of this machine; they survive a reload."""
        raise NotImplementedError

    def store(self, name: str) -> Store:
        """The gateway's one store (`config.store`), as a view of the keys below that name, which is the same for
        whoever asks for it. Nothing is opened before something is asked of it; the gateway starts and stops it."""
        raise NotImplementedError

    def counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        """A metric `agentgateway_<name>_total`; asking twice gives the same one."""
        raise NotImplementedError

    def watch(self, path: Path) -> None:
        """Reload the configuration when that file changes."""
        raise NotImplementedError


class Policy:
    """One key under `policies:`. The instance itself is a participant, unless `participants` says otherwise.

    `levels` are the places it may stand at; `composes` says that instances of several levels all run, where otherwise
    the most specific wins; `after`/`before` name policies of the same level that this one follows or precedes;
    `phases` are those of the participants it hands out, when they are not itself; `reads_calls` says that it is of no
    use, and so refused, on a route whose protocol has no calls to read; `models_only` are the places of its
    configuration (`[1].type`; empty for all of it) that are about model calls, and refused where it stands on a route
    that has none.
    """

    Config: ClassVar[type[BaseModel]] = PluginConfig
    levels: ClassVar[frozenset[Level]] = frozenset({"gateway", "route"})
    composes: ClassVar[bool] = False
    after: ClassVar[tuple[str, ...]] = ()
    before: ClassVar[tuple[str, ...]] = ()
    phases: ClassVar[tuple[str, ...]] = ()
    reads_calls: bool = False
    models_only: Sequence[str] = ()

    def __init__(self, config: Any, host: Host) -> None:
        self.config = config
        self.host = host

    def participants(self) -> Iterable[Participant]:
        """What takes part in the phases, each with the slot it takes in the published order; usually just itself."""
        return (Participant(self),)

    async def start(self) -> None:
        """Begin background work. Called before the first request sees it."""

    async def stop(self) -> None:
        """End what `start` began."""


@dataclass(frozen=True, slots=True)
class Participant:
    """An object with hooks, and the name it is ordered by (its policy's own when empty)."""

    hooks: object
    slot: str = ""


class Backend:
    """Where requests can go. `protocol` names the language its routes speak: `http`, `llm`, …; `inline` promises that
    `prepare` and `send` wait for nothing but `Host.send` and the request's body, which spares each request a task.
    `fails_over` says that a failed request may be sent to another of its route's targets without `retry` asking for
    it, also when it may have been executed: model calls change nothing, the worst is to pay twice. `unread` says that
    some requests pass on with nobody reading them: a route with such a backend has no other one, and no guards.
    `passes` says that it takes requests that its protocol cannot read, as they are. `gathers` says that it asks one or
    several of its targets for a request, as it sees fit: the route phase sets one target, which has them as `members`.
    """

    Config: ClassVar[type[BaseModel]] = PluginConfig
    protocol: ClassVar[str] = "http"
    inline: bool = False
    unread: bool = False
    fails_over: ClassVar[bool] = False
    gathers: ClassVar[bool] = False
    passes: bool = False

    def __init__(self, config: Any, host: Host) -> None:
        self.config = config
        self.host = host

    def targets(self) -> Sequence[Target]:
        """What the route phase may choose from. At least one."""
        raise NotImplementedError

    def layers(self, target: Target) -> Sequence[Layer]:
        """Policies that stand on that target inside this backend's configuration."""
        return ()

    def participants(self, target: Target) -> Iterable[Participant]:
        """Who else takes part in `upstream` for that target."""
        return ()

    def attends(self) -> Iterable[Participant]:
        """Who takes part in every phase of a route that leads here and nowhere else."""
        return ()

    async def prepare(self, exchange: Exchange) -> Reply | None:
        """Set `exchange.outgoing` for `exchange.target`. A Reply is the answer: nothing is sent."""
        raise NotImplementedError

    async def send(self, exchange: Exchange) -> Reply:
        """Send `exchange.outgoing` and return the reply in the client's own terms. Raises `UpstreamError`."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin background work."""

    async def stop(self) -> None:
        """End what `start` began."""


class Provider:
    """A vendor's model API: where it is, how it wants to be addressed, which dialects it speaks.

    `system` is the vendor's name in telemetry (`gen_ai.system`), `url` the address of its API's root, `key_variable`
    the environment variable that vendors' own tools read the key from. `credential` is the kind of credential
    (`agentgateway.credentials`), with its configuration, that a request gets when neither the file nor that variable
    gives one; the client's own is not passed on then. They are read once, after construction, so an instance may set
    them from its configuration.
    """

    Config: ClassVar[type[BaseModel]] = PluginConfig
    system: str = ""
    url: str = ""
    key_variable: ClassVar[str | None] = None
    credential: tuple[str, Any] | None = None
    unwanted: ClassVar[frozenset[bytes]] = frozenset()
    """Client headers, in lower case, that this vendor has no use for: other vendors' own."""
    realtime_model: str = "model"
    """The parameter in the query of a realtime session that names its model."""
    answers: ClassVar[bool] = False
    params: ClassVar[Mapping[str, str]] = {}
    """Keys of `llm.models[].params` that are settings of this provider, and what the settings are called there:
    `{"awsRegion": "region"}`."""

    def __init__(self, config: Any, host: Host) -> None:
        self.config = config
        self.host = host

    def dialects(self, operation: str) -> Sequence[str]:
        """Names of the dialects it takes for an operation (`chat`, `embeddings`, …), the preferred one first."""
        raise NotImplementedError

    def speaks(self, operation: str, model: str) -> Sequence[str]:
        """Those among them that it takes for that model, the preferred one first; for vendors whose models differ."""
        return self.dialects(operation)

    def path(self, call: LlmCall) -> str:
        """The path for a call that is already in one of its dialects, e.g. `/v1/chat/completions`."""
        raise NotImplementedError

    def verbatim(self, call: LlmCall) -> bool:
        """Whether that path is the operator's own word, which no prefix applies to."""
        return False

    def finish(self, outgoing: Outgoing, call: LlmCall) -> None:
        """Add the vendor's own headers, and move the credential to where the vendor looks for it; not one that
        `outgoing.pinned` names."""

    async def answer(self, call: LlmCall, outgoing: Outgoing) -> Reply:
        """Answer without a network, in the call's dialect, where `answers` says so. Raises `UpstreamError`."""
        raise NotImplementedError


class Credential:
    """One key of `backendAuth`: puts a credential on the outgoing request."""

    Config: ClassVar[type[BaseModel]] = PluginConfig
    signs: ClassVar[bool] = False

    def __init__(self, config: Any, host: Host) -> None:
        self.config = config
        self.host = host

    def apply(self, exchange: Exchange) -> Awaitable[None] | None:
        """Edit `exchange.outgoing`. With `signs` it runs last, when nothing changes any more."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin background work."""

    async def stop(self) -> None:
        """End what `start` began."""


class Segment:
    """One text of a message, as a guard sees it: who said it, what it is, where it stands, and a way to replace it.

    `role` is `system`, `user`, `assistant` or `tool`; `scope` the reference's word for what it is (`systemPrompt`,
    `messages`, `toolInput`, `toolOutput`), empty where a protocol has but one kind, which every guard sees; `path`
    where it stands in the client's document (`messages[2].content[0].text`); in a stream the path names the channel,
    whose texts belong together.
    """

    __slots__ = ("_put", "path", "role", "scope", "text")

    def __init__(self, role: str, scope: str, path: str, text: str, put: Callable[[str], None]) -> None:
        self.role = role
        self.scope = scope
        self.path = path
        self.text = text
        self._put = put

    def replace(self, text: str) -> None:
        if text != self.text:
            self.text = text
            self._put(text)

    def __repr__(self) -> str:
        return f"<Segment {self.role} {self.path} {len(self.text)} chars>"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guard says of some segments: replace texts (`masks`: by index), or refuse (`rejected`), with a reason
    for the log that quotes nothing. A refusal may bring its own `status` (400 to 599) and message (`body`), which
    stand for those of the file's `rejection`."""

    masks: Mapping[int, str] = field(default_factory=dict)
    rejected: bool = False
    reason: str = ""
    status: int | None = None
    body: str | None = None


PASS = Verdict()
StreamGuarantee: TypeAlias = Literal["hold-all", "hold-window", "observe"]
GuardPhase: TypeAlias = Literal["request", "response"]


class Guard:
    """Looks at segments and lets them pass, masks them or refuses.

    `stream` is what it promises for a streamed reply: `hold-all` (nothing leaves before the whole was seen),
    `hold-window` (the last `window` characters of each text are held back, so that nothing that `window` can show
    leaves unseen), `observe` (it only watches). A guard that can keep none of them on a route is refused at load.
    `scopes` are those of the segments it is shown. One that never `masks` is asked at the same time as its neighbours
    of that kind. `fails_open` is its own word on what happens when it cannot do its work; the file's wins.
    """

    Config: ClassVar[type[BaseModel]] = PluginConfig
    stream: StreamGuarantee = "hold-all"
    window: int = 256
    masks: bool = True
    fails_open: bool = False
    scopes: frozenset[str] = frozenset({"systemPrompt", "messages"})

    def __init__(self, config: Any, host: Host) -> None:
        self.config = config
        self.host = host

    @property
    def phase(self) -> GuardPhase:
        """Whether it looks at what clients send or at what models answer, by the list of `promptGuard` it stands in
        (`….response[0].regex`)."""
        return "response" if self.host.path[-3:-2] == ("response",) else "request"

    def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict | Awaitable[Verdict]:
        """Judge the texts; `Verdict.masks` index into `segments`. Raising means that it could not do its work, and
        the request is refused."""
        raise NotImplementedError

    async def start(self) -> None:
        """Begin background work."""

    async def stop(self) -> None:
        """End what `start` began."""


class Protocol:
    """A language that clients of a route speak: reads requests into `exchange.call`, writes errors.

    `inline` promises that `decode` waits for nothing but the request's body, which spares each request a task. `passes`
    is set when a backend takes requests that nobody can read, of which `decode` then tells what it can. `models` says
    that the calls are those of models. `guards_failures` says that guards see replies of status 400 and above, too.
    """

    reads_body: ClassVar[bool] = False
    models: ClassVar[bool] = False
    guards_failures: ClassVar[bool] = False
    inline: ClassVar[bool] = False
    passes: bool = False

    async def decode(self, exchange: Exchange) -> None:
        """Set `exchange.call`. Raises `InvalidRequest`."""

    def content(self, exchange: Exchange) -> Content | None:
        """The reply's body as segments, when it has any that guards should see. Cached in `exchange.reply.content`."""
        return None

    def render(self, exchange: Exchange) -> None:
        """Make the reply's bytes anew from its content, after somebody changed it."""

    def error(self, exchange: Exchange, error: GatewayError) -> Reply:
        """The error in the client's own dialect."""
        return Reply.text(error.status, error.message, error.headers)


class Catalog:
    """A price catalogue that comes with a package. It is read once in the life of a process, while that serves."""

    async def read(self) -> bytes:
        """The catalogue as JSON, in the format of `config.modelCatalog[].inline`. Never holds up the event loop; ends
        what it has started when it is cancelled. Whatever it raises is logged, and there are no prices then."""
        raise NotImplementedError


__all__ = [
    "PASS",
    "Answering",
    "Backend",
    "BackendDraft",
    "Bucket",
    "Buckets",
    "Choice",
    "Content",
    "Counter",
    "Credential",
    "Guard",
    "GuardPhase",
    "Host",
    "Layer",
    "Level",
    "Link",
    "Lowered",
    "Participant",
    "PeerGone",
    "Peers",
    "Policy",
    "Protocol",
    "Provider",
    "RouteDraft",
    "Section",
    "Segment",
    "Store",
    "StreamGuarantee",
    "Taken",
    "Verdict",
]
