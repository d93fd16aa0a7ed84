"""Calls that ask how many tokens a chat call has: the same documents as chat's, at another path, answered by a number.

https://docs.anthropic.com/en/api/messages-count-tokens and https://ai.google.dev/api/tokens
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from agentgateway.errors import UpstreamError
from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, ErrorFacts, Fate, Head, Json, Untranslatable, nothing
from agentgateway.llm.counting import COUNTING
from agentgateway.llm.dialects import messages_vertex
from agentgateway.llm.dialects.gemini import Gemini
from agentgateway.llm.dialects.messages import Messages
from agentgateway.llm.operations import CountCall, CountReply
from agentgateway.llm.wire import amount, mapping

OPERATION = "count_tokens"


class TokenCount(Dialect):
    """Counts calls of the dialect `chat`. `counted` are the keys of a call that the vendor takes here, `total` the
    reply's key."""

    operation: ClassVar[str] = OPERATION
    chat: ClassVar[Dialect]
    counted: ClassVar[frozenset[str]]
    total: ClassVar[str]

    def call_of(self, document: Json) -> Json:
        """The chat call in a document."""
        return document

    def read(self, document: Json, path: str) -> Head:
        head = self.chat.read(self.call_of(document), path)
        head.stream, head.flat = False, ()
        return head

    def write_model(self, document: Json, model: str) -> None:
        self.chat.write_model(self.call_of(document), model)

    def decode_call(self, document: Json) -> Any:
        chat = self.chat.decode_call(self.call_of(document))
        return CountCall(chat.model, chat)

    def encode_call(self, call: Any) -> Json:
        if not isinstance(call, CountCall):
            raise Untranslatable("model", "a call that asks for more than a count")
        document = self.chat.encode_call(replace(call.chat, model=call.model, stream=False))
        return {key: value for key, value in document.items() if key in self.counted}

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        self.chat.enrich(self.call_of(document), prepend, append)

    def tool_name(self, name: str) -> str:
        return self.chat.tool_name(name)

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return self.chat.call_segments(self.call_of(document), edited)

    def answer(self, call: Any, provider: str, model: str) -> Json | None:
        return {self.total: COUNTING.count(provider, model, self.call_of(call.document))}

    def decode_reply(self, document: Json) -> Any:
        total = document.get(self.total)
        if type(total) is not int or total < 0:
            raise UpstreamError("the upstream's reply has no number of tokens")
        return CountReply("", total)

    def encode_reply(self, reply: Any, call: Any = None) -> Json:
        assert isinstance(reply, CountReply)
        return {self.total: reply.tokens}

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []

    def usage_fields(self, document: Json) -> Json | None:
        """Counting uses nothing."""
        return None

    def read_usage(self, fields: Json) -> Usage:
        return Usage(amount(fields, self.total))

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return self.chat.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return self.chat.encode_error(facts)


class AnthropicTokenCount(TokenCount):
    """Anthropic's `count_tokens`."""

    name = "anthropicTokenCount"
    paths: ClassVar[tuple[str, ...]] = ("/v1/messages/count_tokens", "/count-tokens:rawPredict")
    fields: ClassVar[Mapping[str, Fate]] = Messages.fields
    chat: ClassVar[Dialect] = Messages()
    counted: ClassVar[frozenset[str]] = frozenset(
        (
            *("model", "messages", "system", "tools", "tool_choice", "thinking", "cache_control"),
            *("output_config", "output_format"),
        )
    )
    total: ClassVar[str] = "input_tokens"

    def read(self, document: Json, path: str) -> Head:
        """At Vertex AI's path, too: the model stands in the document there."""
        return super().read(document, self.paths[0])

    def prepare(self, document: Json, stream: bool) -> bool:
        return document.pop(messages_vertex.VERSION, None) is not None


class GeminiTokenCount(TokenCount):
    """Google's `countTokens`: contents, or a whole call in `generateContentRequest`."""

    name = "geminiCountTokens"
    paths: ClassVar[tuple[str, ...]] = (":countTokens",)
    model_in_path: ClassVar[bool] = True
    fields: ClassVar[Mapping[str, Fate]] = Gemini.fields
    chat: ClassVar[Dialect] = Gemini()
    counted: ClassVar[frozenset[str]] = frozenset(("contents", "systemInstruction", "tools", "toolConfig"))
    total: ClassVar[str] = "totalTokens"

    def call_of(self, document: Json) -> Json:
        return mapping(document[WHOLE], WHOLE) if WHOLE in document else document

    def path(self, model: str, *, stream: bool = False) -> str:
        return self.chat.path(model).removesuffix("generateContent") + "countTokens"

    def read(self, document: Json, path: str) -> Head:
        return super().read(document, path.removesuffix("countTokens") + "generateContent")

    def encode_call(self, call: Any) -> Json:
        return {WHOLE: {"model": f"models/{call.model}", **super().encode_call(call)}}


WHOLE = "generateContentRequest"
