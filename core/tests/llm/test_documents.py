"""JSON of requests: what is refused, and that no key hides behind another."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentgateway.errors import InvalidRequest
from agentgateway.llm.documents import dump, find_duplicate, parse, parse_lenient


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e999}',
        b'{"a":[-1e999]}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\x01"}',
        b"\xef\xbb\xbf{}",
        b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
        b"{}{}",
    ],
)
def test_what_is_no_plain_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(raw)
    assert caught.value.status == 400
    assert caught.value.code == "invalid_request_body"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"a","model":"b"}',
        b'{"model":"a", "mod\\u0065l":"b"}',
        b'{"model":"a","x":{"content":1,"content":2}}',
        b'{"x":[{"a":1},{"a":1,"a":1}]}',
        b'{"a\\\\":1,"a\\\\":2}',
        b'{"a\\"":1,"a\\"":2}',
        b'{"a" :1,"a"\n\t:2,"b":":"}',
        b'{"":1,"":2}',
        b'{"a":1,"a" :":x"}',
    ],
)
def test_a_key_that_stands_twice_in_one_object_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":{"a":{"a":1}}}',
        b'{"a":":","b":"\\":","c":"\\\\","d":" :","e\\\\":"\\\\\\":"}',
        b'{"text":"he said : \\"a\\":1, \\"a\\":2"}',
    ],
)
def test_what_only_looks_like_a_duplicate_is_not(raw: bytes) -> None:
    assert parse(raw) == json.loads(raw)


KEYS = st.text(alphabet='ab":\\ \n{},é', max_size=4)
BLANKS = st.sampled_from(["", "", " ", "\n", "\t\r "])


@st.composite
def written(draw: st.DrawFn, depth: int = 0) -> str:
    """JSON text as somebody could write it, with duplicates, escapes and blanks."""
    kind = draw(st.sampled_from(["text", "number", "object", "array"] if depth < 3 else ["text", "number"]))
    if kind == "number" and depth:
        return draw(st.sampled_from(["0", "-1.5", "null", "true"]))
    if kind == "text" and depth:
        return quoted(draw)
    if kind == "array" and depth:
        return "[" + ",".join(draw(written(depth + 1)) for _ in range(draw(st.integers(0, 3)))) + "]"
    pairs = [
        quoted(draw) + draw(BLANKS) + ":" + draw(BLANKS) + draw(written(depth + 1))
        for _ in range(draw(st.integers(0, 3)))
    ]
    return "{" + draw(BLANKS) + ("," + draw(BLANKS)).join(pairs) + draw(BLANKS) + "}"


def quoted(draw: st.DrawFn) -> str:
    text = json.dumps(draw(KEYS), ensure_ascii=draw(st.booleans()))
    return text.replace("a", "\\u0061") if draw(st.booleans()) else text


def has_duplicate(raw: bytes) -> bool:
    found = False

    def look(pairs: list[tuple[str, Any]]) -> None:
        nonlocal found
        found = found or len({key for key, _ in pairs}) != len(pairs)

    json.loads(raw, object_pairs_hook=look)
    return found


@given(written())
@example('{"a" :1,"a":":"}')
@example('{"\\\\":1,"\\\\":"x"}')
def test_counting_finds_what_exact_reading_finds(text: str) -> None:
    raw = text.encode()
    document, duplicate = parse_lenient(raw)
    assert document == json.loads(raw)
    assert duplicate == find_duplicate(raw)
    assert (duplicate is not None) == has_duplicate(raw)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_what_is_written_reads_the_same(document: dict[str, Any]) -> None:
    raw = dump(document)
    assert parse(raw) == document == json.loads(raw)


@given(st.binary(max_size=60))
def test_no_bytes_break_it(raw: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        parse(raw)
