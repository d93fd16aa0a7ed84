"""Guards made for the occasion, and streams in every dialect."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest

from agentgateway.exchange import Exchange, Headers, Reply
from agentgateway.interfaces import PASS, Guard, Segment, Verdict
from agentgateway.llm.calls import (
    Ended,
    PartEnded,
    PartStarted,
    Started,
    TextDelta,
    ToolArgumentsDelta,
)
from agentgateway.llm.dialects import dialect
from agentgateway.llm.protocol import LlmProtocol
from agentgateway.llm.sse import Parser
from agentgateway.testing import LoopbackHost, chat


class Blunt(Guard):
    """Masks `secret`, refuses `forbidden`, breaks on `broken`."""

    stream = "hold-window"
    window = 16
    scopes = frozenset({"systemPrompt", "messages", "toolInput", "toolOutput"})

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.calls: list[str] = []

    def judge(self, segments: Sequence[Segment]) -> Verdict:
        self.seen += [segment.text for segment in segments]
        texts = [segment.text for segment in segments]
        if any("broken" in text for text in texts):
            raise ValueError(f"cannot read {texts}")
        if any("forbidden" in text for text in texts):
            return Verdict(rejected=True, reason="words")
        masks = {index: text.replace("secret", "###") for index, text in enumerate(texts) if "secret" in text}
        return Verdict(masks) if masks else PASS

    def check(self, segments: Sequence[Segment], exchange: Exchange) -> Any:
        return self.judge(segments)

    async def start(self) -> None:
        self.calls.append("start")

    async def stop(self) -> None:
        self.calls.append("stop")


class Remote(Blunt):
    async def check(self, segments: Sequence[Segment], exchange: Exchange) -> Verdict:
        return self.judge(segments)


class GuardHost(LoopbackHost):
    """Lends guards made by the test, by name."""

    def __init__(self, guards: dict[str, Guard], level: Any = "route") -> None:
        super().__init__("here", level)
        self.guards = guards
        self.places: list[str] = []

    def build(self, group: str, name: str, config: Any, at: str) -> Any:
        self.places.append(at)
        return self.guards[name] if name in self.guards else super().build(group, name, config, at)


class Answered(AsyncIterator[bytes]):
    """A stream that knows whether it was closed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.closed = 0

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed += 1


def wire(speaks: str, texts: Iterable[str] = (), arguments: Iterable[str] = ()) -> list[bytes]:
    """A streamed answer: a text in pieces, then a tool call with its arguments in pieces."""
    encoder = dialect(speaks).encoder()
    deltas: list[Any] = [Started("id", "model"), PartStarted(0, "text"), *(TextDelta(0, text) for text in texts)]
    deltas += [PartEnded(0)]
    if arguments:
        deltas += [PartStarted(1, "tool_use", "call_1", "note")]
        deltas += [*(ToolArgumentsDelta(1, text) for text in arguments), PartEnded(1)]
    deltas += [Ended("stop")]
    return [out for delta in deltas if (out := encoder.feed(delta))] + [encoder.end()]


def heard(speaks: str, stream: bytes) -> tuple[str, str, bool]:
    """What a client reads: the text, the arguments, and whether the stream failed."""
    decoder = dialect(speaks).decoder()
    deltas: list[Any] = []
    for event in Parser().feed(stream):
        deltas += decoder.feed(event)
    deltas += decoder.end()
    text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    arguments = "".join(delta.json for delta in deltas if isinstance(delta, ToolArgumentsDelta))
    return text, arguments, not any(isinstance(delta, Ended) for delta in deltas)


def streamed(speaks: str, chunks: Iterable[bytes], **headers: str) -> Exchange:
    """An exchange whose model streams these bytes."""
    exchange = chat(speaks=speaks, stream=True)
    exchange.protocol = LlmProtocol(LoopbackHost())
    fields = {"content-type": "text/event-stream", **{name.replace("_", "-"): text for name, text in headers.items()}}
    exchange.reply = Reply(200, Headers.of(fields), Answered(chunks), upstream=True)
    return exchange


class Kit:
    Blunt = Blunt
    Remote = Remote
    Host = GuardHost
    wire = staticmethod(wire)
    heard = staticmethod(heard)
    streamed = staticmethod(streamed)


@pytest.fixture
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def protocol() -> Callable[[Exchange], Exchange]:
    def give(exchange: Exchange) -> Exchange:
        exchange.protocol = LlmProtocol(LoopbackHost())
        return exchange

    return give
