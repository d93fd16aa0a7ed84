"""JSON of requests: what is refused, and that no key hides behind another."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentgateway.errors import InvalidRequest
from agentgateway.llm.calls import LlmCall
from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.documents import dump, duplicate_in, find_duplicate, parse, read_object


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
    document = read_object(raw)
    duplicate = duplicate_in(document, raw)
    assert document == json.loads(raw)
    assert duplicate == find_duplicate(raw)
    assert (duplicate is not None) == has_duplicate(raw)


TEXTS = st.text(alphabet='ab":\\ !{},\né', max_size=6)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": TEXTS | st.none() | st.just([{"type": "text"}])},
    optional={"name": TEXTS, "x": st.floats(allow_nan=False, allow_infinity=False) | st.just({"role": ":"})},
)
CALL = st.fixed_dictionaries(
    {"model": TEXTS.map("m".__add__), "messages": st.lists(MESSAGE, max_size=3)},
    optional={"stop": st.just([":"]), "tools": st.just([{"type": '":'}]), "temperature": st.just(0.5), ":": TEXTS},
)
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (",\n", " : "), (",", "\t:")])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A model call, perhaps with a piece of itself in some place once more: now and then that is valid JSON."""
    text = json.dumps(draw(CALL), separators=draw(SEPARATORS), ensure_ascii=draw(st.booleans()))
    borders = [at for at, character in enumerate(text) if character in "{}[],"]
    start, end, to = (draw(st.sampled_from(borders)) for _ in range(3))
    piece = text[start:end] or draw(st.sampled_from([',"model":"m"', ',"role":"x"', ',"content" :"a:"', ",1e999", ":"]))
    return (text[:to] + piece + text[to:] if draw(st.booleans()) else text).encode()


@given(mutated())
@settings(max_examples=1000)
@example(b'{"model":"m","messages":[{"role":"user","content":"a:","content":"b"}]}')
@example(b'{"model":"m","messages":[{"role":"user","content":":"}],"messages":[{"role":"user","content":"b"}]}')
@example(b'{"model":"m","messages":[{"role":"user","content":"a:"}],"x":{"model":1,"model":2}}')
def test_a_call_is_refused_for_its_duplicate_exactly_when_it_has_one(raw: bytes) -> None:
    try:
        document = read_object(raw)
        duplicate = find_duplicate(raw)
    except ValueError:
        return
    if not finite(document):
        with pytest.raises(InvalidRequest, match="out of range"):
            LlmCall.read(Completions(), raw)
        return
    assert duplicate_in(document, raw) == duplicate
    message = ""
    try:
        LlmCall.read(Completions(), raw)
    except InvalidRequest as error:
        message = error.message
    assert ("twice in one object" in message) == (duplicate is not None)


def finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize(
    "rest",
    [
        b'"messages":[{"role":"user","content":"a"}],"temperature":1e999',
        b'"messages":[{"role":"user","content":"a"}],"x":[[-1e999]]',
        b'"messages":[{"role":"user","content":"a","x":1e999}]',
        b'"messages":[{"role":"user","content":[{"type":"text","text":"a","x":1e999}]}]',
        b'"messages":[{"role":"user","content":"a"}],"seed":' + b"9" * 400 + b".0",
        b'"messages":[1e999]',
        b'"messages":1e999',
    ],
)
def test_a_call_with_an_infinite_number_is_refused_as_such(rest: bytes) -> None:
    with pytest.raises(InvalidRequest, match="number out of range"):
        LlmCall.read(Completions(), b'{"model":"m",' + rest + b"}")


def test_a_duplicate_is_told_before_any_other_fault() -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        LlmCall.read(Completions(), b'{"model":5,"messages":5,"messages":5}')


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_what_is_written_reads_the_same(document: dict[str, Any]) -> None:
    raw = dump(document)
    assert parse(raw) == document == json.loads(raw)


@given(st.binary(max_size=60))
def test_no_bytes_break_it(raw: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        parse(raw)
