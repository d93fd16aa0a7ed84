"""Mutations that know what HTTP/1.1 looks like, in turn with those that know nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

from script import MARK, Event

PATHS = [b"now", b"read", b"task", b"later", b"push", b"wrap", b"known", b"short", b"none", b"bad", b"error", b"other"]
METHODS = [b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"CONNECT", b"TRACE", b"M-SEARCH", b"FOO", b"PRI", b"get"]
TARGETS = [
    b"*",
    b"http://x/now",
    b"x:443",
    b"/now?a=%20",
    b"/%6eow",
    b"//now",
    b"/a/../now",
    b"/now#f",
    b"/\xc3\xa9",
    b"",
]
VERSIONS = [b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.", b"http/1.1"]
FIELDS = [
    *(
        b"Content-Length: 5",
        b"Content-Length: 0",
        b"Content-Length: 05",
        b"Content-Length: +5",
        b"Content-Length: 5, 5",
    ),
    *(b"Content-Length: 99999999999999999999", b"Content-Length: -1", b"Content-Length: 600", b"Content-Length : 5"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity"),
    *(b"transfer-encoding:\tCHUNKED ", b"Transfer-Encoding: x", b"Connection: close", b"Connection: keep-alive"),
    *(b"Connection: upgrade, close", b"Upgrade: websocket", b"Connection: Upgrade\r\nUpgrade: h2c"),
    *(b"Expect: 100-continue", b"Expect: 200", b"Host: x", b"Host: y:80", b"Host:", b"Host: a b", b"X: 1", b" folded"),
    *(b"X: a\rb", b"X: a\0b", b"X: \xc3\xa9", b"X\x80: a", b": empty", b"X", b"Trailer: y", b"Keep-Alive: timeout=5"),
]
CHUNKS = [
    b"5\r\nhello\r\n",
    b"5;a=b\r\nhello\r\n",
    b"05\r\nhello\r\n",
    b"0\r\n\r\n",
    b"0\r\nT: x\r\n\r\n",
    b"5 \r\nhello\r\n",
]
CHUNKS += [
    b"5\nhello\n",
    b"fffffffffffffffff\r\n",
    b"-1\r\n",
    b"0x5\r\nhello\r\n",
    b"5;\xffR\x20a\r\nhello\r\n",
    *(b"0\r\n" + b"T: x\r\n" * 13 + b"\r\n", b"0\r\nT: \xffR\x0fa\r\nT: 1\r\n\r\n", b"0\r\nT: \xffR\x20 \r\n\r\n"),
    b"\r\n",
    b"5\r\nhell",
]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
EVENTS = [bytes((MARK, ord(event.value))) for event in Event] + [b"\xffs"] * 6 + [b"\xffR\x10a", b"\xffR\x40 "]

Mutate = Callable[[bytes, int], bytes]


def mutator(blind: Mutate) -> Callable[[bytes, int, int], bytes]:
    def mutate(data: bytes, most: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if dice.random() < 0.4:
            return blind(data, most)
        for _ in range(dice.choice((1, 1, 2, 4))):
            data = dice.choice(WAYS)(data, dice)
        return data[:most]

    return mutate


def request(dice: random.Random) -> bytes:
    """A request, mostly valid."""
    method, version = (dice.choice(METHODS[:2]), VERSIONS[0]) if dice.random() < 0.8 else _odd(dice)
    target = b"/" + dice.choice(PATHS) if dice.random() < 0.9 else dice.choice(TARGETS)
    fields = [b"Host: x"] if dice.random() < 0.95 else []
    body = b""
    kind = dice.random()
    if kind < 0.3:
        body = dice.choice((b"hello", b"x" * 40, b""))
        fields.append(b"Content-Length: %d" % len(body))
    elif kind < 0.6:
        fields.append(b"Transfer-Encoding: chunked")
        body = b"".join(dice.choices(CHUNKS[:3], k=dice.randrange(3))) + dice.choice(CHUNKS[3:5])
    if dice.random() < 0.4:
        fields.insert(dice.randrange(len(fields) + 1), dice.choice(FIELDS))
    return b"\r\n".join([b" ".join((method, target, version)), *fields, b"", body])


def _odd(dice: random.Random) -> tuple[bytes, bytes]:
    return dice.choice(METHODS), dice.choice(VERSIONS)


def _insert(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at:]


def _append(data: bytes, dice: random.Random) -> bytes:
    return data + request(dice)


def _prepend(data: bytes, dice: random.Random) -> bytes:
    return request(dice) + data


def _event(data: bytes, dice: random.Random) -> bytes:
    return _insert(data, dice.randrange(len(data) + 1), dice.choice(EVENTS))


def _field(data: bytes, dice: random.Random) -> bytes:
    ends = [at for at in range(len(data)) if data.startswith(b"\r\n", at)]
    return _insert(data, dice.choice(ends) if ends else len(data), b"\r\n" + dice.choice(FIELDS))


def _chunk(data: bytes, dice: random.Random) -> bytes:
    return data + dice.choice(CHUNKS)


def _line(data: bytes, dice: random.Random) -> bytes:
    """Drop, double, or move a line."""
    lines = data.split(b"\r\n")
    line = lines.pop(dice.randrange(len(lines)))
    for _ in range(dice.randrange(3)):
        lines.insert(dice.randrange(len(lines) + 1), line)
    return b"\r\n".join(lines)


def _token(data: bytes, dice: random.Random) -> bytes:
    """Another path, method or version in place of one."""
    words = data.split(b" ")
    words[dice.randrange(len(words))] = dice.choice((*METHODS, *TARGETS, *VERSIONS, *(b"/" + path for path in PATHS)))
    return b" ".join(words)


def _preface(data: bytes, dice: random.Random) -> bytes:
    return data + PREFACE[: dice.randrange(1, len(PREFACE) + 1)]


def _cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


WAYS = [
    _append,
    _append,
    _prepend,
    _event,
    _event,
    _event,
    _event,
    _field,
    _field,
    _chunk,
    _line,
    _token,
    _preface,
    _cut,
]
