"""Which of Vertex AI's APIs a model is asked by, and what it is called there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

_PLACED = re.compile(r"(?:^|/)publishers/([^/]+)/models/(.+)$")
_DATE = re.compile(r"-(\d{8})$")
_DIALECTS = {"anthropic": "messages", "google": "gemini"}
_BEGINNINGS = {"claude": "anthropic", "gemini": "google"}


@dataclass(frozen=True, slots=True)
class Model:
    """`publisher` is empty where the name does not tell."""

    publisher: str
    name: str

    @property
    def dialect(self) -> str:
        """Google's other models (Gemma) are not spoken to as Gemini is."""
        if self.publisher == "google" and not self.name.startswith("gemini"):
            return "completions"
        return _DIALECTS.get(self.publisher, "completions")

    @property
    def in_body(self) -> str:
        """As the OpenAI-compatible API calls it: `meta/llama-4-maverick-17b-128e-instruct-maas`."""
        return f"{self.publisher}/{self.name}" if self.publisher else self.name

    @property
    def versioned(self) -> str:
        """Versions of Claude are dates behind an `@` here, where Anthropic itself writes a dash."""
        return _DATE.sub(r"@\1", self.name)

    def in_path(self, publisher: str) -> str:
        """As the paths of one publisher's models call it."""
        name = self.versioned if publisher == "anthropic" else self.name
        return f"/publishers/{publisher}/models/{quote(name, safe='@')}"


@lru_cache(maxsize=512)
def model(name: str) -> Model:
    """A model by any of its names: `gemini-2.5-pro`, `google/gemini-2.5-pro`, `publishers/google/models/…`."""
    placed = _PLACED.search(name)
    if placed is not None:
        return Model(placed[1], placed[2])
    publisher, slash, rest = name.removeprefix("models/").partition("/")
    if slash and publisher and rest:
        return Model(publisher, rest)
    for beginning, known in _BEGINNINGS.items():
        if publisher.lower().startswith(beginning):
            return Model(known, publisher)
    return Model("", publisher)
