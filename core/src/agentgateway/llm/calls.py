"""What a model call is to the rest of the gateway: `LlmCall`, `LlmReply`, and the `Dialect` interface behind them.

A dialect is a wire format of model calls. It is a stateless singleton, found by name in the entry-point group
`agentgateway.dialects`; adding one touches no other file. The same document never travels through the canonical model
when both sides speak the same dialect: bytes pass, fields nobody knows survive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.exchange import Content, Usage
from agentgateway.interfaces import Segment
from agentgateway.llm import documents
from agentgateway.llm.chat import (
    CacheMark,
    ChatCall,
    ChatReply,
    Delta,
    Document,
    Ended,
    ErrorFacts,
    Failed,
    Image,
    Message,
    Part,
    PartEnded,
    PartKind,
    PartStarted,
    Reasoning,
    Refusal,
    ResponseFormat,
    Role,
    SignatureDelta,
    Started,
    StopReason,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    Tool,
    ToolArgumentsDelta,
    ToolChoice,
    ToolResult,
    ToolUse,
)

if TYPE_CHECKING:
    from agentgateway.llm.sse import Event

Json: TypeAlias = dict[str, Any]
Fate: TypeAlias = Literal["carried", "refused", "dropped"]
"""What becomes of a field on its way to another dialect; `docs/dialects.md` lists every field with its fate."""


class Untranslatable(InvalidRequest):
    """The call says something that the other side has no words for. `field` is where it stands in the client's
    document."""

    code = "unsupported_parameter"

    def __init__(self, field: str, what: str = "") -> None:
        name = field.rpartition(".")[2]
        says = what or f"`{name}`"
        super().__init__(f"{field}: {says} cannot be expressed for this model's provider", param=field)


@dataclass(frozen=True, slots=True)
class Head:
    """What routing needs of a call before anything else of it is read."""

    model: str
    stream: bool


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of a listing; `created` in seconds of the epoch."""

    id: str
    created: int = 0
    owned_by: str = "agentgateway"
    display_name: str | None = None


def nothing() -> None:
    """Nobody wants to know of the edit."""


class StreamDecoder:
    """Reads one stream of its dialect. One for each stream."""

    def feed(self, event: Event) -> Sequence[Delta]:
        """What that event adds. After a `Failed` or `Ended` nothing comes any more."""
        raise NotImplementedError

    def end(self) -> Sequence[Delta]:
        """The bytes ended. A stream that stopped before its answer was complete yields `Failed`."""
        raise NotImplementedError


class StreamEncoder:
    """Writes one stream of its dialect. One for each stream."""

    def feed(self, delta: Delta) -> bytes:
        raise NotImplementedError

    def end(self) -> bytes:
        """What is left to write when no delta comes any more."""
        raise NotImplementedError

    def fail(self, facts: ErrorFacts) -> bytes:
        """An error in the middle of the stream. Nothing may follow it."""
        raise NotImplementedError


class Dialect:
    """A wire format of model calls. Documents are JSON objects as `documents.parse` gives them.

    `paths` are the endings by which a request of this dialect is recognised, `client_header` a header that only its
    clients send, for paths that several vendors share. `fields` and `reply_fields` say of every field of a call and of
    a reply what becomes of it towards another dialect; `inexpressible` what becomes of the canonical fields that this
    dialect has no word for. `end_marker` stands in the last event of a stream and in no other; `text_keys` are the
    JSON keys that hold generated text in a stream. `plain` and `prepare` edit a call's document in place and say
    whether they changed it.
    """

    name: ClassVar[str]
    operation: ClassVar[str] = "chat"
    paths: ClassVar[tuple[str, ...]] = ()
    client_header: ClassVar[str] = ""
    stream_content_type: ClassVar[str] = "text/event-stream"
    end_marker: ClassVar[bytes] = b""
    text_keys: ClassVar[tuple[bytes, ...]] = ()
    fields: ClassVar[Mapping[str, Fate]] = {}
    reply_fields: ClassVar[Mapping[str, Fate]] = {}
    inexpressible: ClassVar[Mapping[str, Fate]] = {}

    # calls

    def read(self, document: Json, path: str) -> Head:
        """Check the shapes that routing and guards rely on. Raises `InvalidRequest` naming the field."""
        raise NotImplementedError

    def write_model(self, document: Json, model: str) -> None:
        raise NotImplementedError

    def decode_call(self, document: Json) -> ChatCall:
        """Raises `Untranslatable` for what the canonical call cannot hold, `InvalidRequest` for wrong types."""
        raise NotImplementedError

    def encode_call(self, call: ChatCall) -> Json:
        """Raises `Untranslatable` for what this dialect cannot express."""
        raise NotImplementedError

    def prepare(self, document: Json, stream: bool) -> bool:
        """What a document that was already in this dialect still needs before it is sent on."""
        return False

    def plain(self, document: Json) -> bool:
        """Take out what `encode_call` writes beyond the vendor's own published format (extension fields that only
        compatible vendors accept). For providers that refuse fields they do not know."""
        return False

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Put messages (`role`, `content`) before and after those of the call."""
        raise NotImplementedError

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        """Every text of the call; replacing one edits the document and calls `edited`."""
        raise NotImplementedError

    # replies

    def decode_reply(self, document: Json) -> ChatReply:
        """Raises `UpstreamError` when the document is no reply."""
        raise NotImplementedError

    def encode_reply(self, reply: ChatReply, call: ChatCall | None = None) -> Json:
        raise NotImplementedError

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        raise NotImplementedError

    def reply_model(self, document: Json) -> str | None:
        """The model that answered, as a reply or an event of a stream names it."""
        model = document.get("model")
        return model if isinstance(model, str) else None

    # usage

    def usage_fields(self, document: Json) -> Json | None:
        """The vendor's usage object of a reply or of an event of a stream, when there is one."""
        usage = document.get("usage")
        return usage if isinstance(usage, dict) else None

    def usage_complete(self, document: Json) -> bool:
        """Whether the usage of that event is the stream's last word on output tokens."""
        return True

    def read_usage(self, fields: Json) -> Usage:
        """A vendor's usage object, by this dialect's conventions."""
        raise NotImplementedError

    def usage(self, document: Json) -> Usage | None:
        """The usage of a reply, or of one event of a stream by itself."""
        fields = self.usage_fields(document)
        return self.read_usage(fields) if fields is not None else None

    # streams

    def decoder(self) -> StreamDecoder:
        raise NotImplementedError

    def encoder(self, *, include_usage: bool = False) -> StreamEncoder:
        raise NotImplementedError

    def event_segments(self, event: Event) -> list[Segment]:
        """The texts of one event; `path` names the channel that they are a piece of. Replacing one edits the event."""
        raise NotImplementedError

    def ends(self, event: Event) -> bool:
        """Whether that event is the stream's own end."""
        raise NotImplementedError

    # errors and listings

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        """Never raises: a body that is no error of this dialect leaves a general sentence."""
        raise NotImplementedError

    def encode_error(self, facts: ErrorFacts) -> Json:
        raise NotImplementedError

    def models(self, entries: Sequence[ModelEntry]) -> Json:
        """The answer to a listing of models."""
        raise NotImplementedError

    def model(self, entry: ModelEntry) -> Json:
        """The answer to a question for one model: the listing's only entry."""
        found: Json = self.models([entry])["data"][0]
        return found


class LlmCall(Content):
    """A model call on its way: `exchange.call` of routes that speak to models.

    `model` is what is asked for now, `requested_model` what the client asked; `raw` the bytes as they came.
    """

    __slots__ = ("_canonical", "_changed", "dialect", "document", "model", "path", "raw", "requested_model", "stream")

    def __init__(
        self, dialect: Dialect, document: Json, head: Head, *, raw: bytes | None = None, path: str = ""
    ) -> None:
        self.dialect = dialect
        self.document = document
        self.raw = raw
        self.path = path
        self.model = head.model
        self.requested_model = head.model
        self.stream = head.stream
        self._changed = raw is None
        self._canonical: ChatCall | None = None

    @classmethod
    def read(cls, dialect: Dialect, raw: bytes, path: str = "") -> LlmCall:
        """Parse and check a body. Raises `InvalidRequest`."""
        document = documents.parse(raw)
        return cls(dialect, document, dialect.read(document, path), raw=raw, path=path)

    @property
    def operation(self) -> str:
        return self.dialect.operation

    @property
    def changed(self) -> bool:
        return self._changed

    def edit(self) -> Json:
        """The document, for somebody who is going to change it."""
        self.mark_changed()
        return self.document

    def mark_changed(self) -> None:
        self._changed = True
        self._canonical = None

    def reread(self) -> None:
        """Check an edited document again, and take its model and stream for the call's. Raises `InvalidRequest`."""
        head = self.dialect.read(self.document, self.path)
        self.model, self.stream = head.model, head.stream

    def ask(self, model: str) -> None:
        """Ask for another model from here on."""
        if model != self.model:
            self.model = model
            self.dialect.write_model(self.edit(), model)

    def enrich(self, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        self.dialect.enrich(self.edit(), prepend, append)

    def segments(self) -> list[Segment]:
        return self.dialect.call_segments(self.document, self.mark_changed)

    def body(self) -> bytes:
        """The bytes to send: those that came, unless something was changed."""
        if self.raw is None or self._changed:
            return documents.dump(self.document)
        return self.raw

    def canonical(self) -> ChatCall:
        """Raises `Untranslatable`."""
        if self._canonical is None:
            decoded = self.dialect.decode_call(self.document)
            self._canonical = replace(decoded, model=self.model, stream=self.stream)
        return self._canonical

    def translated(self, to: Dialect) -> LlmCall:
        """The same call in another dialect. Raises `Untranslatable`."""
        if to.name == self.dialect.name:
            return self
        call = LlmCall(to, to.encode_call(self.canonical()), Head(self.model, self.stream))
        call.requested_model = self.requested_model
        return call

    def __repr__(self) -> str:
        return f"<LlmCall {self.dialect.name} {self.model}{' streaming' if self.stream else ''}>"


class LlmReply(Content):
    """A whole reply to a model call: `reply.content` of buffered replies."""

    __slots__ = ("_changed", "dialect", "document", "raw")

    def __init__(self, dialect: Dialect, document: Json, raw: bytes | None = None) -> None:
        self.dialect = dialect
        self.document = document
        self.raw = raw
        self._changed = raw is None

    @classmethod
    def read(cls, dialect: Dialect, raw: bytes) -> LlmReply:
        """Parse what an upstream answered. Raises `UpstreamError`."""
        try:
            return cls(dialect, documents.read_object(raw), raw)
        except ValueError as error:
            raise UpstreamError("the upstream's reply is not a JSON object", detail=str(error)) from None

    @property
    def changed(self) -> bool:
        return self._changed

    def edit(self) -> Json:
        self.mark_changed()
        return self.document

    def mark_changed(self) -> None:
        self._changed = True

    def segments(self) -> list[Segment]:
        """The texts. A document with duplicate keys is made anew from here on, so that the client reads what guards
        read. Raises `UpstreamError` for numbers that no JSON document could carry on."""
        if self.raw is not None and not self._changed:
            try:
                self._changed = documents.duplicate_in(self.document, self.raw) is not None
            except ValueError as error:
                raise UpstreamError("the upstream's reply is not a JSON object", detail=str(error)) from None
        return self.dialect.reply_segments(self.document, self.mark_changed)

    def body(self) -> bytes:
        if self.raw is None or self._changed:
            return documents.dump(self.document)
        return self.raw

    def usage(self) -> Usage | None:
        return self.dialect.usage(self.document)

    def model(self) -> str | None:
        return self.dialect.reply_model(self.document)

    def translated(self, to: Dialect, call: ChatCall | None = None) -> LlmReply:
        """The same reply in another dialect. Raises `UpstreamError`."""
        if to.name == self.dialect.name:
            return self
        return LlmReply(to, to.encode_reply(self.dialect.decode_reply(self.document), call))

    def __repr__(self) -> str:
        return f"<LlmReply {self.dialect.name}>"


__all__ = [
    "CacheMark",
    "ChatCall",
    "ChatReply",
    "Delta",
    "Dialect",
    "Document",
    "Ended",
    "ErrorFacts",
    "Failed",
    "Fate",
    "Head",
    "Image",
    "Json",
    "LlmCall",
    "LlmReply",
    "Message",
    "ModelEntry",
    "Part",
    "PartEnded",
    "PartKind",
    "PartStarted",
    "Reasoning",
    "Refusal",
    "ResponseFormat",
    "Role",
    "SignatureDelta",
    "Started",
    "StopReason",
    "StreamDecoder",
    "StreamEncoder",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Tool",
    "ToolArgumentsDelta",
    "ToolChoice",
    "ToolResult",
    "ToolUse",
    "Untranslatable",
    "nothing",
]
