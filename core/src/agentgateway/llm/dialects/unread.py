"""Calls that nobody here reads: all that is known of them is the model they ask for. They go to where they came, as
they came, to providers that were told to take them, and to no other.

`unread` is what a call to an unknown path is; `detect` and `passthrough` are words of `ai.routes` for such paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from agentgateway.exchange import Usage
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, ErrorFacts, Head, Json, Untranslatable, nothing
from agentgateway.llm.dialects import completions_errors, dialect
from agentgateway.llm.wire import check_head


class Unread(Dialect):
    """A JSON object with a `model`. There are no texts in it, as far as anybody knows: guards refuse it."""

    name = "unread"
    operation: ClassVar[str] = "passthrough"
    replies: ClassVar[bool] = False
    unread: ClassVar[bool] = True

    def read(self, document: Json, path: str) -> Head:
        return check_head(document, frozenset(("model",)), ())

    def write_model(self, document: Json, model: str) -> None:
        document["model"] = model

    def decode_call(self, document: Json) -> Any:
        raise Untranslatable("model", "a call that nobody here reads")

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """Where would messages go?"""

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []

    def unreadable(self, document: Json) -> str:
        return "model"

    def read_usage(self, fields: Json) -> Usage:
        """By the convention whose words it has: OpenAI's older or newer ones, or Anthropic's."""
        if "input_tokens" not in fields:
            return dialect("completions").read_usage(fields)
        own = any(key.startswith("cache_") for key in fields)
        return dialect("messages" if own else "responses").read_usage(fields)

    def decode_error(self, status: int, body: bytes) -> ErrorFacts:
        return completions_errors.decode_error(status, body)

    def encode_error(self, facts: ErrorFacts) -> Json:
        return completions_errors.encode_error(facts)


class Detect(Unread):
    """The reply is looked at for what it cost."""

    name = "detect"
    passes: ClassVar[str] = "detect"


class Passthrough(Unread):
    """Nobody looks at the reply."""

    name = "passthrough"
    passes: ClassVar[str] = "opaque"


UNREAD = Unread()
