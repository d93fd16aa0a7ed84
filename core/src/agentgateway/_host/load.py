"""The configuration file: YAML or JSON to plain data that knows its file and lines.

This module is the only reader of `os.environ`. What it gives is a `Document`; what is wrong is a `ConfigError` with
file, line and key path, and never with the offending value, because that may be a secret.
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from agentgateway._host.expansion import expand
from agentgateway._host.validation import validate
from agentgateway._host.yaml_nodes import compose
from agentgateway._host.yaml_values import Mark, NodeError, construct
from agentgateway.errors import ConfigError
from agentgateway.files import MAX_FILE_BYTES

__all__ = ["Document", "Source", "dotted", "parse", "read", "validate"]

KeyPath = tuple[str | int, ...]

STDIN = "<stdin>"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
ENVIRON: Mapping[str, str] = os.environ
"""The process's environment, for everybody who is handed one."""


@dataclass(frozen=True)
class Source:
    """Text of a configuration, and where it came from."""

    text: str = field(repr=False)
    file: str
    """As the user named it; `<stdin>` for standard input."""
    folder: Path
    """Where relative file names start: the file's folder, else the working directory."""


@dataclass(frozen=True)
class Document:
    """A parsed configuration."""

    data: dict[str, Any] = field(repr=False)
    """Plain dicts, lists, strings, numbers, booleans and None; environment variables are in."""
    source: Source
    files: set[Path]
    """The file itself and, as validation goes on, every file it names: what to watch. Empty for standard input."""
    root: Mark = field(repr=False)

    @property
    def folder(self) -> Path:
        return self.source.folder

    def line(self, path: Sequence[str | int]) -> int | None:
        """Line of that key, or of its nearest ancestor that exists; None in an empty document."""
        mark = self.root
        for key in path:
            if key not in mark.children:
                break
            mark = mark.children[key]
        return mark.line or None

    def has(self, path: Sequence[str | int]) -> bool:
        """Whether the file itself has that key."""
        mark = self.root
        for key in path:
            if key not in mark.children:
                return False
            mark = mark.children[key]
        return True

    def find(self, text: str, below: Sequence[str | int]) -> KeyPath | None:
        """Where that text stands as a value: at or below a place, else somewhere below the same top-level key."""
        for place in (tuple(below), tuple(below[:1])):
            value: Any = self.data
            for key in place:
                value = value[key] if self.has(place) else None
            found = next(_places(value, text), None)
            if found is not None:
                return (*place, *found)
        return None

    def error(self, path: Sequence[str | int], message: str, hint: str = "") -> ConfigError:
        """The error to raise about the value at `path`; the message must not contain the value."""
        return ConfigError(message, path=dotted(path), file=self.source.file, line=self.line(path), hint=hint)


def read(path: str | None, stdin: BinaryIO | None = None, environ: Mapping[str, str] = os.environ) -> Document:
    """Read and parse a file, `-` being standard input. Raises ConfigError."""
    if path is None:
        raise ConfigError("no configuration file", hint="name one with -f FILE; -f - reads standard input")
    file = STDIN if path == "-" else path
    try:
        if path == "-":
            if stdin is None and sys.stdin is None:
                raise ConfigError("cannot read the configuration: standard input is closed", file=file)
            content = (stdin or sys.stdin.buffer).read(MAX_FILE_BYTES + 1)
        else:
            with open(path, "rb") as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise ConfigError(f"cannot read the configuration: {reason}", file=file) from None
    return parse(_decode(content, file), file=file, environ=environ)


def parse(text: str, *, file: str = STDIN, environ: Mapping[str, str] = os.environ) -> Document:
    """Parse a text. Raises ConfigError."""
    at = Path.cwd() / (file if file != STDIN else "")
    source = Source(text, file, at if file == STDIN else at.parent)
    files = set() if file == STDIN else {at}
    try:
        node = compose(text)
        data, root = construct(node, lambda value: expand(value, environ)) if node else (None, Mark(0))
    except NodeError as error:
        raise ConfigError(error.message, path=dotted(error.at), file=file, line=error.line, hint=error.hint) from None
    except ConfigError as error:
        raise ConfigError(error.message, file=file, line=error.line, hint=error.hint) from None
    if not isinstance(data, dict | None):
        raise ConfigError("the top level must be a mapping", file=file, line=root.line)
    return Document(data or {}, source, files, root)


def _places(value: Any, text: str) -> Iterator[KeyPath]:
    if value == text:
        yield ()
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield from ((key, *path) for path in _places(inner, text))


def _decode(content: bytes, file: str) -> str:
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"larger than {MAX_FILE_BYTES // 2**20} MiB", file=file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", file=file, line=line) from None


def dotted(path: Sequence[str | int]) -> str:
    """The keys as people write them: `llm.models[0].params`; odd keys in quotes, `gateways["my.gateway"]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif _PLAIN_KEY.fullmatch(key):
            text += f".{key}" if text else key
        else:
            text += f"[{json.dumps(key, ensure_ascii=False)}]"
    return text
