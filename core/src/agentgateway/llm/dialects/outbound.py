"""Formats that only vendors are spoken to in: no client is recognised as speaking them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentgateway.errors import InvalidRequest, UpstreamError
from agentgateway.interfaces import Segment
from agentgateway.llm.calls import Dialect, Head, Json, nothing


class Outbound(Dialect):
    """Calls are made of a client's own by `encode_call`, replies are read by `decode_reply`; guards have seen the texts
    in the client's dialect."""

    def read(self, document: Json, path: str) -> Head:
        raise InvalidRequest(f"no client speaks `{self.name}`")

    def write_model(self, document: Json, model: str) -> None:
        """The model stands in the path."""

    def enrich(self, document: Json, prepend: Sequence[Mapping[str, str]], append: Sequence[Mapping[str, str]]) -> None:
        """These calls have no conversation to put messages around."""

    def call_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []

    def reply_segments(self, document: Json, edited: Callable[[], object] = nothing) -> list[Segment]:
        return []


def vector(numbers: Any) -> tuple[float, ...]:
    """An embedding that stands in a reply as numbers. Raises `UpstreamError`."""
    if type(numbers) is not list or not all(type(one) in (float, int) for one in numbers):
        raise no_embeddings()
    return tuple(map(float, numbers))


def no_embeddings() -> UpstreamError:
    return UpstreamError("the upstream's reply has no embeddings")
