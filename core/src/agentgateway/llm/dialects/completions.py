"""The dialect `completions`: OpenAI's chat completions, which most vendors speak.

https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Fate, Head, Json, ModelEntry, nothing
from agentgateway.llm.chat import ChatCall, ChatReply, ErrorFacts
from agentgateway.llm.dialects import completions_call, completions_errors, completions_reply
from agentgateway.llm.dialects.completions_fields import FIELDS, INEXPRESSIBLE, REPLY_FIELDS
from agentgateway.llm.dialects.completions_stream import DONE, Decoder, Encoder
from agentgateway.llm.sse import Event
from agentgateway.llm.texts import Slot, Texts, objects_in
from agentgateway.llm.wire import check_head, check_messages, known_keys

_SCOPES = {"system": "systemPrompt", "developer": "systemPrompt", "tool": "toolOutput", "function": "toolOutput"}
_ROLES = {"developer": "system", "function": "tool"}
_SPOKEN = ("content", "refusal", "reasoning_content", "reasoning", "thinking_blocks", "audio")
_KEYS = known_keys(FIELDS)
_MESSAGE_KEYS = known_keys(FIELDS, "messages[].")
_PART_KEYS = known_keys(FIELDS, "messages[].content[].")


class Completions(Dialect):
    name = "completions"
    paths: ClassVar[tuple[str, ...]] = ("/v1/chat/completions", "/chat/completions")
    end_marker: ClassVar[bytes] = b"[DONE]"
    text_keys: ClassVar[tuple[bytes, ...]] = (b"content", b"arguments", b"reasoning_content", b"reasoning", b"refusal")
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = REPLY_FIELDS
    inexpressible: ClassVar[Mapping[str, Fate]] = INEXPRESSIBLE

    # calls

    def read(self, document: Json, path: str) -> Head:
        head = check_head(document, _KEYS, ("max_tokens", "max_completion_tokens", "n"))
        head.flat = check_messages(document, _MESSAGE_KEYS, _PART_KEYS)
        return head

    def write_model(self, document: Json, model: str) -> None:
        document["model"] = model

    def decode_call(self, document: Json) -> ChatCall:
        return completions_call.decode_call(document)

    def encode_call(self, call: ChatCall) -> Json:
        return completions_call.encode_call(call)

    def prepare(self, document: Json, stream: bool) -> bool:
        """Ask a stream for its usage, unless the client said whether it wants it."""
        if not stream:
            return False
        options = document.get("stream_options")
        if isinstance(options, dict) and "include_usage" in options:
            return False
        document["stream_options"] = (options if isinstance(options, dict) else {}) | {"include_usage": True}
        return True

    def plain(self, document: Json) -> bool:
        """Take out the EXTENSION fields; the vendor answers 400 to fields it does not know."""
        holders: list[tuple[Any, tuple[str, ...]]] = [(document, ("top_k", "thinking_budget_tokens", "cache_control"))]
        holders += [(tool, ("cache_control",)) for tool in document.get("tools") or ()]
        for message in document["messages"]:
            holders.append((message, ("cache_control", "reasoning_content", "reasoning", "thinking_blocks")))
            if isinstance(message.get("content"), list):
                holders += [(part, ("cache_control",)) for part in message["content"]]
        taken = [holder.pop(key) for holder, keys in holders for key in keys if key in holder]
        return bool(taken)

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        document["messages"] = [*map(dict, prepend), *document["messages"], *map(dict, append)]

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        found: list[Segment] = []
        for i, message in enumerate(document["messages"]):
            role, content = message["role"], message.get("content")
            if len(message) == 2 and type(content) is str:
                put = Slot(message, "content", edited)
                found.append(
                    Segment(
                        _ROLES.get(role, role), _SCOPES.get(role, "messages"), f"messages[{i}].content", content, put
                    )
                )
                continue
            texts = Texts(_ROLES.get(role, role), _SCOPES.get(role, "messages"), edited)
            found.extend(_segments(message, f"messages[{i}]", texts, edited))
        if "prediction" in document:
            found.extend(Texts("assistant", "messages", edited).all(document, "prediction", "prediction"))
        return found

    # replies

    def decode_reply(self, document: Json) -> ChatReply:
        return completions_reply.decode_reply(document)

    def encode_reply(self, reply: ChatReply, call: ChatCall | None = None) -> Json:
        return completions_reply.encode_reply(reply)

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(_choices(document, "message", edited))

    read_usage = staticmethod(completions_reply.read_usage)

    # streams

    def decoder(self) -> Decoder:
        return Decoder()

    def encoder(self, *, include_usage: bool = False) -> Encoder:
        return Encoder(include_usage=include_usage)

    def event_segments(self, event: Event) -> list[Segment]:
        """Channels: `choices[0].delta.content`, `choices[0].delta.tool_calls[1].function.arguments`, …"""
        return list(_choices(event.document or {}, "delta", event.mark_changed))

    def only_usage(self, event: Event) -> bool:
        """https://platform.openai.com/docs/api-reference/chat/create#chat_create-stream_options-include_usage"""
        document = event.document if b'"usage"' in event.raw else None
        return document is not None and document.get("choices") == [] and isinstance(document.get("usage"), dict)

    def ends(self, event: Event) -> bool:
        return event.data is not None and event.data.strip() == DONE

    def concludes(self, event: Event) -> bool:
        """Some servers never write `[DONE]`."""
        choices = (event.document or {}).get("choices")
        return any(choice.get("finish_reason") is not None for _, choice in objects_in(choices))

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


def _choices(document: Json, key: str, edited: Callable[[], object]) -> Iterator[Segment]:
    for i, choice in objects_in(document.get("choices")):
        if isinstance(message := choice.get(key), dict):
            replaced = _Replaced(choice, edited)
            texts = Texts("assistant", "messages", replaced)
            yield from _segments(message, f"choices[{choice.get('index', i)}].{key}", texts, replaced)


class _Replaced:
    """A text of a choice was replaced: its log probabilities, which spell out the old one, go too."""

    __slots__ = ("_choice", "_edited")

    def __init__(self, choice: Json, edited: Callable[[], object]) -> None:
        self._choice = choice
        self._edited = edited

    def __call__(self) -> None:
        if self._choice.get("logprobs") is not None:
            self._choice["logprobs"] = None
        self._edited()


def _segments(message: Json, at: str, texts: Texts, edited: Callable[[], object]) -> Iterator[Segment]:
    """The texts of a message, or of a piece of one: what is said, what is thought, and what tools are told."""
    for key in _SPOKEN:
        if message.get(key):
            yield from texts.all(message, key, f"{at}.{key}")
    if message.get("tool_calls") or message.get("function_call"):
        told = Texts("assistant", "toolInput", edited)
        for i, call in objects_in(message.get("tool_calls")):
            place = f"{at}.tool_calls[{call.get('index', i)}]"
            yield from _arguments(call, place, told)
        if isinstance(older := message.get("function_call"), dict):
            yield from told.one(older, "arguments", f"{at}.function_call.arguments")


def _arguments(call: Json, at: str, told: Texts) -> Iterator[Segment]:
    if isinstance(function := call.get("function"), dict):
        yield from told.one(function, "arguments", f"{at}.function.arguments")
    if isinstance(custom := call.get("custom"), dict):
        yield from told.one(custom, "input", f"{at}.custom.input")
