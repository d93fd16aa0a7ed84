"""Server-sent events, in any portions: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgateway.errors import UpstreamError
from agentgateway.llm.sse import Event, Parser, encode


def parse(*chunks: bytes) -> list[tuple[str | None, bytes | None]]:
    return [(event.name, event.data) for event in events(*chunks)]


def events(*chunks: bytes) -> list[Event]:
    parser = Parser()
    return [event for chunk in chunks for event in parser.feed(chunk)] + parser.end()


def test_names_data_and_comments() -> None:
    stream = b": hello\n\nevent: add\ndata: 1\n\ndata:2\ndata:  3\nid: 7\nretry: 9\n\ndata\n\n"
    assert parse(stream) == [(None, None), ("add", b"1"), (None, b"2\n 3"), (None, b"")]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_end_of_line(end: bytes) -> None:
    stream = b"event: a\ndata: x\ndata: y\n\ndata: z\n\n".replace(b"\n", end)
    assert parse(stream) == [("a", b"x\ny"), (None, b"z")]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    stream = b"\xef\xbb\xbfdata: x\n\ndata: y\n\n"
    assert parse(stream) == [(None, b"x"), (None, b"y")]
    assert events(stream)[0].raw.startswith(b"\xef\xbb\xbf")


def test_an_event_without_its_blank_line_counts_at_the_end() -> None:
    assert parse(b"data: x\n\ndata: [DONE]\n") == [(None, b"x"), (None, b"[DONE]")]


@pytest.mark.parametrize("chunks", [(b"data: " + b"x" * 101 + b"\n\n",), (b"data: ", b"x" * 101)])
def test_an_event_beyond_the_limit_is_the_upstreams_fault(chunks: tuple[bytes, ...]) -> None:
    parser = Parser(limit=100)
    with pytest.raises(UpstreamError):
        for chunk in chunks:
            parser.feed(chunk)


def test_the_limit_is_for_one_event_not_for_the_stream() -> None:
    parser = Parser(limit=20)
    assert sum(len(parser.feed(b"data: 12345\n\n" * 10)) for _ in range(10)) == 100


LINES = st.sampled_from(
    [b"data: x", b"data:", b"data: {}", b"event: e", b":", b": c", b"id: 1", b"nonsense", b"", b"", b"data: \xc3\xa9"]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS), max_size=12).map(lambda lines: b"".join(a + b for a, b in lines))


@given(STREAMS, st.lists(st.integers(0, 80), max_size=6))
def test_portions_change_nothing_and_nothing_is_lost(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    chunks = [stream[a:b] for a, b in zip(places, places[1:], strict=False)]
    whole, parts = events(stream), events(*chunks)
    assert [(e.name, e.data, e.raw) for e in parts] == [(e.name, e.data, e.raw) for e in whole]
    assert b"".join(event.encode() for event in parts) == stream


def reference(stream: bytes) -> list[tuple[str | None, bytes]]:
    """The standard's algorithm, line by line; `data` events only."""
    found: list[tuple[str | None, bytes]] = []
    name, data = None, None
    for line in stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"):
        if not line:
            if data is not None:
                found.append((name, data))
            name, data = None, None
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            name = value.decode()
    return found


@given(STREAMS.map(lambda stream: stream + b"\n\n"))
def test_it_reads_as_the_standard_says(stream: bytes) -> None:
    assert [(event.name, event.data) for event in events(stream) if event.data is not None] == reference(stream)


@given(st.binary(max_size=40), st.sampled_from([None, "name"]))
def test_what_is_written_reads_the_same(data: bytes, name: str | None) -> None:
    data = data.replace(b"\r", b"")
    assert parse(encode(data, name)) == [(name, data)]


def test_an_event_is_made_anew_only_when_its_document_changed() -> None:
    raw = b'event: e\ndata:  {"a" : "\xc3\xa9"}\n\n'
    (event,) = events(raw)
    assert event.document == {"a": "é"}
    assert event.encode() == raw
    event.document["a"] = "b\n"
    event.mark_changed()
    assert event.encode() == b'event: e\ndata: {"a":"b\\n"}\n\n'


@pytest.mark.parametrize("data", [b"[DONE]", b"{", b"[1]", b"", b'{"a":NaN}'])
def test_what_is_no_object_has_no_document(data: bytes) -> None:
    assert Event(data).document is None
