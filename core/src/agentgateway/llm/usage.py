"""What a stream cost, from its raw bytes; counted where the vendor never said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pydantic_core import from_json

from agentgateway.exchange import Usage
from agentgateway.llm.calls import Dialect, ErrorFacts, Failed, Json, LlmCall
from agentgateway.llm.dialect import EventParser
from agentgateway.llm.documents import dump
from agentgateway.llm.sse import Event

BYTES_PER_TOKEN = 4
"""Of UTF-8: about right for English, and for scripts whose characters take more bytes and more tokens alike."""
LONGEST_LINE = 1 << 20
MEASURED_FIRST = 32


def estimate(size: int) -> int:
    """Tokens of a text of that many bytes."""
    return -(-size // BYTES_PER_TOKEN)


def estimate_input(call: LlmCall) -> int:
    """Tokens of a call's texts and tools; images and files count nothing."""
    size = sum(len(segment.text.encode("utf-8", "replace")) for segment in call.segments())
    if tools := call.document.get("tools"):
        size += len(dump(tools))
    return estimate(size)


@lru_cache
def _texts(keys: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """The values of those keys, escapes and all, when they are strings."""
    return re.compile(rb'"(?:%b)":\s?"([^"\\]*+(?:\\.[^"\\]*+)*+)"' % b"|".join(keys))


@lru_cache
def _object(key: bytes) -> re.Pattern[bytes]:
    """Where an object stands under that key."""
    return re.compile(rb'"%b"\s*:\s*\{' % key)


class UsageMeter:
    """Watches the bytes of one stream, in chunks of any size. `see` costs under a microsecond for an ordinary chunk.

    Text is measured in the first chunks and in one of sixteen after those. `spoke` says whether there was any,
    `model` who answered, as far as the stream told. `parsed` gives the events it had to read, where it reads events:
    here it does not.
    """

    parsed: EventParser | None = None
    __slots__ = (
        "_before",
        "_bytes",
        "_chunks",
        "_complete",
        "_dialect",
        "_fields",
        "_last",
        "_line",
        "_line_size",
        "_measured",
        "_text",
        "_texts",
        "_usage_object",
        "_usage_word",
        "model",
        "spoke",
    )

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._texts = _texts(dialect.text_keys)
        self._usage_word = b'"%b"' % dialect.usage_key
        self._usage_object = _object(dialect.usage_key)
        self._fields: Json = {}
        self._complete = False
        self._line: list[bytes] = []
        self._line_size = 0
        self._before = self._last = b""
        self._chunks = self._bytes = self._measured = self._text = 0
        self.spoke = False
        self.model: str | None = None

    def see(self, chunk: bytes) -> bool:
        """Whether the vendor told usage in the lines that are complete now."""
        if self._line or not chunk.endswith(b"\n"):
            chunk = self._whole_lines(chunk)
            if not chunk:
                return False
        size = len(chunk)
        if size > 2:  # more than the end of a line
            self._before, self._last = self._last, chunk
        self._bytes += size
        self._chunks = number = self._chunks + 1
        if number <= MEASURED_FIRST or not number & 15 or not self.spoke:
            self._measure(chunk)
        if self._usage_word not in chunk or self._usage_object.search(chunk) is None:
            return False  # not even in `"usage":null`, which one vendor writes into every event
        self._read(chunk)
        return True

    @property
    def ended(self) -> bool:
        """Whether the stream came to its own end."""
        self._flush()
        return self._dialect.end_marker in self._last and any(
            self._dialect.ends(Event(line[5:].strip())) for line in _data_lines(self._last)
        )

    @property
    def complete(self) -> bool:
        """Whether the answer was whole when the bytes ended. Some servers leave out the stream's own end."""
        return self.ended or any(
            self._dialect.concludes(Event(line[5:].strip())) for line in _data_lines(self._before + self._last)
        )

    @property
    def failure(self) -> ErrorFacts | None:
        """What the vendor says went wrong, in the last bytes."""
        for line in _data_lines(self._last):
            if b'"error"' in line:
                for delta in self._dialect.decoder().feed(Event(line[5:].strip())):
                    if isinstance(delta, Failed):
                        return delta.facts
        return None

    def usage(self, call: LlmCall | None = None) -> Usage:
        """What is known now. Without the vendor's last word, output is counted from the text that was seen, and input,
        if the vendor did not even tell that, from the call; `estimated` says so."""
        self._flush()
        usage = self._dialect.read_usage(self._fields)
        if self._complete:
            return usage
        seen = usage.input_tokens or (estimate_input(call) if call is not None else 0)
        text = self._text * self._bytes // self._measured if self._measured else 0
        output = max(usage.output_tokens, estimate(text))
        return usage._replace(input_tokens=seen, output_tokens=output, estimated=True)

    def _flush(self) -> None:
        """A last line without its end is a line too."""
        if self._line:
            self.see(b"\n")

    def _measure(self, chunk: bytes) -> None:
        self._measured += len(chunk)
        self._text += sum(map(len, self._texts.findall(chunk)))
        self.spoke = self._text > 0
        if self.model is None:
            for document in _documents(chunk, b'"%b"' % self._dialect.model_key):
                self.model = self.model or self._dialect.reply_model(document)

    def _whole_lines(self, chunk: bytes) -> bytes:
        """The lines that are complete now; the rest waits, unless it grows beyond all measure."""
        cut = chunk.rfind(b"\n") + 1
        if not cut:
            self._line_size += len(chunk)
            if self._line_size <= LONGEST_LINE:
                self._line.append(chunk)
            return b""
        self._line.append(chunk[:cut])
        whole = b"".join(self._line)
        rest = chunk[cut:]
        self._line = [rest] if rest else []
        self._line_size = len(rest)
        return whole

    def _read(self, chunk: bytes) -> None:
        for document in _documents(chunk, self._usage_word):
            fields = self._dialect.usage_fields(document)
            if fields is not None:
                self._fields |= {key: value for key, value in fields.items() if value is not None}
                self._complete = self._complete or self._dialect.usage_complete(document)


def _data_lines(chunk: bytes) -> list[bytes]:
    return [line for line in chunk.split(b"\n") if line.startswith(b"data:")]


def _documents(chunk: bytes, word: bytes) -> Iterator[Json]:
    """The JSON objects of data lines that have that word in them."""
    for line in _data_lines(chunk):
        if word in line:
            try:
                document = from_json(line[5:].strip())
            except ValueError:
                continue
            if isinstance(document, dict):
                yield document
