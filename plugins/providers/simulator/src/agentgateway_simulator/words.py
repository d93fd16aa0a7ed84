"""Words stand for tokens: deterministic, and countable by whoever reads a test."""

import re
from itertools import cycle, islice

_TEXT = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna "
    "aliqua ut enim ad minim veniam quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo consequat"
)
_LOREM = _TEXT.split()
_PIECE = re.compile(r"\s*\S+(?:\s+\Z)?|\s+\Z")
_JSON_PIECE = 8


def lorem(count: int) -> str:
    """That many words of filler."""
    return " ".join(islice(cycle(_LOREM), count))


def count(text: str) -> int:
    return len(text.split())


def pieces(text: str) -> list[str]:
    """The text in pieces of one word; joined they give the text again, blanks included."""
    return _PIECE.findall(text)


def cut(text: str, most: int) -> str:
    """The first so many words."""
    return "".join(pieces(text)[:most]) if count(text) > most else text


def json_pieces(text: str) -> list[str]:
    """JSON in pieces that respect nothing, as vendors stream the arguments of a tool."""
    return [text[start : start + _JSON_PIECE] for start in range(0, len(text), _JSON_PIECE)]
