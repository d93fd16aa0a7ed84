"""Requests as clients send them, and damaged: strategies for hypothesis."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
MESSAGE = b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Of HTTP/2 (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


GOOD = [
    b"GET /a/b?c=%20d HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"HEAD /a HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /a HTTP/1.1\r\nhost: x:81\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
    b"PUT /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    b"5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nx-trailer: 1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(CHAT), CHAT),
    b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    % (len(MESSAGE), MESSAGE),
    b"GET http://y/a?b HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    b"POST /a HTTP/1.0\r\nhost: x\r\ncontent-length: 2\r\n\r\nhi",
    b"POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nhi",
    b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: x-mine, close\r\nx-mine: 1\r\nkeep-alive: 5\r\nte: trailers\r\n\r\n",
    b"DELETE /a HTTP/1.1\r\nhost: [::1]\r\nx-empty:\r\nx-blank: a b\t c \r\nx-latin: \xe4\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n",
    b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n",
    b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: something\r\n\r\n",
    b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n",
    b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
    b"http2-settings: AAMAAABk\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 5, 1, b"\x82\x86\x41\x01x\x04\x02/a"),
]

LINES = [
    b"content-length: 5",
    b"Content-Length: 0",
    b"content-length: 05",
    b"content-length: 5, 5",
    b"content-length: +5",
    b"content-length: 99999",
    b"content-length : 5",
    b"content-length: 18446744073709551621",
    b"transfer-encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"transfer-encoding: chunked ",
    b"transfer-encoding: gzip, chunked",
    b"transfer-encoding: chunked, identity",
    b"transfer-encoding: identity",
    b"transfer-encoding:",
    b"transfer-encoding: \x0bchunked",
    b"host: y",
    b"host: ",
    b"host: a b",
    b"host: u@x",
    b"connection: close",
    b"connection: keep-alive",
    b"connection: host, x-mine",
    b"connection: upgrade",
    b"upgrade: h2c",
    b"expect: 100-continue",
    b"expect: 200-ok",
    b"proxy-connection: keep-alive",
    b"x-mine: 1",
    b"x-mine: \x01",
    b"x-mine: \x7f",
    b"x-mine: a\x00b",
    b"x-mine: a\rb",
    b" folded",
    b"\tfolded: 1",
    b": empty",
    b"nothing",
    b"x mine: 1",
    b"x-\xe4: 1",
    b"x-long: " + b"a" * 5000,
    b"\r\n".join(b"x-%d: 1" % number for number in range(25)),
]
ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\r\n ", b"\r\n\t", b" \r\n", b"", b"\0\r\n"]
WORDS = {
    b"HTTP/1.1": b"HTTP/1.0|HTTP/1.2|HTTP/2.0|HTTP/0.9|http/1.1|HTTP/1.10|RTSP/1.1||HTP/1.1",
    b" HTTP/1.1": b"  HTTP/1.1|\tHTTP/1.1|| HTTP/1.1 | x HTTP/1.1",
    b"GET ": b"get |BREW |PATCH |TRACE |PROPFIND |GET  |GET\t| GET |G@T |\r\nGET |QUERY ",
    b"POST ": b"GET |HEAD |OPTIONS |post |M-SEARCH |\r\n\r\nPOST |\nPOST ",
    b"/a": b"/a/../b|/%61|/a%00|/a#b|/a\xe4|*|a|//a|/a?\x7f|http:///a|/a\\b|/a%zz|ftp://x/a|g:443",
    b"host: x": b"Host:x|host:  x|host: x |host: x:|host: x:99999999|hOsT: X|host: x, y|host: x/|host : x",
    b"chunked": b'CHUNKED|chunked, chunked|xchunked|chunked;q=1|"chunked"|gzip',
    b"5;a=b": b'5;a|5 ;a|5; a=b|5;a="b;c"|5;a="|5;|05|0x5|+5|-5| 5|5 |g||fffffffffffffffff|000000000000000000005',
    b"\r\n0\r\n": b"\r\n00\r\n|\r\n0 \r\n|\r\n0;a\r\n|0\r\n|\n0\n|\r\n",
    b"x-trailer: 1": b"content-length: 5|transfer-encoding: chunked|connection: close|bad| x|x: \x01|host: y",
    b"keep-alive": b"close|Keep-Alive|close, keep-alive|upgrade|x",
    b"hello": b"hell|helloo|hel\r\nlo|\r\n\r\n",
}
"""What may stand in place of a word."""

Mutation = tuple[str, int, int]

KINDS = ["word", "word", "line", "line", "end", "byte", "byte", "cut", "copy", "short"]
mutations = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 2**16), st.integers(0, 2**16)), max_size=4)
splits = st.lists(st.integers(0, 2**16), max_size=4)


def nth(data: bytes, what: bytes, number: int) -> int:
    """Where one of the occurrences is; -1 without any."""
    places = [at for at in range(len(data)) if data.startswith(what, at)]
    return places[number % len(places)] if places else -1


def damaged(data: bytes, mutation: Mutation) -> bytes:
    """The bytes after one mutation."""
    kind, where, what = mutation
    at = where % (len(data) + 1)
    if kind == "word":
        known = [word for word in WORDS if word in data]
        if not known:
            return data
        word = known[where % len(known)]
        others = WORDS[word].split(b"|")
        at = nth(data, word, where)
        return data[:at] + others[what % len(others)] + data[at + len(word) :]
    if kind == "line":
        at = nth(data, b"\r\n", where)
        return data if at < 0 else data[:at] + b"\r\n" + LINES[what % len(LINES)] + data[at:]
    if kind == "end":
        at = nth(data, b"\r\n", where)
        return data if at < 0 else data[:at] + ENDS[what % len(ENDS)] + data[at + 2 :]
    if kind == "byte":
        return data[:at] + bytes([what % 256]) + data[at + what // 256 % 2 :]
    if kind == "cut":
        return data[:at] + data[at + what % 16 :]
    if kind == "copy":
        return data[:at] + data[at : at + what % 64] * 2 + data[at + what % 64 :]
    return data[:at]


def pieces(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The bytes, split."""
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in zip(ends, ends[1:], strict=False)]


@st.composite
def conversations(draw: st.DrawFn) -> list[bytes]:
    """What a client says on a connection: up to three requests, damaged or not, in pieces."""
    data = b"".join(draw(st.lists(st.sampled_from(GOOD), min_size=1, max_size=3)))
    for mutation in draw(mutations):
        data = damaged(data, mutation)
    return pieces(data, draw(splits))
