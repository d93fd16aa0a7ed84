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
getter      agentgateway.variables      a variable of expressions: a function from the exchange to its value
Catalog     agentgateway.catalogs       a `plugin` of `config.modelCatalog`
Store       agentgateway.stores         the scheme of `config.store.url`
a command   agentgateway.commands       `agentgateway NAME` (see `agentgateway.commands`)
==========  ==========================  =====================================================================

Every class names its configuration model as `Config`; the loader validates the file's value with it and passes the
result and a `Host` to the constructor (a `Catalog` takes neither, a `Store` its URL). Constructors have no side
effects: work starts in `start` and ends in `stop`, which is called also when start failed half-way. The entry point's
module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar

from pydantic import BaseModel

from agentgateway.exchange import Content, Exchange, Outgoing, Reply, Target
from agentgateway.expressions import Expression
from agentgateway.settings import PluginConfig

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from agentgateway.errors import GatewayError
    from agentgateway.llm.calls import LlmCall

Level: TypeAlias = Literal["gateway", "route", "backend"]
Choice: TypeAlias = Literal["health", "weight", "first"]
"""By health inside a priority; by weight; or the first that is admitted, in the file's order, and no other."""
P = TypeVar("P")


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


class Counter:
    """A counter with labels. `add` costs a dictionary update."""

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Bucket:
    """A token bucket's rule: at most `capacity`, `fill` more every `interval` seconds."""

    capacity: int
    fill: int
    interval: float


class Taken(NamedTuple):
    """The outcome of taking from a bucket: whether it was allowed, what is left, seconds until the next fill."""

    allowed: bool
    remaining: int
    reset: float


class Buckets:
    """Token buckets by key."""

    def take(self, key: str, rule: Bucket, amount: int = 1, *, force: bool = False) -> Taken:
        """Take `amount` if it is there. With `force` it is taken anyway and the bucket may go below zero (a charge
        after the fact); `amount=0` asks whether anything is left."""
        raise NotImplementedError


class Store:
    """Keys to bytes: what has to outlast a process. `url` is `config.store.url`, whose scheme is the name in the entry-
    point group; relative file names start at `folder`. The constructor raises `ConfigError` for a URL that makes no
    sense, and opens nothing.

    What several processes open by one URL they share. A key is any text. Every method raises `StoreFailed` when the
    store cannot do its work; none holds up the event loop. One that is cancelled may have done its work all the same.
    """

    def __init__(self, url: str, folder: Path) -> None:
        raise NotImplementedError

    async def get(self, key: str) -> bytes | None:
        """The value, None where there is none, or it has expired."""
        raise NotImplementedError

    async def put(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """Set a value, which expires after `ttl` seconds; None is never, also where the one before it had a time."""
        raise NotImplementedError

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None = None) -> bool:
        """Compare and set, at once for everybody: if the value is `old` (None: there is none) it becomes `new` (None:
        it is deleted). Whether it was."""
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        """Remove a value, if there is one."""
        raise NotImplementedError

    async def keys(self, prefix: str) -> list[str]:
        """The keys that begin so, in order."""
        raise NotImplementedError

    async def start(self) -> None:
        """Open it, before anything is asked of it."""

    async def stop(self) -> None:
        """Close it."""


class PeerGone(Exception):
    """Nobody is there: a worker has ended, or what it had at an address; or the other end of a link broke off."""


class Link:
    """Frames between two workers, both ways and in order. Who calls opens it and closes it; for who answers it is
    closed at the end of that. What either end sends waits for its reader, up to some 256 KiB and one frame."""

    async def send(self, frame: bytes) -> None:
        """Send, at the pace the other end reads. Raises `PeerGone`."""
        raise NotImplementedError

    async def receive(self) -> bytes | None:
        """The next frame; None when the other end has said all it had to say. Raises `PeerGone`."""
        raise NotImplementedError

    def close(self) -> None:
        """All is said: the other end gets what was sent, and then None."""
        raise NotImplementedError

    def abort(self) -> None:
        """Break off: the other end gets `PeerGone`."""
        raise NotImplementedError


Answering: TypeAlias = Callable[[Link], Awaitable[None]]


class Peers:
    """The workers of this gateway, to each other: what lives in one of them has an address and is reached from all.
    A process alone has the same, with nobody but itself."""

    def open(self, answering: Answering) -> str:
        """An address that nobody can guess, until it is closed. `answering` is run for every link that somebody opens
        to it, and is to end when `Link.receive` or `Link.send` say that the other end has left."""
        raise NotImplementedError

    def close(self, address: str) -> None:
        """Nobody is there any more. Links that are open stay so."""
        raise NotImplementedError

    async def call(self, address: str) -> Link:
        """A link to what is at an address, whichever worker that is in. Raises `PeerGone`, and `UpstreamError` when
        that worker cannot be reached for now."""
        raise NotImplementedError

    def agree(self, name: str, value: str, instead_of: str = "", *, seconds: float) -> str:
        """Have all workers take `value` for that name, for so many seconds; but where another one has said something
        since it was `instead_of`, take that. What holds now."""
        raise NotImplementedError

    def agreed(self, name: str) -> str:
        """What holds for that name; empty for nothing."""
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
    that the calls are those of models.
    """

    reads_body: ClassVar[bool] = False
    models: ClassVar[bool] = False
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


class Section:
    """A top-level key of the file that lowers to gateways, routes and backends."""

    Config: ClassVar[type[BaseModel]] = PluginConfig

    def lower(self, config: Any, gateways: frozenset[str]) -> Lowered:
        """The same meaning in the terms of the fixed part; `gateways` are the names the file defines itself.

        Raises `ConfigError`.
        """
        raise NotImplementedError


@dataclass(slots=True)
class Layer:
    """Policies that stand at one place, shared by every route below it. `at` is the place's key path."""

    at: tuple[str | int, ...]
    policies: Mapping[str, Any] = field(default_factory=dict)
    level: Level = "route"
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    """Where a policy stands in the file when that is not `at` plus its name."""


@dataclass(slots=True)
class BackendDraft:
    """One entry of a route's `backends`: a kind, its configuration, and the policies on it."""

    at: tuple[str | int, ...]
    kind: str
    config: Any
    weight: int = 1
    layers: list[Layer] = field(default_factory=list)
    priority: int = 0
    """Added to the priorities of its targets; those of the lowest are used while any of them is well."""
    when: str | None = None
    """The condition (CEL) under which it may be chosen."""
    paths: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict)
    """Where keys of `config` stand in the file when that is not below `at`; a key inside another one is `a.b`."""


@dataclass(slots=True)
class RouteDraft:
    """A route before it is compiled. `gateways` are references (`name` or `name/listener`); `matches` as in the file,
    plus `model`, which matches the model a call names; `choice` how one of several backends is chosen."""

    at: tuple[str | int, ...]
    name: str
    gateways: Sequence[str]
    hostnames: Sequence[str] = ()
    matches: Sequence[Any] = ()
    layers: list[Layer] = field(default_factory=list)
    backends: list[BackendDraft] = field(default_factory=list)
    rule: str = ""
    choice: Choice | None = None


@dataclass(slots=True)
class Lowered:
    """What a section turns into. `gateways` maps a name to the fixed part's gateway, as in the file."""

    gateways: dict[str, Any] = field(default_factory=dict)
    routes: list[RouteDraft] = field(default_factory=list)


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
