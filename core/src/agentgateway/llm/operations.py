"""Canonical calls other than chat: embeddings, reranking, counting. Vendors' formats translate from and to these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from agentgateway.exchange import Usage
from agentgateway.llm.chat import ChatCall

Purpose: TypeAlias = Literal["search_document", "search_query", "classification", "clustering"]
"""What vectors are for, in Cohere's words."""


@dataclass(frozen=True, slots=True)
class EmbeddingCall:
    """Vectors for texts. `inputs` are at least one; `dimensions` None leaves the model's own; `encoding` is how the
    client wants the vectors (OpenAI's words); some models embed differently by their `purpose`."""

    model: str
    inputs: tuple[str, ...]
    dimensions: int | None = None
    encoding: Literal["float", "base64"] = "float"
    purpose: Purpose | None = None
    stream: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddingReply:
    """One vector for each input, in the inputs' order."""

    model: str
    vectors: tuple[tuple[float, ...], ...]
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class RerankCall:
    """Which of the documents answer the query; `top` bounds how many are named. With `repeats` the client wants their
    texts back."""

    model: str
    query: str
    documents: tuple[str, ...]
    top: int | None = None
    repeats: bool = False
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document, by its place in the call, and how relevant it is: 0 to 1."""

    index: int
    score: float


@dataclass(frozen=True, slots=True)
class RerankReply:
    """The documents that were named, the most relevant first."""

    model: str
    ranked: tuple[Ranked, ...]
    id: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class CountCall:
    """How many tokens would that chat call have?"""

    model: str
    chat: ChatCall
    stream: bool = False


@dataclass(frozen=True, slots=True)
class CountReply:
    """So many tokens, of everything the model would read."""

    model: str
    tokens: int
