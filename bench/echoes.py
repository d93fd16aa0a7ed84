"""What a soak asks, and whether an answer is right: the mock echoes the word that each call carries."""

from __future__ import annotations

import json
import random
import re
from dataclasses import dataclass
from enum import Enum

import asking
import bodies

CHUNKS = 25
"""Of a stream; the mock is started with it."""
CHUNK = re.compile(rb'"content":"t\d+ ([^" ]+) (\d+)"')
END = b"data: [DONE]\n\n"


class Kind(Enum):
    """What a client does, and how often, in a thousand."""

    WHOLE = 930
    STREAM = 30
    UPLOAD = 20
    """200 KB, in pieces."""
    LEAVES_STREAM = 10
    """Closes its connection within a stream."""
    LEAVES = 10
    """Closes it without waiting for an answer."""

    @property
    def leaves(self) -> bool:
        return self in (Kind.LEAVES, Kind.LEAVES_STREAM)


KINDS, SHARES = list(Kind), [kind.value for kind in Kind]
_SMALL, _STREAM, _LARGE = (
    json.dumps(json.loads(body) | {"user": "WORD"})
    for body in (bodies.call(), bodies.call(stream=True), bodies.call(turns=200))
)


@dataclass(slots=True)
class Call:
    """A request and the word that its answer must have."""

    kind: Kind
    word: bytes
    wire: bytes

    def wrong(self, status: int, body: bytes) -> str:
        """What is wrong with an answer; nothing when it is right."""
        if status != 200:
            return f"status {status}: {body[:120]!r}"
        if self.kind in (Kind.WHOLE, Kind.UPLOAD):
            begins = b'"content":" %baaaaa ' % self.word
            if body.count(begins) != 1 or not body.endswith(b'"}') or b'"total_tokens":200' not in body:
                return f"not the answer to {self.word!r}: {body[:200]!r}"
            return ""
        chunks = CHUNK.findall(body)
        if chunks != [(self.word, b"%d" % number) for number in range(CHUNKS)]:
            return f"{len(chunks)} chunks for {self.word!r}: {chunks[:2]} to {chunks[-2:]}"
        return "" if body.endswith(END) and b'"usage":' in body else f"an end of {body[-80:]!r}"


def call(client: int, number: int, dice: random.Random) -> Call:
    """The next call of a client."""
    kind = dice.choices(KINDS, SHARES)[0]
    word = f"soak-{client}-{number}-{dice.randrange(1 << 32):08x}"
    body = {Kind.STREAM: _STREAM, Kind.LEAVES_STREAM: _STREAM, Kind.UPLOAD: _LARGE}.get(kind, _SMALL)
    return Call(kind, word.encode(), asking.request(body.replace('"WORD"', f'"{word}"').encode()))
