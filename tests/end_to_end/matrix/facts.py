"""What a call asks, what an answer says, in no vendor's words: the dialects of the matrix are compared by these.

The readers beside this file know nothing of the gateway's own dialects: they read the published formats by themselves,
and refuse whatever those do not know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class Malformed(AssertionError):
    """What was sent is not of the published format."""


@dataclass(frozen=True)
class Counts:
    """Tokens. `read` and `written` are those of the cache, and part of the input; `reasoning` is part of the output."""

    input: int
    output: int
    read: int = 0
    written: int = 0
    reasoning: int = 0


@dataclass(frozen=True)
class Seen:
    """An answer, whole or put together from its stream. `calls` are names and parsed arguments; `stop` is in OpenAI's
    words. `error` is what ended a stream before its time."""

    text: str = ""
    thinking: str = ""
    signature: str = ""
    calls: tuple[tuple[str, Json], ...] = ()
    stop: str | None = "stop"
    usage: Counts | None = None
    model: str = field(default="", compare=False)
    error: str = ""


@dataclass(frozen=True)
class Asked:
    """A call. `turns` are tuples that begin with what they are; `tools` are names, descriptions and schemas."""

    turns: tuple[tuple[str, ...], ...]
    system: str = ""
    tools: tuple[tuple[str, str, Json], ...] = ()
    choice: str | None = None
    parallel: bool | None = None
    limit: int = 300
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    effort: str | None = None
    schema: Json | None = None


@dataclass(frozen=True)
class Failed:
    """An error's message and the machine-readable word beside it."""

    message: str
    kind: str


@dataclass(frozen=True)
class Speaker:
    """A dialect as its vendor publishes it, from the outside.

    `streaming` are the fields that ask for a stream with its usage; `kinds` the words that stand for statuses, `busy`
    the status of a vendor that is overloaded, `stop` the field of stop sequences, if there is one; `asked` reads a
    call, `seen` a whole answer, `heard` a stream, `failed` an error, each raising `Malformed`. `place` is the path for
    a model and whether it streams, where those stand in the path and not in the call; `caches` says whether there is a
    word for tokens that were written to a cache, `thoughts` for those of thinking, `parallel` for several calls at
    once, `links` for pictures that lie elsewhere; `names` whether an answer names its model, and the name of a file may
    have dots. `streams` is the media type of streams. `transcripts` is the folder of its own, where that is not its
    name's; `wrapping` are fields that each of its calls has, where the path names the model.
    """

    name: str
    path: str
    headers: Mapping[str, str]
    streaming: Json
    kinds: Mapping[int, str]
    busy: int
    stop: str
    asked: Callable[[Json], Asked]
    seen: Callable[[Json], Seen]
    heard: Callable[[bytes], Seen]
    failed: Callable[[Json], Failed]
    place: Callable[[str, bool], str] | None = None
    caches: bool = True
    parallel: bool = True
    thoughts: bool = True
    links: bool = True
    names: bool = True
    streams: str = "text/event-stream"
    transcripts: str = ""
    wrapping: Mapping[str, str] = field(default_factory=dict)

    def target(self, model: str, stream: bool) -> str:
        return self.path if self.place is None else self.place(model, stream)

    def naming(self, model: str, stream: bool) -> Json:
        """The fields of a call that name its model and ask for a stream."""
        if self.place is not None:
            return dict(self.wrapping)
        return {"model": model} | (self.streaming if stream else {})


def insist(truth: object, what: str) -> None:
    if not truth:
        raise Malformed(what)


def only(holder: Json, *known: str) -> None:
    """Refuse fields that are not published, as vendors do."""
    insist(holder.keys() <= set(known), f"unknown fields: {sorted(holder.keys() - set(known))}")


def said_once(value: str | None, before: str | None, what: str) -> str | None:
    """A word that a stream may say once."""
    insist(value is None or before is None, f"{what} came twice")
    return before if value is None else value
