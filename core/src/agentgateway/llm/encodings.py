"""Exact numbers of tokens for models whose encoding is published, by tiktoken (https://github.com/openai/tiktoken),
which the extra `tokens` brings. Nothing is downloaded: the vocabularies are files in a folder of the operator's.

Importing tiktoken and reading a vocabulary take up to a second, in a thread of their own from the first question on;
until that is done, and where it cannot be, there is no encoding.
"""

from __future__ import annotations

import logging
from base64 import b64decode
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1, sha256
from pathlib import Path
from types import FunctionType
from typing import Any

logger = logging.getLogger("agentgateway.tokens")

Measure = Callable[[str], int]
"""The tokens of a text."""
Loaded = Callable[[str, str | None], dict[bytes, int]]


class Encodings:
    """Encodings by model. Nothing is looked for until `use` names a folder."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._models: Mapping[str, str] = {}
        self._table: Callable[[str], str] | None = None
        self._by_name: dict[str, Measure | None] = {}
        self._thread: ThreadPoolExecutor | None = None

    def use(self, folder: str, models: Mapping[str, str]) -> None:
        """Read vocabularies from that folder. `models` are names that tiktoken does not know, and their encodings."""
        self._folder, self._models = Path(folder), models

    def of(self, model: str) -> Measure | None:
        """What counts for a model. None while that is being made ready, and for models nobody has published."""
        if self._folder is None:
            return None
        if self._table is None:
            self._later(self._open, model)
            return None
        name = self._named(model)
        if name is not None and name not in self._by_name:
            self._later(self._load, name)
        return self._by_name.get(name) if name is not None else None

    def _later(self, work: Callable[[str], None], of: str) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "tokens")
        self._thread.submit(work, of)

    def _named(self, model: str) -> str | None:
        """The name of a model's encoding, also when a vendor stands before it (`openai/gpt-5`)."""
        assert self._table is not None
        if (own := self._models.get(model)) is not None:
            return own
        try:
            return self._table(model.rpartition("/")[2])
        except KeyError:
            return None

    def _open(self, model: str) -> None:
        if self._table is None:
            from tiktoken.model import encoding_name_for_model

            self._table = encoding_name_for_model
        if (name := self._named(model)) is not None:
            self._load(name)

    def _load(self, name: str) -> None:
        if name in self._by_name:
            return
        assert self._folder is not None
        try:
            self._by_name[name] = measure(name, self._folder)
        except Exception as error:  # of a file, or of a distribution that brings an encoding
            self._by_name[name] = None
            why = error if isinstance(error, ValueError) else type(error).__name__
            logger.warning("tokens are estimated where `%s` would count them: %s", name, why)


ENCODINGS = Encodings()
"""The process's own."""


def measure(name: str, folder: Path) -> Measure:
    """What counts in an encoding, with its vocabulary from that folder. Raises `ValueError` for a name that tiktoken
    does not know, and for a vocabulary that is not there or not the one that was published."""
    from tiktoken import Encoding, registry

    known = registry.list_encoding_names()  # which fills the constructors
    if name not in known or registry.ENCODING_CONSTRUCTORS is None:
        raise ValueError("no encoding has that name")

    def read(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        return vocabulary(folder, url, expected_hash)

    encode = Encoding(**from_files(registry.ENCODING_CONSTRUCTORS[name], read)()).encode_ordinary
    return lambda text: len(encode(text))


def from_files(constructor: Callable[[], dict[str, Any]], read: Loaded) -> Callable[[], dict[str, Any]]:
    """tiktoken's own definition of an encoding, with `read` for what downloads its vocabulary: it has no other way to
    be told."""
    assert isinstance(constructor, FunctionType)
    names: dict[str, Any] = dict(constructor.__globals__)
    for key, one in constructor.__globals__.items():
        if isinstance(one, FunctionType) and one.__globals__ is constructor.__globals__:
            names[key] = FunctionType(one.__code__, names, key, one.__defaults__, one.__closure__)
    names["load_tiktoken_bpe"] = read
    return FunctionType(constructor.__code__, names, constructor.__name__, constructor.__defaults__)


def vocabulary(folder: Path, url: str, expected_hash: str | None) -> dict[bytes, int]:
    """The ranks in a vocabulary's file, which is called as it is where it was published (`o200k_base.tiktoken`), or as
    in tiktoken's own cache. Raises `ValueError`."""
    name = url.rpartition("/")[2]
    found = [
        path
        for path in (folder / name, folder / sha1(url.encode(), usedforsecurity=False).hexdigest())
        if path.is_file()
    ]
    if not found:
        raise ValueError(f"`{name}` is not in the folder of `tokenEncodings`")
    content = found[0].read_bytes()
    if expected_hash is not None and sha256(content).hexdigest() != expected_hash:
        raise ValueError(f"`{found[0].name}` is not the file that was published at {url}")
    lines = (line.split() for line in content.splitlines() if line)
    return {b64decode(token): int(rank) for token, rank in lines}


__all__ = ["ENCODINGS", "Encodings", "Measure", "measure"]
