"""The cells of the matrix: a call of one client to one provider, about one matter, whole or streamed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product

from .cases import CASES, Case
from .facts import Asked, Counts, Json, Seen, Speaker
from .transcripts import END, pieces, section, streamed, up_to, whole
from .vendors import SPEAKERS, VENDORS, Vendor

CORE = ("openAI", "anthropic", "custom-completions", "custom-messages", "simulator-completions", "simulator-messages")
OPENAIS = ("completions", "responses")
"""Dialects whose errors are the same, word for word."""
BEFORE_A_STREAM = ("error", "rate-limit")
"""Cases that vendors answer with a status and no stream, also when one was asked for."""
MIDWAY = ("overloaded", "disconnect")
"""Cases in which a stream has begun before it fails."""
COUNTED = ("text", "reasoning")
"""Cases whose tokens are looked for in the access log."""


@dataclass(frozen=True)
class Call:
    """One cell of the matrix."""

    speaker: Speaker
    vendor: Vendor
    name: str
    stream: bool

    @property
    def case(self) -> Case:
        return CASES[self.name]

    @property
    def translated(self) -> bool:
        return self.speaker.name != self.vendor.speaks

    @property
    def reworded(self) -> bool:
        """Whether an error has another word for its kind."""
        return self.translated and not {self.speaker.name, self.vendor.speaks} <= set(OPENAIS)

    @property
    def stops(self) -> bool:
        """Whether both have a word for stop sequences; a call with one is refused where the vendor has none."""
        return bool(self.speaker.stop and self.vendor.dialect.stop)

    @property
    def links(self) -> bool:
        """The same for pictures that lie elsewhere."""
        return self.speaker.links and self.vendor.dialect.links

    @property
    def asked(self) -> Asked:
        """What both have words for."""
        asked = self.case.asked if self.stops else replace(self.case.asked, stop=())
        if not self.links:
            asked = replace(asked, turns=tuple(turn for turn in asked.turns if not turn[-1].startswith("https:")))
        if not (self.speaker.names and self.vendor.dialect.names):
            asked = replace(asked, turns=tuple(map(without_dots, asked.turns)))
        parallel = self.speaker.parallel and self.vendor.dialect.parallel
        return asked if parallel else replace(asked, parallel=None)

    @property
    def busy(self) -> int:
        return self.vendor.dialect.busy

    @property
    def fails(self) -> bool:
        """Whether the client gets a status in place of an answer."""
        return self.name in BEFORE_A_STREAM or (self.name in MIDWAY and not self.stream)

    def document(self) -> Json:
        title = "request" if self.links or self.name != "image" or not self.speaker.links else "request without links"
        document: Json = json.loads(
            section((self.speaker.transcripts or self.speaker.name,), self.case.request or self.name, title)
        )
        document.pop("model", None)
        if not self.stops:
            *holders, field = self.speaker.stop.split(".")
            reduce(dict.__getitem__, holders, document).pop(field, None)
        return document | self.speaker.naming(self.asks, self.stream)

    @property
    def asks(self) -> str:
        """The model that the client names."""
        return f"{self.vendor.name}/{self.name}"

    def answer(self) -> tuple[list[bytes], bytes]:
        """What the vendor puts on the wire, and the body in it."""
        folders, name = self.vendor.folders, "text" if self.name == "disconnect" else self.name
        if self.fails or not self.stream:
            head, body = whole(folders, name)
            return ([head, body[:-50], END] if self.name == "disconnect" else [head, body]), body
        head, events = streamed(folders, name)
        if self.name != "disconnect":
            return pieces(head, events), events
        events = up_to(events, b" Ada")
        return pieces(head, events, END), events

    @property
    def counted(self) -> Counts | None:
        """What the vendor says that it cost."""
        simulated = self.case.counted if self.links else self.case.unlinked or self.case.counted
        return said_by(self.vendor.dialect, simulated if self.vendor.simulated else self.case.seen.usage)

    def expected(self) -> Seen:
        case, vendor = self.case, self.vendor
        seen = replace(case.seen, usage=said_by(self.speaker, self.counted))
        if vendor.simulated:
            text = seen.text if case.spoken is None else case.spoken
            error = f"simulated error {self.busy}" if self.name == "overloaded" else seen.error
            return replace(seen, text=text, error=error)
        thinking = seen.thinking if vendor.thinks else ""
        return replace(seen, thinking=thinking, signature=seen.signature if vendor.thinks and vendor.signs else "")

    def __str__(self) -> str:
        return f"{self.speaker.name}-{self.vendor.name}-{self.name}-{'streamed' if self.stream else 'whole'}"


@dataclass(frozen=True)
class Pair:
    """A client and a provider: a row of cells."""

    speaker: Speaker
    vendor: Vendor

    @property
    def calls(self) -> Iterator[Call]:
        for name in self.vendor.cases(self.speaker.name):
            yield from (Call(self.speaker, self.vendor, name, stream) for stream in (False, True))

    @property
    def with_both_faces(self) -> bool:
        """Whether it is tried with the twin, too: the dialects and providers that the core began with."""
        ours = {"completions", "messages"}
        return self.speaker.name in ours and self.vendor.speaks in ours and self.vendor.name in CORE

    def __str__(self) -> str:
        return f"{self.speaker.name}-{self.vendor.name}"


PAIRS = [
    Pair(speaker, vendor) for speaker, vendor in product(SPEAKERS.values(), VENDORS) if speaker.name in vendor.clients
]


def said_by(dialect: Speaker, counts: Counts | None) -> Counts | None:
    """What of it a dialect has words for."""
    if counts is not None and not dialect.caches:
        counts = replace(counts, written=0)
    return counts if counts is None or dialect.thoughts else replace(counts, reasoning=0)


def without_dots(turn: tuple[str, ...]) -> tuple[str, ...]:
    return (turn[0], turn[1].replace(".", " "), *turn[2:]) if turn[0] == "document" else turn
