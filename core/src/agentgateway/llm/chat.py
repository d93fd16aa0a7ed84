"""One canonical chat call, its reply and its stream; every dialect translates from and to these.

Nothing here is wire format. What a vendor's document says and these classes cannot hold, the vendor's dialect refuses
by name or drops as `docs/dialects.md` says. `at` is where a part stood in the client's document; it serves messages of
errors and takes no part in comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from agentgateway.exchange import Usage


@dataclass(frozen=True, slots=True)
class CacheMark:
    """The prompt up to and including here should be cached; `ttl` as the client wrote it (`5m`, `1h`)."""

    ttl: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: either `url` (http or https), or `data` (base64) with its `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None
    cache: CacheMark | None = None
    at: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Document:
    """A file to read: one of `data` (base64), `url`, or `text`. `citations` asks the model to quote from it."""

    data: str | None = None
    url: str | None = None
    text: str | None = None
    media_type: str | None = None
    title: str | None = None
    context: str | None = None
    citations: bool = False
    cache: CacheMark | None = None
    at: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model calls a tool. `arguments` is JSON text, as the model wrote it; "{}" when it wrote nothing."""

    id: str
    name: str
    arguments: str
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered to the call with that `id`."""

    id: str
    parts: tuple[Text | Image | Document, ...]
    is_error: bool = False
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning of the model. `signature` lets its vendor trust it when it comes back; `redacted` is the vendor's
    ciphertext where the text itself is withheld."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str


Part: TypeAlias = Text | Image | Document | ToolUse | ToolResult | Thinking | Refusal
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. Role `tool` has nothing but `ToolResult` parts: all the answers to the turn before, in one message.
    Role `system` is an instruction in the middle of a conversation; those at its head are in `ChatCall.system`."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call; `schema` is the JSON Schema of its arguments."""

    name: str
    description: str | None = None
    schema: Mapping[str, Any] | None = None
    strict: bool | None = None
    cache: CacheMark | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """`named` goes with `name`. `parallel` is None where the client left it to the vendor."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str | None = None
    parallel: bool | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    kind: Literal["text", "json", "schema"]
    schema: Mapping[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """How much to think: an `effort` (`none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max`), a `budget` in
    tokens, or as the model sees fit (`adaptive`, where `effort` may say more)."""

    effort: str | None = None
    budget: int | None = None
    adaptive: bool = False


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A request for a chat completion. None is "not said", which differs from every value."""

    model: str
    messages: tuple[Message, ...]
    system: tuple[Text, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False
    reasoning: Reasoning | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    n: int = 1
    verbosity: str | None = None
    metadata: Mapping[str, str] | None = None
    service_tier: str | None = None
    cache: CacheMark | None = None


StopReason: TypeAlias = Literal["stop", "length", "tool_use", "refusal", "stop_sequence", "pause"]


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The answer. `created` is in seconds of the epoch, None where the vendor does not say."""

    id: str
    model: str
    parts: tuple[Part, ...]
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    created: int | None = None
    service_tier: str | None = None


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """An error as some dialect told it. `type` is the vendor's word; each dialect writes its own by `status`."""

    status: int
    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None


PartKind: TypeAlias = Literal["text", "thinking", "redacted_thinking", "tool_use", "refusal"]


@dataclass(frozen=True, slots=True)
class Started:
    id: str
    model: str
    usage: Usage | None = None
    created: int | None = None


@dataclass(frozen=True, slots=True)
class PartStarted:
    """A part begins. Parts may interleave until each has its `PartEnded`; an index is never used again. `data` is a
    redacted thinking's ciphertext."""

    index: int
    kind: PartKind
    id: str = ""
    name: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class TextDelta:
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    index: int
    text: str


@dataclass(frozen=True, slots=True)
class SignatureDelta:
    index: int
    signature: str


@dataclass(frozen=True, slots=True)
class ToolArgumentsDelta:
    index: int
    json: str


@dataclass(frozen=True, slots=True)
class PartEnded:
    index: int


@dataclass(frozen=True, slots=True)
class Ended:
    stop_reason: StopReason | None
    stop_sequence: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The stream broke, or its vendor said so. Nothing follows."""

    facts: ErrorFacts


Delta: TypeAlias = (
    Started | PartStarted | TextDelta | ThinkingDelta | SignatureDelta | ToolArgumentsDelta | PartEnded | Ended | Failed
)
