"""What a model call is to the rest of the gateway: `LlmCall`, `LlmReply`, and the names around them.

The same document never travels through the canonical model when both sides speak the same dialect: bytes pass, fields
nobody knows survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import ClassVar

from agentgateway.errors import GatewayError, UpstreamError
from agentgateway.exchange import Body, Content, Usage
from agentgateway.interfaces import Segment
from agentgateway.llm import documents
from agentgateway.llm.caching import CacheRule
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
from agentgateway.llm.dialect import (
    Dialect,
    Fate,
    Head,
    Json,
    ModelEntry,
    StreamDecoder,
    StreamEncoder,
    Untranslatable,
    nothing,
)
from agentgateway.llm.restoring import restored

JSON_FIELD = (b"content-type", b"application/json")


class LlmCall(Content):
    """A model call on its way: `exchange.call` of routes that speak to models.

    `model` is what is asked for now, `requested_model` what the client asked; `raw` the bytes as they came. `prepared`
    says of an outbound call that `Dialect.prepare` put something into it; `caching` what of its prompt its vendor is
    to keep; `passes` that nothing but policies may change it (`detect`, `opaque`; empty for most calls). `whole` says
    that its body was read, and is all in `document`.
    """

    whole: ClassVar[bool] = True
    __slots__ = (
        *("_canonical", "_changed", "caching", "dialect", "document", "model", "operation", "passes", "path"),
        *("prepared", "raw", "requested_model", "stream"),
    )

    def __init__(
        self, dialect: Dialect, document: Json, head: Head | LlmCall, *, raw: bytes | None = None, path: str = ""
    ) -> None:
        """`head` may be a call that this one is made of."""
        self.dialect = dialect
        self.operation: str = dialect.operation
        self.document = document
        self.raw = raw
        self.path = path
        self.model: str = head.model
        self.requested_model: str = head.model
        self.stream: bool = head.stream
        self.prepared = False
        self.caching: CacheRule | None = None
        self.passes = ""
        self._changed = raw is None
        self._canonical: ChatCall | None = None

    @classmethod
    def read(cls, dialect: Dialect, raw: bytes, path: str = "") -> LlmCall:
        """Parse and check a body. Raises `InvalidRequest`."""
        try:
            document = documents.read_object(raw)
        except ValueError as error:
            raise documents.no_object(error) from None
        try:
            head = dialect.read(document, path)
        except GatewayError:
            documents.check(document, raw)  # that it says two things is told first
            raise
        documents.check(document, raw, head.flat)
        call = cls(head.dialect or dialect, document, head, raw=raw, path=path)
        call._changed = head.rewritten
        return call

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
        if not self.dialect.model_in_path:
            self.model, self.stream = head.model, head.stream

    def ask(self, model: str) -> None:
        """Ask for another model from here on."""
        if model != self.model:
            self.model = model
            if not self.dialect.model_in_path:
                self.dialect.write_model(self.edit(), model)

    def enrich(self, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        self.dialect.enrich(self.edit(), prepend, append)

    def mark_cache(self) -> None:
        """Put the marks of `caching` into the document."""
        if self.caching is not None and self.dialect.mark_cache(self.document, self.caching, self.model):
            self.mark_changed()

    def segments(self) -> list[Segment]:
        return self.dialect.call_segments(self.document, self.mark_changed)

    def unreadable(self) -> str:
        """What of the call no guard can read; empty when all is text."""
        return self.dialect.unreadable(self.document)

    def payload(self) -> bytes | Body:
        """What is sent."""
        return self.body()

    def framing(self) -> list[tuple[bytes, bytes]]:
        """Header fields about the body."""
        return [JSON_FIELD]

    def body(self) -> bytes:
        """The bytes to send: those that came, unless something was changed."""
        if self.raw is None or self._changed:
            return documents.dump(self.document)
        return self.raw

    def copy(self) -> LlmCall:
        return self._beside(deepcopy(self.document))

    def _beside(self, document: Json) -> LlmCall:
        """The same call with a document of its own."""
        call = LlmCall.__new__(LlmCall)
        call.dialect, call.operation, call.document = self.dialect, self.operation, document
        call.raw, call.path = self.raw, self.path
        call.model, call.requested_model, call.stream = self.model, self.requested_model, self.stream
        call.prepared, call._changed, call._canonical, call.caching = False, self._changed, None, None
        call.passes = ""
        return call

    def canonical(self) -> ChatCall:
        """Raises `Untranslatable`."""
        if self._canonical is None:
            decoded = self.dialect.decode_call(self.document)
            self._canonical = replace(decoded, model=self.model, stream=self.stream)
        return self._canonical

    def translated(self, to: Dialect, model: str | None = None) -> LlmCall:
        """The same call in another dialect, asking for that model. Raises `Untranslatable`."""
        if to.name == self.dialect.name:
            return self
        canonical = self.canonical()
        if model is not None and model != canonical.model:
            canonical = replace(canonical, model=model)  # known before it is put in words: they depend on it
        call = LlmCall(to, to.encode_call(canonical), self)
        call.model = canonical.model
        call.requested_model = self.requested_model
        return call

    def outbound(self, to: Dialect, model: str | None = None) -> LlmCall:
        """A call of its own for one attempt: in that dialect, asking for that model. Edits of keys at its top leave
        this one as it is, for the next attempt. Raises `Untranslatable`."""
        if to is not self.dialect and to.name != self.dialect.name:
            call = self.translated(to, model)
        else:
            call = self._beside(self.document.copy())
            if to.prepare(call.document, call.stream):
                call.prepared = True
                call.mark_changed()
        if model is not None:
            call.ask(model)
        return call

    def passed(self, how: str, model: str | None = None) -> LlmCall:
        """A call of its own for one attempt, as the client and the policies left it. Raises `Untranslatable`."""
        call = self._beside(self.document.copy())
        call.passes = how
        if model is not None:
            call.ask(model)
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
        reply = self.dialect.decode_reply(self.document)
        return LlmReply(to, to.encode_reply(reply if call is None else restored(reply, self.dialect, call), call))

    def __repr__(self) -> str:
        return f"<LlmReply {self.dialect.name}>"


class PlainReply(LlmReply):
    """A whole reply that is a text and no document: its `document` has the one key `text`."""

    @classmethod
    def read(cls, dialect: Dialect, raw: bytes) -> PlainReply:
        try:
            return cls(dialect, {"text": raw.decode()}, raw)
        except UnicodeDecodeError:
            raise UpstreamError("the upstream's reply is not UTF-8 text") from None

    def segments(self) -> list[Segment]:
        return self.dialect.reply_segments(self.document, self.mark_changed)

    def body(self) -> bytes:
        text: str = self.document["text"]
        return text.encode() if self.raw is None or self.changed else self.raw


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
    "PlainReply",
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
