"""The `Dialect` interface: a wire format of model calls, and what it says about itself.

A dialect is a stateless singleton, found by name in the entry-point group `agentgateway.dialects`; adding one touches
no other file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Headers, Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.caching import CacheRule
from agentgateway.llm.chat import ChatCall, ChatReply, Delta, ErrorFacts
from agentgateway.llm.sse import CONTENT_TYPE, EVENT_LIMIT, Event, Parser

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


@dataclass(slots=True)
class Head:
    """What routing needs of a call before anything else of it is read.

    `flat` is an array of the document, if one was seen to hold only objects of two keys whose values are texts, as
    ordinary messages are: nobody needs to walk it again. `rewritten` says that the document was brought into another
    shape than its bytes have, with as many keys. `dialect` is the one that the document turned out to be in, where a
    path has several.
    """

    model: str
    stream: bool
    flat: Sequence[Any] = ()
    rewritten: bool = False
    dialect: Dialect | None = None


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of a listing; `created` in seconds of the epoch."""

    id: str
    created: int = 0
    owned_by: str = "agentgateway"
    display_name: str | None = None


def nothing() -> None:
    """Nobody wants to know of the edit."""


class EventParser(Protocol):
    """Cuts the bytes of a stream into events, whatever their framing. One for each stream; `sse.Parser` is one."""

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete now. Raises `UpstreamError` for what is no event, or a too long one."""

    def end(self) -> list[Event]:
        """What was left when the bytes ended, if it is an event."""

    @property
    def waiting(self) -> int:
        """Bytes of an event that is not complete yet."""


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
    JSON keys that hold generated text in a stream, `usage_key` and `model_key` those of the vendor's usage object and
    of the model's name there. `plain` and `prepare` edit a call's document in place and say whether they changed it.

    `model_in_path` says that a call's model, and whether its reply is streamed, stand in its path and not in its
    document; `replies` that its replies are documents, where others (sound) pass as they come, and `plain_replies` that
    they may be a plain text instead, which is read as a document with the one key `text`; `forms` that its calls may be
    forms (`multipart/form-data`), which are never held whole, and `form_texts` which fields of those hold what
    somebody wrote. `stream_content_type` is the media type of streams: those of another type than server-sent events
    bring their own `parser`. `error_header` is a header that tells an error's type besides its body.

    `unread` says that nobody reads the texts of its calls and replies, so that guards refuse them; `passes` how such
    calls are passed on (`detect`: the reply is looked at for its usage; `opaque`: it is not), if that is not left to
    the provider's own configuration.
    """

    name: ClassVar[str]
    operation: ClassVar[str] = "chat"
    paths: ClassVar[tuple[str, ...]] = ()
    client_header: ClassVar[str] = ""
    model_in_path: ClassVar[bool] = False
    replies: ClassVar[bool] = True
    plain_replies: ClassVar[bool] = False
    forms: ClassVar[bool] = False
    form_texts: ClassVar[tuple[str, ...]] = ()
    stream_content_type: ClassVar[str] = CONTENT_TYPE
    error_header: ClassVar[str] = ""
    unread: ClassVar[bool] = False
    passes: ClassVar[str] = ""
    end_marker: ClassVar[bytes] = b""
    usage_key: ClassVar[bytes] = b"usage"
    model_key: ClassVar[bytes] = b"model"
    text_keys: ClassVar[tuple[bytes, ...]] = ()
    fields: ClassVar[Mapping[str, Fate]] = {}
    reply_fields: ClassVar[Mapping[str, Fate]] = {}
    inexpressible: ClassVar[Mapping[str, Fate]] = {}

    # calls

    def path(self, model: str, *, stream: bool = False) -> str:
        """Where the vendor takes such a call."""
        return self.paths[0]

    def read(self, document: Json, path: str) -> Head:
        """Check the shapes that routing and guards rely on. Raises `InvalidRequest` naming the field."""
        raise NotImplementedError

    def check_query(self, query: str, path: str) -> None:
        """Refuse a request whose query asks for what is not served. Raises `InvalidRequest`."""

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

    def mark_cache(self, document: Json, rule: CacheRule, model: str) -> bool:
        """Ask the vendor to keep the beginning of the prompt, where this format has words for it and the client has
        said nothing of its own. Replaces top-level keys and edits nothing inside; whether it did."""
        return False

    def tool_name(self, name: str) -> str:
        """How a tool of that name is called in this dialect: the same, unless the vendor refuses such names."""
        return name

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Put messages (`role`, `content`) before and after those of the call."""
        raise NotImplementedError

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        """Every text of the call; replacing one edits the document and calls `edited`."""
        raise NotImplementedError

    def unreadable(self, document: Json) -> str:
        """The field of the call that holds what no guard can read (a prompt in tokens); empty when all is text."""
        return ""

    def answer(self, call: Any, provider: str, model: str) -> Json | None:
        """What the gateway itself answers to a call of this dialect, where the provider has nothing for it; None when
        that is an error. `call` is the `LlmCall`; `model` is what the provider would have been asked for."""
        return None

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

    def read_headers(self, document: Json, headers: Headers) -> None:
        """Put what a reply tells in its header fields (its usage) into the document, where this dialect looks for it.
        For dialects of providers only: the document is translated afterwards."""

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

    def parser(self, limit: int = EVENT_LIMIT) -> EventParser:
        """`limit` bounds one event, in bytes."""
        return Parser(limit)

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

    def concludes(self, event: Event) -> bool:
        """Whether the answer was whole with that event, though the stream's own end may be missing."""
        return self.ends(event)

    def only_usage(self, event: Event) -> bool:
        """Whether that event tells usage and nothing else: one that comes only because `prepare` asked for it, and that
        a client who did not ask does not get."""
        return False

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
