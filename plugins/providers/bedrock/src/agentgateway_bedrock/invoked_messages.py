"""The dialect `bedrock_messages`: Anthropic's messages as InvokeModel takes them. The model stands in the path, the
version in the body; streams are frames, each with an event of Anthropic's in base64.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import ClassVar

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.llm.calls import ChatCall, Delta, ErrorFacts, Failed, Head, Json
from agentgateway.llm.dialects import messages_stream
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import EVENT_LIMIT, Event, Parser
from agentgateway.llm.wire import wrong
from agentgateway_bedrock import converse_errors
from agentgateway_bedrock.converse import Converse
from agentgateway_bedrock.frames import CONTENT_TYPE, Frame, FrameParser, event, exception, frame
from agentgateway_bedrock.invoked import asked, path_of

VERSION = "anthropic_version"
PUBLISHED = "bedrock-2023-05-31"
CHUNK, BYTES = "chunk", "bytes"
ELSEWHERE = ("model", "stream")
"""Keys of Anthropic's own that the path says here."""


class InvokedMessages(Messages):
    name = "bedrock_messages"
    paths: ClassVar[tuple[str, ...]] = ()
    client_header: ClassVar[str] = ""
    model_in_path: ClassVar[bool] = True
    stream_content_type: ClassVar[str] = CONTENT_TYPE
    error_header: ClassVar[str] = Converse.error_header

    def path(self, model: str, *, stream: bool = False) -> str:
        return path_of(model, stream=stream)

    def read(self, document: Json, path: str) -> Head:
        model, stream = asked(path)
        if document.get(VERSION) != PUBLISHED:
            raise wrong(VERSION, f"`{PUBLISHED}`")
        for key in ELSEWHERE:
            if key in document:
                raise InvalidRequest(f"{key}: stands in the path, and not here", param=key)
        head = super().read(document | {"model": model}, Messages.paths[0])
        return Head(model, stream, head.flat)

    def write_model(self, document: Json, model: str) -> None:
        """The model stands in the path."""

    def decode_call(self, document: Json) -> ChatCall:
        return super().decode_call(document | {"model": ""})

    def encode_call(self, call: ChatCall) -> Json:
        document = super().encode_call(call)
        return {VERSION: PUBLISHED} | {key: value for key, value in document.items() if key not in ELSEWHERE}

    # streams

    def parser(self, limit: int = EVENT_LIMIT) -> ChunkParser:
        return ChunkParser(limit)

    def decoder(self) -> Decoder:
        return Decoder()

    def encoder(self, *, include_usage: bool = False) -> Encoder:
        return Encoder()

    # errors

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return converse_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return converse_errors.encode_error(facts)


class Chunk(Frame):
    """A frame, read as the event of Anthropic's that it holds."""

    __slots__ = ()

    def __init__(self, outer: Frame) -> None:
        held = (outer.document or {}).get(BYTES)
        try:
            data = b64decode(held if isinstance(held, str) else b"-", validate=True)
        except ValueError:
            raise UpstreamError("the upstream sent an event that cannot be read", detail=BYTES) from None
        Event.__init__(self, data, None, outer.raw)
        self.failed, self._headers = False, outer._headers

    def encode(self) -> bytes:
        if not self.changed or self.document is None:
            return self.raw
        return frame(dump({BYTES: b64encode(dump(self.document)).decode()}), self._headers)


class ChunkParser(FrameParser):
    def feed(self, chunk: bytes) -> list[Event]:
        return [Chunk(one) if isinstance(one, Frame) and one.name == CHUNK else one for one in super().feed(chunk)]


class Decoder(messages_stream.Decoder):
    """Anthropic's, and exceptions."""

    def feed(self, event: Event) -> list[Delta]:
        if isinstance(event, Frame) and event.failed and not self._over:
            return self._fail(converse_errors.decode_error(None, event.data or b"", event.name))
        return super().feed(event)


class Encoder(messages_stream.Encoder):
    """Anthropic's events, framed one by one; an error is the exception that stands for its status."""

    def __init__(self) -> None:
        super().__init__()
        self._parser = Parser()

    def feed(self, delta: Delta) -> bytes:
        if isinstance(delta, Failed):
            return self.fail(delta.facts)
        return b"".join(map(chunk_of, self._parser.feed(super().feed(delta))))

    def _error(self, facts: ErrorFacts) -> bytes:
        return exception(converse_errors.exception_type(facts), {"message": facts.message})


def chunk_of(said: Event) -> bytes:
    return event(CHUNK, {BYTES: b64encode(said.data or b"").decode()})
