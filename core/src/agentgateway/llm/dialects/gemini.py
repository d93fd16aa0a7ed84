"""The dialect `gemini`: Google's generateContent and streamGenerateContent, of the Gemini API and of Vertex AI.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote, unquote

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Fate, Head, Json, ModelEntry, nothing
from agentgateway.llm.chat import ChatCall, ChatReply, ErrorFacts
from agentgateway.llm.dialects import gemini_call, gemini_errors, gemini_reply, gemini_texts
from agentgateway.llm.dialects.gemini_contents import tool_name
from agentgateway.llm.dialects.gemini_fields import FIELDS, INEXPRESSIBLE, REPLY_FIELDS
from agentgateway.llm.dialects.gemini_shapes import tidy
from agentgateway.llm.dialects.gemini_stream import Decoder, Encoder
from agentgateway.llm.sse import Event
from agentgateway.llm.wire import LONGEST_MODEL, wrong

_PATH = re.compile(r"/((?:tunedM|m)odels)/([^?#]+)$")
_MODELS = "models/"
_TUNED = "tunedModels/"
METHODS = ("generateContent", "streamGenerateContent")


class Gemini(Dialect):
    name = "gemini"
    paths: ClassVar[tuple[str, ...]] = (":generateContent", ":streamGenerateContent")
    client_header: ClassVar[str] = "x-goog-api-key"
    model_in_path: ClassVar[bool] = True
    end_marker: ClassVar[bytes] = b"Reason"
    text_keys: ClassVar[tuple[bytes, ...]] = (b"text",)
    usage_key: ClassVar[bytes] = b"usageMetadata"
    model_key: ClassVar[bytes] = b"modelVersion"
    fields: ClassVar[Mapping[str, Fate]] = FIELDS
    reply_fields: ClassVar[Mapping[str, Fate]] = REPLY_FIELDS
    inexpressible: ClassVar[Mapping[str, Fate]] = INEXPRESSIBLE

    # calls

    def path(self, model: str, *, stream: bool = False) -> str:
        return path_of(model, METHODS[stream])

    def read(self, document: Json, path: str) -> Head:
        model = model_at(path, self.paths)
        tidy(document)
        if type(document.get("contents")) is not list:
            raise wrong("contents", "an array")
        check_model(document, model)
        return Head(model, path.endswith(self.paths[1]))

    def check_query(self, query: str, path: str) -> None:
        if path.endswith(self.paths[1]) and "alt=sse" not in query.split("&"):
            raise InvalidRequest("alt: streams are served as server-sent events only, ask with `alt=sse`", param="alt")

    def write_model(self, document: Json, model: str) -> None:
        """The model stands in the path."""

    def decode_call(self, document: Json) -> ChatCall:
        return gemini_call.decode_call(document)

    def encode_call(self, call: ChatCall) -> Json:
        return gemini_call.encode_call(call)

    def prepare(self, document: Json, stream: bool) -> bool:
        """The path names the model, and may come to name another one."""
        return document.pop("model", None) is not None

    def tool_name(self, name: str) -> str:
        return tool_name(name)

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Instructions go to the system prompt: there is no other place for them."""
        system = [[{"text": one["content"]} for one in said if one["role"] == "system"] for said in (prepend, append)]
        if any(system):
            own = document.get("systemInstruction") or {}
            document["systemInstruction"] = own | {"parts": [*system[0], *(own.get("parts") or ()), *system[1]]}
        said = [[one for one in messages if one["role"] != "system"] for messages in (prepend, append)]
        document["contents"] = [*gemini_call.turns(said[0]), *document["contents"], *gemini_call.turns(said[1])]

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(gemini_texts.call_segments(document, edited))

    # replies

    def decode_reply(self, document: Json) -> ChatReply:
        return gemini_reply.decode_reply(document)

    def encode_reply(self, reply: ChatReply, call: ChatCall | None = None) -> Json:
        return gemini_reply.encode_reply(reply)

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return list(gemini_texts.reply_segments(document, edited))

    def reply_model(self, document: Json) -> str | None:
        model = document.get("modelVersion")
        return model if isinstance(model, str) else None

    def usage_fields(self, document: Json) -> Json | None:
        usage = document.get("usageMetadata")
        return usage if isinstance(usage, dict) else None

    def usage_complete(self, document: Json) -> bool:
        """Every event of a stream counts what was there so far."""
        return _finished(document)

    def read_usage(self, fields: Json) -> Usage:
        return gemini_reply.read_usage(fields)

    # streams

    def decoder(self) -> Decoder:
        return Decoder()

    def encoder(self, *, include_usage: bool = False) -> Encoder:
        return Encoder()

    def event_segments(self, event: Event) -> list[Segment]:
        return list(gemini_texts.event_segments(event))

    def ends(self, event: Event) -> bool:
        """There is no end but the last bytes': a reason to finish, or to block, is the last word there is."""
        return event.document is not None and _finished(event.document)

    # errors and listings

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return gemini_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return gemini_errors.encode_error(facts)

    def model(self, entry: ModelEntry) -> Json:
        """https://ai.google.dev/api/models#Model"""
        return {
            "name": f"{_MODELS}{entry.id}",
            "baseModelId": entry.id,
            "version": "",
            "displayName": entry.display_name or entry.id,
            "supportedGenerationMethods": list(METHODS),
        }

    def models(self, entries: Sequence[ModelEntry]) -> Json:
        return {"models": [self.model(entry) for entry in entries]}


def _finished(document: Json) -> bool:
    candidates = document.get("candidates")
    if isinstance(candidates, list) and any(isinstance(one, dict) and one.get("finishReason") for one in candidates):
        return True
    return gemini_reply.blocked(document) is not None


def model_at(path: str, methods: Sequence[str]) -> str:
    """The model in the path of one of those methods. Raises `InvalidRequest`."""
    ending = next(filter(path.endswith, methods), None)
    found = _PATH.search(path.removesuffix(ending)) if ending else None
    if found is None:
        raise InvalidRequest("model: is missing in the path", code="missing_model", param="model")
    model = unquote(found[2])
    if not model.isprintable() or not model.strip(". ") or ".." in model or len(model) > LONGEST_MODEL:
        raise wrong("model", "the name of a model")
    return f"{_TUNED}{model}" if found[1] == _TUNED[:-1] else model


def check_model(document: Json, model: str, at: str = "model") -> None:
    """Refuse a document that names another model than its path does. Raises `InvalidRequest`."""
    named = document.get("model")
    if named is not None and not f"/{named}".endswith(f"/{model.removeprefix(_TUNED)}"):
        raise InvalidRequest(f"{at}: is not the one in the path", param=at)


def path_of(model: str, method: str) -> str:
    """Where the vendor takes that method of a model."""
    folder, name = _TUNED if model.startswith(_TUNED) else _MODELS, model.removeprefix(_TUNED)
    return f"/v1beta/{folder}{quote(name.removeprefix(_MODELS), safe='')}:{method}"
