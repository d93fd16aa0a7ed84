"""Bytes that no decent client sends, at one real process: each gets its documented status, in the client's own dialect
where a model is called, and the process serves on and keeps nothing.

Where the faces of HTTP/1.1 differ, a status is `{"edge": ..., "twin": ...}`, with the section that allows either; all
such differences are listed in docs/differences.md.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "an-honest-key"
MEBIBYTE = 1024 * 1024
CONFIG = """
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
frontendPolicies:
  http: {{http1HeaderTimeout: 1s, bodyTimeout: 1s, http1IdleTimeout: 3s}}
routes:
  - name: private
    matches: [{{path: {{pathPrefix: /private}}}}]
    policies: {{apiKey: {{mode: strict, keys: [{{key: an-honest-key}}]}}}}
    backends: [{{host: "{upstream}"}}]
  - name: never
    matches: [{{path: {{pathPrefix: /never}}}}, {{path: {{regex: "/api/[0-9]+/never"}}}}]
    policies: {{authorization: {{rules: [deny: "true"]}}}}
    backends: [{{host: "{upstream}"}}]
  - name: public
    matches: [{{path: {{pathPrefix: /public}}}}]
    policies: {{authorization: {{rules: [deny: 'request.path.startsWith("/public/never")']}}}}
    backends: [{{host: "{upstream}"}}]
  - name: fine
    matches: [{{path: {{exact: /fine}}}}]
    backends: [internal: {{}}]
llm:
  gateways: default
  models:
    - {{name: same, provider: {{simulator: {{dialects: [completions, messages]}}}}}}
    - {{name: chat, provider: {{simulator: {{dialects: [completions]}}}}}}
    - {{name: message, provider: {{simulator: {{dialects: [messages]}}}}}}
"""
TIGHT = """
gateways: {default: {port: 0, address: 127.0.0.1}}
frontendPolicies: {http: {http1MaxHeadSize: 2048}}
routes: [{backends: [{internal: {}}]}]
"""


@dataclass
class Answer:
    """What a connection got until it ended, or for as long as a test cares: the first final reply."""

    data: bytes

    @property
    def statuses(self) -> list[int]:
        return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.data)]

    @property
    def status(self) -> int:
        return next((status for status in self.statuses if status >= 200), 0)

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]


async def heard(reader: asyncio.StreamReader) -> bytes:
    """All there is until the other side closes, or resets what it does not want to read."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while got := await reader.read(65536):
            data += got
    return data


@dataclass
class Front:
    gateway: Any
    upstream: Upstream
    face: str

    def here(self, status: Any) -> int:
        """The status that is expected of this face."""
        return int(status[self.face] if isinstance(status, dict) else status)

    async def say(self, *pieces: bytes, half_close: bool = False, seconds: float = 15) -> Answer:
        """Everything that comes back on a connection of its own, until the gateway closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        listening = asyncio.create_task(heard(reader))
        try:
            async with asyncio.timeout(seconds):
                with contextlib.suppress(ConnectionError):
                    for piece in pieces:
                        writer.write(piece)
                        await writer.drain()
                    if half_close:
                        writer.write_eof()
                return Answer(await listening)
        finally:
            listening.cancel()
            writer.transport.abort()

    async def leave_after(self, data: bytes) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", self.gateway.port)
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(serve_all: Callable[[str], Awaitable[Any]], face: str) -> AsyncIterator[Front]:
    def echo(request: Received) -> bytes:
        said = f"{request.method} {request.target}".encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said)

    async with Upstream(echo) as upstream:
        yield Front(await serve_all(CONFIG.format(upstream=upstream.address)), upstream, face)


@pytest_asyncio.fixture(loop_scope="module")
async def front(shared: Front) -> AsyncIterator[Front]:
    """The gateway, which has to be well after each test."""
    shared.upstream.received.clear()
    yield shared
    assert (await shared.say(chat(GOOD))).status == 200
    assert shared.gateway.process.returncode is None
    assert "Traceback" not in shared.gateway.log and "ERROR" not in shared.gateway.log


def http(line: bytes, *fields: bytes, body: bytes = b"", close: bool = True) -> bytes:
    head = [line, b"host: g", *fields, *([b"connection: close"] if close else [])]
    return b"\r\n".join([*head, b"", body])


def call(path: str, body: bytes, *fields: bytes) -> bytes:
    length = b"content-length: %d" % len(body)
    return http(b"POST %b HTTP/1.1" % path.encode(), b"content-type: application/json", *fields, length, body=body)


def chat(body: bytes, *fields: bytes) -> bytes:
    return call("/v1/chat/completions", body, *fields)


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


GOOD = b'{"model": "same", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'
POST = b"POST /v1/chat/completions HTTP/1.1"
LENGTH = b"content-length: %d" % len(GOOD)
CHUNKED = b"transfer-encoding: chunked"
SECOND = b"GET /public/smuggled HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n"

# --- bodies ----------------------------------------------------------------------------------------------------------

DIALECTS = ("/v1/chat/completions", "/v1/messages")
every_dialect = pytest.mark.parametrize("path", DIALECTS)


def spoken_error(path: str, answer: Answer) -> str:
    """The message of an error, which has to be one of that dialect."""
    assert b"content-type: application/json" in answer.data.lower()
    document = json.loads(answer.body)
    if path == "/v1/messages":
        assert document["type"] == "error" and set(document["error"]) >= {"type", "message"}
    else:
        assert set(document) == {"error"} and set(document["error"]) == {"message", "type", "param", "code"}
    return document["error"]["message"]


def with_field(field: str, model: str = "same") -> bytes:
    return b'{"model": "%b", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], %b}' % (
        model.encode(),
        field.encode(),
    )


def saying(content: bytes) -> bytes:
    return b'{"model": "same", "max_tokens": 9, "messages": [{"role": "user", "content": %b}]}' % content


MALFORMED = {
    "nothing": b"",
    "truncated": GOOD[:-2],
    "trailing": GOOD + b"x",
    "two documents": GOOD + GOOD,
    "an array": b"[]",
    "a null": b"null",
    "a string": b'"x"',
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "a comment": b"/* x */" + GOOD,
    "single quotes": GOOD.replace(b'"', b"'"),
    "a trailing comma": GOOD[:-1] + b",}",
    "NaN": with_field('"temperature": NaN'),
    "Infinity": with_field('"temperature": -Infinity'),
    "a number beyond a double": with_field('"temperature": 1e999'),
    "a number of 5000 digits": with_field('"seed": 1' + "0" * 5000),
    "invalid UTF-8": saying(b'"\xff\xfe"'),
    "overlong UTF-8": saying(b'"\xc0\xaf"'),
    "a surrogate in UTF-8": saying(b'"\xed\xa0\x80"'),
    "a lone surrogate": saying(rb'"\ud800"'),
    "surrogates the wrong way round": saying(rb'"\udc00\ud800"'),
    "a NUL": saying(b'"a\0b"'),
    "a raw newline": saying(b'"a\nb"'),
    "a bad escape": saying(rb'"\x41"'),
    "deep arrays": with_field('"metadata": ' + "[" * 100_000 + "]" * 100_000),
    "deep objects": b'{"a":' * 100_000,
    "a key twice": with_field('"model": "chat"'),
    "a key twice, escaped": with_field(r'"mod\u0065l": "chat"'),
    "a key twice, deep": saying(rb'"hi", "conten\u0074": "ho"'),
}
WRONG = {
    "no model": (b'{"messages": []}', "model"),
    "a model that is a number": (b'{"model": 5, "messages": []}', "model"),
    "a model that is empty": (b'{"model": "", "messages": []}', "model"),
    "a model of 100 KB": (b'{"model": "%b", "messages": []}' % (b"x" * 100_000), "model"),
    "a model in another case": (GOOD.replace(b'"model"', b'"Model"'), "Model"),
    "no messages": (b'{"model": "same", "max_tokens": 9}', "messages"),
    "messages that are text": (b'{"model": "same", "messages": "hi"}', "messages"),
    "messages that are numbers": (b'{"model": "same", "messages": [1]}', "messages[0]"),
    "a message without a role": (b'{"model": "same", "messages": [{"content": "x"}]}', "messages[0]"),
    "content that is a number": (saying(b"5"), "messages[0].content"),
    "parts that are numbers": (saying(b"[5]"), "messages[0].content[0]"),
    "stream as text": (with_field('"stream": "yes"'), "stream"),
    "a negative limit": (GOOD.replace(b"9", b"-1"), "max_tokens"),
    "a limit as text": (GOOD.replace(b"9", b'"5"'), "max_tokens"),
    "a broken limit": (GOOD.replace(b"9", b"1.5"), "max_tokens"),
    "a limit that is true": (GOOD.replace(b"9", b"true"), "max_tokens"),
    "a limit of 400 digits": (GOOD.replace(b"9", b"1" + b"0" * 400), "max_tokens"),
}


@every_dialect
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_json_object_is_a_400(front: Front, path: str, body: bytes) -> None:
    answer = await front.say(call(path, body))
    assert answer.status == 400
    assert spoken_error(path, answer).startswith("the body ")


@every_dialect
@pytest.mark.parametrize(("body", "field"), WRONG.values(), ids=WRONG)
async def test_a_wrong_type_is_a_400_that_names_the_field(front: Front, path: str, body: bytes, field: str) -> None:
    answer = await front.say(call(path, body))
    assert answer.status == 400
    assert spoken_error(path, answer).startswith(f"{field}: ")


FOREIGN = ("tools", "tool_choice", "temperature", "thinking", "system", "stop_sequences", "stop", "metadata", "top_p")


@every_dialect
@pytest.mark.parametrize("value", ["5", '"x"', "[5]", '{"a": {"b": []}}', "[[[]]]", "true"])
@pytest.mark.parametrize("model", ["chat", "message"])
async def test_fields_of_any_type_are_answered_or_refused_in_the_clients_dialect(
    front: Front, path: str, model: str, value: str
) -> None:
    for field in FOREIGN:
        answer = await front.say(call(path, with_field(f'"{field}": {value}', model)))
        assert answer.status in (200, 400), (field, answer.data)
        if answer.status == 400:
            assert field in spoken_error(path, answer)


@every_dialect
async def test_a_model_nobody_has_is_a_404_whatever_its_name_contains(front: Front, path: str) -> None:
    for name in (r"a\u0000b", r"a\r\nx-evil: 1\r\n\r\n", "../../etc/passwd", "*", "{{7*7}}", r"\u202e", "same "):
        answer = await front.say(call(path, GOOD.replace(b"same", name.encode())))
        assert answer.status == 404
        assert "not found" in spoken_error(path, answer)
        assert b"x-evil" not in answer.data.partition(b"\r\n\r\n")[0]
    assert not any(line.startswith("x-evil") for line in front.gateway.access)


@every_dialect
async def test_a_body_of_100_megabytes_is_a_413_and_is_not_kept(front: Front, path: str) -> None:
    before = front.gateway.memory()
    announced = http(b"POST %b HTTP/1.1" % path.encode(), b"content-length: %d" % (100 * MEBIBYTE))
    piece = b" " * MEBIBYTE
    answer = await front.say(announced, *[piece] * 100)
    assert answer.status == 413 and spoken_error(path, answer)
    endless = http(b"POST %b HTTP/1.1" % path.encode(), CHUNKED)
    answer = await front.say(endless, *[b"%x\r\n%b\r\n" % (len(piece), piece)] * 100, b"0\r\n\r\n")
    assert answer.status == 413 and spoken_error(path, answer)
    assert front.gateway.memory() - before < 30 * MEBIBYTE


@every_dialect
@pytest.mark.parametrize("coding", [b"gzip", b"br", b"deflate, gzip", b"nonsense"])
async def test_a_compressed_body_is_a_415(front: Front, path: str, coding: bytes) -> None:
    answer = await front.say(call(path, GOOD, b"content-encoding: " + coding))
    assert answer.status == 415 and spoken_error(path, answer)


# --- framing ---------------------------------------------------------------------------------------------------------

UNREADABLE = {"edge": 400, "twin": 501}
"""Not chunked at the end, or twice: RFC 9112 section 6.3 asks for 400, section 6.1 for 501 if a coding is unknown."""
UNFRAMED = {
    "length and chunks": (400, http(POST, LENGTH, CHUNKED, body=chunked(GOOD) + SECOND)),
    "chunks and length": (400, http(POST, CHUNKED, LENGTH, body=chunked(GOOD) + SECOND)),
    "two lengths": (400, http(POST, LENGTH, b"content-length: 3", body=GOOD + SECOND)),
    "two lengths in one": (400, http(POST, LENGTH + b", 3", body=GOOD + SECOND)),
    "a negative length": (400, http(POST, b"content-length: -1", body=GOOD + SECOND)),
    "a signed length": (400, http(POST, b"content-length: +5", body=GOOD + SECOND)),
    "a hexadecimal length": (400, http(POST, b"content-length: 0x20", body=GOOD + SECOND)),
    "a length with an underscore": (400, http(POST, b"content-length: 1_0", body=GOOD + SECOND)),
    "no length": (400, http(POST, b"content-length: ", body=GOOD + SECOND)),
    "a length in Arabic digits": (400, http(POST, "content-length: ٥".encode(), body=GOOD + SECOND)),
    "a length with a vertical tab": (400, http(POST, b"content-length: \x0b5", body=GOOD + SECOND)),
    "a length of 5000 digits": (400, http(POST, b"content-length: " + b"9" * 5000, body=GOOD)),
    # RFC 9110 section 8.6: it must not overflow. What no number can hold may as well be no number.
    "a length of 20 digits": ({"edge": 400, "twin": 413}, http(POST, b"content-length: " + b"9" * 20, body=GOOD)),
    "xchunked": (501, http(POST, b"transfer-encoding: xchunked", body=chunked(GOOD) + SECOND)),
    "chunked, identity": (UNREADABLE, http(POST, b"transfer-encoding: chunked, identity", body=chunked(GOOD) + SECOND)),
    "gzip, chunked": (501, http(POST, b"transfer-encoding: gzip, chunked", body=chunked(GOOD) + SECOND)),
    "chunked twice": (UNREADABLE, http(POST, CHUNKED, CHUNKED, body=chunked(GOOD) + SECOND)),
    "identity": (UNREADABLE, http(POST, b"transfer-encoding: identity", LENGTH, body=GOOD + SECOND)),
    "chunked after a vertical tab": (400, http(POST, b"transfer-encoding: \x0bchunked", body=chunked(GOOD) + SECOND)),
    "chunked before a colon with a blank": (400, http(POST, b"transfer-encoding : chunked", body=chunked(GOOD))),
    "chunked in HTTP/1.0": (400, http(POST.replace(b"1.1", b"1.0"), CHUNKED, body=chunked(GOOD) + SECOND)),
    "a blank before the colon": (400, http(POST, b"content-length : 5", body=GOOD + SECOND)),
    "a fold in front of all fields": (400, POST + b"\r\n host: g\r\n" + LENGTH + b"\r\n\r\n" + GOOD),
    "a bare CR in a value": (400, http(POST, b"x: 1\rcontent-length: 3", LENGTH, body=GOOD)),
    "a bare CR in a name": (400, http(POST, b"x\ry: 1", LENGTH, body=GOOD)),
    "a NUL in a value": (400, http(POST, b"x: a\0b", LENGTH, body=GOOD)),
    "a NUL in a name": (400, http(POST, b"x\0y: 1", LENGTH, body=GOOD)),
    "8 bits in a name": (400, http(POST, b"x\xff: 1", LENGTH, body=GOOD)),
    "a blank in a name": (400, http(POST, b"a b: 1", LENGTH, body=GOOD)),
    "no name": (400, http(POST, b": 1", LENGTH, body=GOOD)),
    "no colon": (400, http(POST, b"nonsense", LENGTH, body=GOOD)),
    "a chunk size that is none": (400, http(POST, CHUNKED, body=b"zz\r\nx\r\n0\r\n\r\n" + SECOND)),
    "a negative chunk size": (400, http(POST, CHUNKED, body=b"-1\r\nx\r\n0\r\n\r\n" + SECOND)),
    "a signed chunk size": (400, http(POST, CHUNKED, body=b"+1\r\nx\r\n0\r\n\r\n" + SECOND)),
    "a prefixed chunk size": (400, http(POST, CHUNKED, body=b"0x1\r\nx\r\n0\r\n\r\n" + SECOND)),
    "no chunk size": (400, http(POST, CHUNKED, body=b"\r\nx\r\n0\r\n\r\n" + SECOND)),
    "a chunk longer than it says": (400, http(POST, CHUNKED, body=b"1\r\nxyz0\r\n\r\n" + SECOND)),
    "a chunk size of a megabyte": (431, http(POST, CHUNKED, body=b"0" * MEBIBYTE + b"1\r\nx\r\n0\r\n\r\n")),
    "a chunk extension of a megabyte": (431, http(POST, CHUNKED, body=b"1;" + b"a=b;" * 262_144 + b"\r\nx\r\n")),
    "a flood of trailers": (431, http(POST, CHUNKED, body=chunked(GOOD)[:-2] + b"x: y\r\n" * 50_000 + b"\r\n")),
}


@pytest.mark.parametrize(("status", "data"), UNFRAMED.values(), ids=UNFRAMED)
async def test_doubtful_framing_is_refused_and_ends_the_connection(front: Front, status: Any, data: bytes) -> None:
    answer = await front.say(data)
    assert answer.statuses == [front.here(status)]
    assert front.upstream.received == []


FRAMED = {
    "a second request inside a body": (call("/public", SECOND), b"POST /public"),
    "a second request inside chunks": (http(b"POST /public HTTP/1.1", CHUNKED, body=chunked(SECOND)), b"POST /public"),
    "a body on a GET": (
        http(b"GET /public HTTP/1.1", b"content-length: %d" % len(SECOND), body=SECOND),
        b"GET /public",
    ),
    "extensions": (
        http(b"POST /public HTTP/1.1", CHUNKED, body=b'%x;a="b";c\r\n%b\r\n0\r\n\r\n' % (len(SECOND), SECOND)),
        b"POST /public",
    ),
    "trailers": (http(b"POST /public HTTP/1.1", CHUNKED, body=b"2\r\nhi\r\n0\r\nx-key: 1\r\n\r\n"), b"POST /public"),
}
LENIENT = {
    # RFC 9112 section 5.2: refused, or replaced by blanks.
    "a fold that hides a length": (
        http(b"POST /public HTTP/1.1", b"x: 1\r\n content-length: 900", b"content-length: 2", body=b"hi"),
        b"POST /public",
    ),
    # RFC 9112 section 7.1.1: unknown extensions are ignored; this is none, for its quotation does not end.
    "extensions with a quote": (
        http(b"POST /public HTTP/1.1", CHUNKED, body=b'%x;a="\r\n%b\r\n0\r\n\r\n' % (len(SECOND), SECOND)),
        b"POST /public",
    ),
    # RFC 9110 section 6.5.1: nobody may send that; what a recipient makes of it is left to it.
    "trailers that name a length": (
        http(b"POST /public HTTP/1.1", CHUNKED, body=b"2\r\nhi\r\n0\r\ncontent-length: 90\r\nx-key: 1\r\n\r\n"),
        b"POST /public",
    ),
    # RFC 9112 section 2.2: may be recognised.
    "lines that end in LF alone": (http(b"GET /public HTTP/1.1").replace(b"\r\n", b"\n"), b"GET /public"),
}
"""What the twin reads like the above, and the edge refuses."""


@pytest.mark.parametrize(("data", "said"), (FRAMED | LENIENT).values(), ids=FRAMED | LENIENT)
async def test_what_looks_like_a_second_request_stays_inside_the_first(front: Front, data: bytes, said: bytes) -> None:
    answer = await front.say(data)
    if front.face == "edge" and (data, said) in LENIENT.values():
        assert answer.statuses == [400]
        assert front.upstream.received == []
        return
    assert (answer.statuses, answer.body) == ([200], said)
    (received,) = front.upstream.received
    assert received.target == "/public"
    assert received.body in (b"", b"hi", SECOND)
    assert "x-key" not in received.headers


async def test_pipelined_requests_are_answered_in_their_order(front: Front) -> None:
    first, second = (http(b"GET /public/%d HTTP/1.1" % number, close=False) for number in (1, 2))
    answer = await front.say(first + second + http(b"GET /public/3 HTTP/1.1"))
    assert answer.statuses == [200, 200, 200]
    assert [received.target for received in front.upstream.received] == ["/public/1", "/public/2", "/public/3"]


# --- heads -----------------------------------------------------------------------------------------------------------

UNKNOWN_METHOD = {"edge": 501, "twin": 200}
"""RFC 9110 section 9.1 and RFC 9112 section 3 ask for 501; a gateway may pass on what it does not know."""
HEADS = {
    "101 fields": (431, http(b"GET /fine HTTP/1.1", *[b"x-%d: 1" % i for i in range(101)])),
    "20,000 fields": (431, http(b"GET /fine HTTP/1.1", *[b"x: 1"] * 20_000)),
    "a field of 70 KB": (431, http(b"GET /fine HTTP/1.1", b"x: " + b"a" * 70_000)),
    "a field of 10 MB": (431, http(b"GET /fine HTTP/1.1", b"x: " + b"a" * 10_000_000)),
    "a path of 70 KB": (431, http(b"GET /fine" + b"/a" * 35_000 + b" HTTP/1.1")),
    "a method of 70 KB": ({"edge": 501, "twin": 431}, http(b"A" * 70_000 + b" /fine HTTP/1.1")),
    "no host": (400, b"GET /fine HTTP/1.1\r\nconnection: close\r\n\r\n"),
    "two hosts": (400, http(b"GET /fine HTTP/1.1", b"host: h")),
    "an empty host": (400, b"GET /fine HTTP/1.1\r\nhost: \r\n\r\n"),
    "a list of hosts": (400, b"GET /fine HTTP/1.1\r\nhost: a, b\r\n\r\n"),
    "a host with a path": (400, b"GET /fine HTTP/1.1\r\nhost: g/fine\r\n\r\n"),
    "a host with a user": (400, b"GET /fine HTTP/1.1\r\nhost: u@g\r\n\r\n"),
    "a host with a wild port": (400, b"GET /fine HTTP/1.1\r\nhost: g:999999\r\n\r\n"),
    "HTTP/1.0 without a host": (200, b"GET /fine HTTP/1.0\r\n\r\n"),
    "HTTP/1.2": (505, http(b"GET /fine HTTP/1.2")),
    "HTTP/2.0 without its preface": (505, http(b"GET /fine HTTP/2.0")),
    "HTTP/11.1": (400, http(b"GET /fine HTTP/11.1")),
    "a method nobody knows": (UNKNOWN_METHOD, http(b"BREW /fine HTTP/1.1")),
    "a method that is no token": (400, http(b"G@T /fine HTTP/1.1")),
    "CONNECT": (405, http(b"CONNECT g:443 HTTP/1.1")),
    "TRACE": (405, http(b"TRACE /fine HTTP/1.1")),
    "OPTIONS *": (405, http(b"OPTIONS * HTTP/1.1")),
    "a WebSocket where there is none": (
        200,
        http(
            b"GET /fine HTTP/1.1",
            b"connection: upgrade",
            b"upgrade: websocket",
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            b"sec-websocket-version: 13",
            close=False,
        ),
    ),
    "an upgrade nobody knows": (200, http(b"GET /fine HTTP/1.1", b"connection: upgrade", b"upgrade: nonsense")),
    "TLS": (400, bytes.fromhex("16030100c8010000c40303") + bytes(100)),
    "noise": (400, b"\xde\xad\xbe\xef" * 100 + b"\r\n\r\n"),
}


@pytest.mark.parametrize(("status", "data"), HEADS.values(), ids=HEADS)
async def test_an_odd_head_gets_its_status(front: Front, status: Any, data: bytes) -> None:
    assert (await front.say(data)).statuses == [front.here(status)]


async def test_a_limit_on_heads_counts_also_when_a_head_comes_in_one_piece(serve_all: Any, face: str) -> None:
    tight = Front(await serve_all(TIGHT), Upstream(b""), face)
    assert (await tight.say(http(b"GET / HTTP/1.1", b"x: " + b"a" * 1500))).statuses == [200]
    assert (await tight.say(http(b"GET / HTTP/1.1", b"x: " + b"a" * 2048))).statuses == [431]
    assert (await tight.say(http(b"GET /" + b"a" * 2048 + b" HTTP/1.1"))).statuses == [431]
    assert (await tight.say(http(b"GET /?" + b"a" * 2048 + b" HTTP/1.1"))).statuses == [431]


async def test_a_client_that_asks_for_permission_gets_it_once(front: Front) -> None:
    head, body = chat(GOOD, b"expect: 100-continue").split(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", front.gateway.port)
    writer.write(head + b"\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    writer.write(body)
    assert Answer(await heard(reader)).statuses == [200]
    writer.close()


async def test_a_client_that_does_not_wait_for_permission_may_get_none(front: Front) -> None:
    answer = await front.say(chat(GOOD, b"expect: 100-continue"))
    # RFC 9110 section 10.1.1: may be omitted when some of the body is there.
    assert answer.statuses == ([200] if front.face == "edge" else [100, 200])


async def test_a_client_that_asks_for_permission_to_send_too_much_is_told_so_before_it_sends(front: Front) -> None:
    head = http(POST, b"expect: 100-continue", b"content-length: %d" % (100 * MEBIBYTE))
    assert (await front.say(head)).status == 413


async def test_whom_proxies_name_before_us_stays_in_order_in_front_of_the_client(front: Front) -> None:
    forwarded = (b"x-forwarded-for: 6.6.6.6", b"x-forwarded-for: 7.7.7.7, 8.8.8.8", b"x-forwarded-for:")
    assert (await front.say(http(b"GET /public HTTP/1.1", *forwarded))).status == 200
    (received,) = front.upstream.received
    assert received.headers["x-forwarded-for"] == "6.6.6.6, 7.7.7.7, 8.8.8.8, 127.0.0.1"


# --- paths -----------------------------------------------------------------------------------------------------------

REFUSED_PATHS = [
    "/public/../never",
    "/public/..",
    "/public/%2e%2e/never",
    "/public/%2E./never",
    "/public/..%2fnever",
    "/public%2f..%2fnever",
    "/public/..\\never",
    "/public\\..\\never",
    "/public/..%5cnever",
    "/public/..;/never",
    "/public/..;x=y/never",
    "/public/.;/never",
    "/public/%2e%2e%2f%2e%2e",
    "/public/.",
    "/./never",
    "/public/%00",
    "/public/.%00./",
    "/public/%",
    "/public/%zz",
    "/public/%u002e",
    "/public#/never",
    "never",
    "?x",
    "g:443",
    "ftp://g/public",
    "http:///public",
    "http://g@elsewhere/public",
    "http://g:99999999/public",
    "http://g/public/../never",
    "/public/\t",
    "/public a",
    "/public/ü",
    "/public?ü",
]


@pytest.mark.parametrize("path", REFUSED_PATHS)
async def test_a_path_that_could_mean_two_things_is_a_400(front: Front, path: str) -> None:
    assert (await front.say(http(b"GET %b HTTP/1.1" % path.encode()))).statuses == [400]
    assert front.upstream.received == []


PASSED_PATHS = [
    "/public//never",
    "/public/%2fnever",
    "/public/%2Fnever",
    "/public/%252e%252e/never",
    "/public/...",
    "/public?/../never",
    "/public?a=%zz",
    "/public/%ff",
    "http://g/public",
    "HTTP://G/public",
]


@pytest.mark.parametrize("path", PASSED_PATHS)
async def test_other_paths_reach_the_upstream_of_their_route_as_they_came(front: Front, path: str) -> None:
    assert (await front.say(http(b"GET %b HTTP/1.1" % path.encode()))).status == 200
    (received,) = front.upstream.received
    assert received.target == re.sub("^http://g", "", path, flags=re.I)


NEEDLESS_ESCAPES = {
    "/%70ublic/%41": "/public/A",
    "/public/a%2eb%2D%5f%7E%39": "/public/a.b-_~9",
    "/public/%2e%2e%2e": "/public/...",
    "/public/%25%36%31": "/public/%2561",
    "/public/%2fa%3b%5B": "/public/%2fa%3b%5B",
    "/public?%61=%62": "/public?%61=%62",
    "http://g/%70ublic": "/public",
}


@pytest.mark.parametrize(("path", "target"), NEEDLESS_ESCAPES.items())
async def test_escapes_that_never_had_to_be_there_are_decoded_for_everybody(
    front: Front, path: str, target: str
) -> None:
    answer = await front.say(http(b"GET %b HTTP/1.1" % path.encode()))
    assert answer.body == f"GET {target}".encode()


TRICKS = [
    "{}",
    "{}/",
    "{}/x",
    "{}?x",
    "http://g{}",
    "http://elsewhere{}",
    "https://g{}/x",
    "HTTP://g:80{}",
    "{}//",
    "{}/%2f",
    "{}/;x",
    "{}?/../public",
    "{}/x?path=/public",
]
UNMATCHED = ["/{}", "/public/..{}", "{};x", "{}%2f", "{}%20", "/%2f{}", "/.{}", "{}x", "/public%2f..{}", "\\{}"]


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_route_is_guarded_by_its_own_rules_however_its_path_is_written(front: Front, trick: str) -> None:
    guarded = {"/private": 401, "/never": 403, "/api/7/never": 403, "/public/never": 403}
    escaped = {"/%70rivate": 401, "/n%65%76er": 403, "/%61pi/%37/never": 403, "/public/%6Eever": 403}
    for path, status in {**guarded, **escaped}.items():
        if path in ("/api/7/never", "/%61pi/%37/never") and trick not in ("{}", "{}?x", "http://g{}", "HTTP://g:80{}"):
            continue
        target = trick.format(path).encode()
        rewrites = (b"x-original-url: /public", b"x-rewrite-url: /public", b"x-http-method-override: GET")
        answer = await front.say(http(b"GET %b HTTP/1.1" % target, *rewrites, b"x-forwarded-host: public"))
        assert answer.statuses == [status], (target, answer.data)
    assert front.upstream.received == []


@pytest.mark.parametrize("trick", UNMATCHED)
@pytest.mark.parametrize("path", ["/private", "/never", "/PRIVATE", "/%50RIVATE"])
async def test_what_is_not_the_path_of_a_guarded_route_does_not_reach_its_upstream(
    front: Front, trick: str, path: str
) -> None:
    answer = await front.say(http(b"GET %b HTTP/1.1" % trick.format(path).encode()))
    assert answer.status in (400, 404)
    assert front.upstream.received == []


async def test_every_method_of_a_guarded_route_is_guarded(front: Front) -> None:
    for method in (b"GET", b"get", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"DELETE", b"PATCH", b"BREW"):
        for path, status in ((b"/private", 401), (b"/never", 403)):
            unknown = front.face == "edge" and method in (b"get", b"BREW")
            answer = await front.say(http(method + b" " + path + b" HTTP/1.1"))
            assert answer.statuses == [501 if unknown else status]
    assert front.upstream.received == []


async def test_a_key_opens_its_route_only_when_it_is_right(front: Front) -> None:
    wrong = [b"", b"Bearer", b"Bearer ", b"Basic " + KEY.encode(), KEY.encode(), b"Bearer " + KEY.encode() + b"x"]
    wrong += [b"Bearer \xff\xfe", b"Bearer " + b"a" * 60_000, b"Bearer wrong, Bearer " + KEY.encode()]
    for value in wrong:
        answer = await front.say(http(b"GET /private HTTP/1.1", b"authorization: " + value))
        assert answer.statuses == [401], value
    assert front.upstream.received == []
    assert (await front.say(http(b"GET /private HTTP/1.1", b"authorization: Bearer " + KEY.encode()))).status == 200
    assert "authorization" not in front.upstream.received[0].headers


# --- clients that dawdle or leave ------------------------------------------------------------------------------------


async def drip(front: Front, data: bytes, *, every: float) -> Answer:
    """Send byte by byte, and listen."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.gateway.port)

    async def write() -> None:
        with contextlib.suppress(ConnectionError):
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(every)

    dripping = asyncio.create_task(write())
    try:
        async with asyncio.timeout(15):
            return Answer(await reader.read(65536))
    finally:
        dripping.cancel()
        writer.transport.abort()


async def test_a_head_that_never_ends_is_a_408(front: Front) -> None:
    assert (await drip(front, http(POST, b"x: " + b"a" * 1000), every=0.05)).status == 408


@every_dialect
async def test_a_body_that_pauses_too_long_is_a_408_in_the_clients_dialect(front: Front, path: str) -> None:
    answer = await front.say(call(path, GOOD)[:-3])
    assert answer.status == 408 and spoken_error(path, answer)


async def test_a_connection_on_which_nothing_is_said_is_closed(front: Front) -> None:
    assert (await front.say()).data == b""


async def test_a_client_that_closes_its_half_gets_its_answer(front: Front) -> None:
    assert (await front.say(http(POST, LENGTH, body=GOOD, close=False), half_close=True)).statuses == [200]


async def test_a_body_that_ends_too_early_is_no_call(front: Front) -> None:
    assert (await front.say(call("/public", GOOD)[:-3], half_close=True)).status in (0, 400)
    assert front.upstream.received == []


# --- HTTP/2 ----------------------------------------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field, without Huffman's code or an index (RFC 7541 section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request_2(path: bytes, *more: tuple[bytes, bytes]) -> bytes:
    fields = [(b":method", b"GET"), (b":path", path), (b":scheme", b"http"), (b":authority", b"g"), *more]
    return frame(1, 5, 1, b"".join(literal(name, value) for name, value in fields))


GOODBYES = {
    "nothing but the preface": PREFACE,
    "noise": PREFACE + b"\xff" * 500,
    "a frame that is too large": PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"x" * 1000,
    "headers that do not decode": PREFACE + SETTINGS + frame(1, 5, 1, b"\xff" * 50),
    "an even stream": PREFACE + SETTINGS + frame(1, 5, 2, b"\x82\x84\x86"),
    "data for nobody": PREFACE + SETTINGS + frame(0, 0, 1, b"data"),
    "a flood of continuations": PREFACE + SETTINGS + frame(1, 0, 1, b"\x82") + frame(9, 0, 1, b"\x84") * 20_000,
    "a flood of pings": PREFACE + SETTINGS + frame(6, 0, 0, b"12345678") * 20_000,
    "a flood of settings": PREFACE + SETTINGS * 20_000,
    "windows that overflow": PREFACE + SETTINGS + frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3,
    "a length that lies": PREFACE + SETTINGS + request_2(b"/public", (b"content-length", b"99")),
    "a line end in a value": PREFACE + SETTINGS + request_2(b"/public", (b"x", b"a\r\nx-evil: 1")),
    "a line end in the path": PREFACE + SETTINGS + request_2(b"/public HTTP/1.1\r\nx-evil: 1"),
    "chunks": PREFACE + SETTINGS + request_2(b"/public", (b"transfer-encoding", b"chunked")),
    "a field in capitals": PREFACE + SETTINGS + request_2(b"/public", (b"X-Evil", b"1")),
    "a connection field": PREFACE + SETTINGS + request_2(b"/public", (b"connection", b"close")),
    "two hosts": PREFACE + SETTINGS + request_2(b"/public", (b"host", b"elsewhere")),
    "a dotted path": PREFACE + SETTINGS + request_2(b"/public/../never"),
    "a guarded path": PREFACE + SETTINGS + request_2(b"/never"),
}


@pytest.mark.parametrize("data", GOODBYES.values(), ids=GOODBYES)
async def test_odd_frames_reach_no_upstream_and_end_one_connection_at_most(front: Front, data: bytes) -> None:
    await front.say(data)
    assert front.upstream.received == []


async def test_thousands_of_streams_opened_and_reset_leave_the_process_well(front: Front) -> None:
    before = front.gateway.memory()
    for _ in range(3):
        storm = PREFACE + SETTINGS
        for number in range(1, 4001, 2):
            fields = [(b":method", b"GET"), (b":path", b"/fine"), (b":scheme", b"http"), (b":authority", b"g")]
            block = b"".join(literal(name, value) for name, value in fields)
            storm += frame(1, 5, number, block) + frame(3, 0, number, b"\x00\x00\x00\x08")
        await front.say(storm)
    assert front.gateway.memory() - before < 30 * MEBIBYTE


# --- afterwards ------------------------------------------------------------------------------------------------------


async def test_clients_that_leave_at_any_byte_leave_nothing_behind(front: Front) -> None:
    """The last one: everything above has been said to this process, too."""
    upload = http(b"POST /public HTTP/1.1", CHUNKED, body=b"ffff\r\n" + b"x" * 0xFFFF + b"\r\n")
    announced = http(POST, b"content-length: %d" % MEBIBYTE, body=b"x" * 1000)

    async def round_of_everything() -> None:
        for _ in range(10):
            await asyncio.gather(
                *(
                    front.leave_after(data[:end])
                    for data in (upload, announced, chat(GOOD))
                    for end in (1, 60, -1, None)
                )
            )
        for data in (*MALFORMED.values(), *(body for body, _ in WRONG.values())):
            await front.say(chat(data))

    async def at_rest() -> int:
        """Descriptors when no client is left: those of the ports, and of idle connections to the upstream."""
        counts = [-1]
        async with asyncio.timeout(30):
            while len(counts) < 15 or len(set(counts[-15:])) > 1:
                counts.append(front.gateway.descriptors())
                await asyncio.sleep(0.1)
        return counts[-1]

    await round_of_everything()
    descriptors, memory = await at_rest(), front.gateway.memory()
    for _ in range(3):
        await round_of_everything()
    assert await at_rest() <= descriptors + 5
    assert front.gateway.memory() - memory < 10 * MEBIBYTE
