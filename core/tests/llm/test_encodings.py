"""Vocabularies in a folder, and what is counted by them. The vocabularies are made up; the rules for cutting texts into
words are tiktoken's own."""

import asyncio
import logging
from base64 import b64encode
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any

import pytest
import tiktoken
from tiktoken_ext import openai_public

from agentgateway.llm.counting import exact, weight
from agentgateway.llm.encodings import Encodings, from_files, measure, vocabulary

URL = "https://encodings.invalid/some_base.tiktoken"
RANKS = {bytes((byte,)): byte for byte in range(256)} | {b"he": 256, b"ll": 257, b"hell": 258}
FILE = b"".join(b64encode(token) + b" %d\n" % rank for token, rank in RANKS.items())


@pytest.mark.parametrize("name", ["some_base.tiktoken", sha1(URL.encode()).hexdigest()])
def test_a_vocabulary_is_read_by_either_of_its_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILE)
    assert vocabulary(tmp_path, URL, sha256(FILE).hexdigest()) == RANKS
    assert vocabulary(tmp_path, URL, None) == RANKS


def test_a_vocabulary_is_the_published_one_or_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`some_base.tiktoken` is not in the folder"):
        vocabulary(tmp_path, URL, None)
    (tmp_path / "some_base.tiktoken").write_bytes(FILE + b"eHg= 300\n")
    with pytest.raises(ValueError, match="is not the file that was published"):
        vocabulary(tmp_path, URL, sha256(FILE).hexdigest())


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base", "o200k_harmony"])
def test_the_definitions_are_tiktokens_own(name: str) -> None:
    asked: list[tuple[str, str | None]] = []

    def read(url: str, expected_hash: str | None = None) -> dict[bytes, int]:
        asked.append((url, expected_hash))
        return RANKS

    made = tiktoken.Encoding(**from_files(openai_public.ENCODING_CONSTRUCTORS[name], read)())
    assert len(made.encode_ordinary("hello, hello")) == len(("hell", "o", ",", " ", "hell", "o"))
    ((url, expected_hash),) = asked
    assert url.endswith(f"/{name.replace('harmony', 'base')}.tiktoken") and len(expected_hash or "") == 64


def test_a_name_nobody_knows_is_no_encoding(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no encoding has that name"):
        measure("made_up", tmp_path)


async def settled(encodings: Encodings) -> None:
    assert encodings._thread is not None
    await asyncio.to_thread(encodings._thread.shutdown)
    encodings._thread = None


async def test_what_cannot_be_had_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encodings = Encodings()
    assert encodings.of("gpt-5") is None and encodings._thread is None  # nobody named a folder
    encodings.use(str(tmp_path), {"deployment": "no_such"})
    with caplog.at_level(logging.WARNING, "agentgateway.tokens"):
        for model in ("claude-x", "gpt-5", "openai/gpt-5", "deployment"):
            assert encodings.of(model) is None
            await settled(encodings) if encodings._thread else None
    assert encodings.of("gpt-5") is None and encodings._thread is None
    first, second = (record.getMessage() for record in caplog.records)
    assert first == (
        "tokens are estimated where `o200k_base` would count them: "
        "`o200k_base.tiktoken` is not in the folder of `tokenEncodings`"
    )
    assert "`no_such` would count them: no encoding has that name" in second


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("document", "tokens"),
    [
        ({"messages": [{"role": "user", "content": "one two three"}]}, 1 + 3 + 3 + 3),
        ({"system": "be kind", "messages": [{"role": "user", "content": "hi"}]}, (1 + 2 + 3) + (1 + 1 + 3) + 3),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "a b"}]}]}, 1 + 2 + 3 + 3),
        ({"contents": [{"role": "user", "parts": [{"text": "a b"}]}]}, 1 + 2 + 3 + 3),
        ({"messages": [], "tools": [{"name": "x"}]}, 1 + 3),
        ({"messages": [{"role": "user", "content": [{"data": "iVBORw0K" * 99}]}]}, 1 + 1000 + 3 + 3),
    ],
)
def test_texts_are_counted_and_what_stands_around_them(document: dict[str, Any], tokens: int) -> None:
    assert exact(document, words) == tokens


def test_an_estimate_weighs_everything() -> None:
    said = [{"role": "user", "content": "so " * 132}]
    assert weight({"messages": said}) == 400 // 4 + 4


def test_a_text_without_blanks_is_no_picture() -> None:
    said = [{"role": "user", "content": "汉字" * 400}]
    assert exact({"messages": said}, len) == 800 + len("user") + 3 + 3
