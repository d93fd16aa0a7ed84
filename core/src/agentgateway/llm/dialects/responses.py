"""The dialect `responses`: OpenAI's responses.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Fate, Head, Json, ModelEntry, Untranslatable, nothing
from agentgateway.llm.chat import ChatCall, ChatReply, ErrorFacts
from agentgateway.llm.dialects import (
    completions_errors,
    responses_call,
    responses_reply,
    responses_stream,
    responses_texts,
)
from agentgateway.llm.dialects.responses_fields import FIELDS, INEXPRESSIBLE, REPLY_FIELDS
from agentgateway.llm.dialects.responses_stream import Decoder
from agentgateway.llm.dialects.responses_writing import Encoder
from agentgateway.llm.sse import Event
from agentgateway.llm.wire import check_head, check_spelling, known_keys, wrong

_KEYS = known_keys(FIELDS)
_ITEM_KEYS = known_keys(FIELDS, "input[")
_PART_KEYS = known_keys(FIELDS, "input[message].content[")


class Responses(Dialect):
    name = "responses"
    paths: ClassVar[tuple[str, ...]] = ("/v1/responses", "/responses")
    text_keys: ClassVar[tuple[bytes, ...]] = (b"delta",)
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = REPLY_FIELDS
    inexpressible: ClassVar[Mapping[str, Fate]] = INEXPRESSIBLE

    # calls

    def read(self, document: Json, path: str) -> Head:
        head = check_head(document, _KEYS, ("max_output_tokens",))
        if document.get("instructions") is not None and type(document["instructions"]) is not str:
            raise wrong("instructions", "a string")
        head.flat = _check_input(document.get("input"))
        return head

    def write_model(self, document: Json, model: str) -> None:
        document["model"] = model

    def decode_call(self, document: Json) -> ChatCall:
        return responses_call.decode_call(document)

    def encode_call(self, call: ChatCall) -> Json:
        return responses_call.encode_call(call)

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Never as `instructions`: the vendor repeats those in its reply."""
        given = document.get("input") or []
        own = [{"role": "user", "content": given}] if isinstance(given, str) else given
        document["input"] = [*map(dict, prepend), *own, *map(dict, append)]

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(responses_texts.call_segments(document, edited))

    # replies

    def decode_reply(self, document: Json) -> ChatReply:
        return responses_reply.decode_reply(document)

    def encode_reply(self, reply: ChatReply, call: ChatCall | None = None) -> Json:
        return responses_reply.encode_reply(reply)

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(responses_texts.reply_segments(document, edited))

    def reply_model(self, document: Json) -> str | None:
        return super().reply_model(_response(document))

    def usage_fields(self, document: Json) -> Json | None:
        return super().usage_fields(_response(document))

    def read_usage(self, fields: Json) -> Usage:
        return responses_reply.read_usage(fields)

    # streams

    def decoder(self) -> Decoder:
        return Decoder()

    def encoder(self, *, include_usage: bool = False) -> Encoder:
        return Encoder()

    def event_segments(self, event: Event) -> list[Segment]:
        return list(responses_texts.event_segments(event))

    def ends(self, event: Event) -> bool:
        return responses_stream.ends(event)

    # errors and listings

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return completions_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return completions_errors.encode_error(facts)

    def model(self, entry: ModelEntry) -> Json:
        """https://platform.openai.com/docs/api-reference/models/object"""
        return {"id": entry.id, "object": "model", "created": entry.created, "owned_by": entry.owned_by}

    def models(self, entries: Sequence[ModelEntry]) -> Json:
        return {"object": "list", "data": [self.model(entry) for entry in entries]}


class Compact(Responses):
    """A conversation made shorter: https://platform.openai.com/docs/api-reference/responses/compact

    It goes to a server of the same kind and nowhere else.
    """

    name = "compact"
    operation: ClassVar[str] = "compact"
    paths: ClassVar[tuple[str, ...]] = ("/v1/responses/compact", "/responses/compact")

    def decode_call(self, document: Json) -> ChatCall:
        raise Untranslatable(self.operation, f"a call of `{self.operation}`")


def _response(document: Json) -> Json:
    """The response: a reply is one, an event of a stream may hold one."""
    response = document.get("response")
    return response if isinstance(response, dict) else document


def _check_input(given: Any) -> Sequence[Any]:
    """The shapes that guards rely on. Returns the items if each is a role and a text and nothing else."""
    if given is None or type(given) is str:
        return ()
    if type(given) is not list:
        raise wrong("input", "a string or an array")
    flat: Sequence[Any] = given
    for i, item in enumerate(given):
        if type(item) is not dict:
            raise wrong(f"input[{i}]", "an object")
        content = item.get("content")
        if len(item) == 2 and type(content) is str and type(item.get("role")) is str:
            continue
        flat = ()
        _check_item(item, f"input[{i}]")
    return flat


def _check_item(item: Json, at: str) -> None:
    if not _ITEM_KEYS.issuperset(item):
        check_spelling(_ITEM_KEYS, item, at)
    if item.get("type") in (None, "message") and type(item.get("role")) is not str:
        raise wrong(at, "an object with a role")
    for key in ("content", "output", "summary"):
        value = item.get(key)
        if value is None or type(value) is str:
            continue
        if item.get("type") in (None, "message") and type(value) is not list:
            raise wrong(f"{at}.{key}", "a string or an array")
        for i, part in enumerate(value) if type(value) is list else ():
            if type(part) is not dict:
                raise wrong(f"{at}.{key}[{i}]", "an object")
            if not _PART_KEYS.issuperset(part):
                check_spelling(_PART_KEYS, part, f"{at}.{key}[{i}]")
