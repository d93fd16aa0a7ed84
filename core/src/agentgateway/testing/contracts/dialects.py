"""The suite for dialects."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from typing import Any, ClassVar

from pydantic_core import to_json

from agentgateway.llm.calls import (
    ChatReply,
    Delta,
    Dialect,
    Ended,
    ErrorFacts,
    PartEnded,
    PartStarted,
    Started,
    Text,
    TextDelta,
)
from agentgateway.llm.dialects import dialect


class DialectContract:
    """`name` is a dialect's entry point; `call` and `reply` are documents of it, `spoken` a text that both carry."""

    __test__ = False
    name: ClassVar[str]
    call: ClassVar[dict[str, Any]]
    reply: ClassVar[dict[str, Any]]
    spoken: ClassVar[str]

    def __init_subclass__(cls) -> None:
        cls.__test__ = hasattr(cls, "name")

    @property
    def dialect(self) -> Dialect:
        return dialect(self.name)

    def test_it_has_its_own_name_and_paths(self) -> None:
        assert self.dialect.name == self.name
        assert all(path.startswith(("/", ":")) for path in self.dialect.paths)
        assert self.dialect.path("m").startswith("/") and self.dialect.path("m").endswith(self.dialect.paths)

    def test_a_call_survives_the_canonical_model(self) -> None:
        decoded = self.dialect.decode_call(deepcopy(self.call))
        assert self.dialect.decode_call(self.dialect.encode_call(decoded)) == decoded

    def test_a_reply_survives_the_canonical_model(self) -> None:
        decoded = self.dialect.decode_reply(deepcopy(self.reply))
        assert self.dialect.decode_reply(self.dialect.encode_reply(decoded)) == decoded

    def test_a_reply_survives_as_a_stream(self) -> None:
        decoded = self.dialect.decode_reply(deepcopy(self.reply))
        encoder, decoder = self.dialect.encoder(include_usage=True), self.dialect.decoder()
        written = b"".join(encoder.feed(delta) for delta in as_deltas(decoded)) + encoder.end()
        read = [delta for event in self.dialect.parser().feed(written) for delta in decoder.feed(event)]
        read.extend(decoder.end())
        assert "".join(delta.text for delta in read if isinstance(delta, TextDelta)) == text_of(decoded)
        assert any(isinstance(delta, Ended) for delta in read)

    def test_guards_see_and_replace_what_is_said(self) -> None:
        for document, segments in (
            (deepcopy(self.call), self.dialect.call_segments),
            (deepcopy(self.reply), self.dialect.reply_segments),
        ):
            edits: list[object] = []
            found = [one for one in segments(document, partial(edits.append, None)) if self.spoken in one.text]
            assert found
            for one in found:
                one.replace("***")
            assert edits
            assert self.spoken not in str(document)

    def test_an_error_keeps_its_sentence(self) -> None:
        facts = ErrorFacts(429, "slow down")
        again = self.dialect.decode_error(429, to_json(self.dialect.encode_error(facts)))
        assert (again.status, again.message) == (429, "slow down")


def text_of(reply: ChatReply) -> str:
    return "".join(part.text for part in reply.parts if isinstance(part, Text))


def as_deltas(reply: ChatReply) -> Iterator[Delta]:
    """The texts of a reply, as a stream of two pieces each."""
    yield Started(reply.id, reply.model, reply.usage)
    texts = [part.text for part in reply.parts if isinstance(part, Text)]
    for index, text in enumerate(texts):
        yield PartStarted(index, "text")
        yield TextDelta(index, text[:1])
        yield TextDelta(index, text[1:])
        yield PartEnded(index)
    yield Ended("stop", None, reply.usage)
