"""Where the faces may differ, and the sentence of a specification that leaves it to them.

The same list, for people, is in docs/differences.md. Everything else that differs is a fault of one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from .faces import Fate, Forwarded

FRAMING = (b"content-length", b"transfer-encoding", b"sec-websocket-key")
"""The last is a random one each time."""


@dataclass(frozen=True)
class Difference:
    """`holds` says whether it may stand between the edge's fate and the twin's; `found` whether the bytes have what it
    is about, as those of `example` do."""

    what: str
    section: str
    holds: Callable[[Fate, Fate], bool]
    found: re.Pattern[bytes]
    example: bytes


def comparable(fate: Fate) -> Fate:
    """Without the framing of what went on, which is each gateway's own (RFC 9112 section 6: it is of one message)."""
    return replace(fate, forwarded=tuple(unframed(request) for request in fate.forwarded))


def unframed(request: Forwarded) -> Forwarded:
    return request._replace(fields=frozenset(field for field in request.fields if field[0] not in FRAMING))


# --- how fates relate ------------------------------------------------------------------------------------------------


def edge_refuses_more(edge: Fate, twin: Fate) -> bool:
    """The edge refuses what the twin takes, or waits for; up to there they agree."""
    same = edge.statuses[:-1] == twin.statuses[: len(edge.statuses) - 1]
    return edge.refused and same and edge.forwarded == twin.forwarded[: len(edge.forwarded)]


def edge_refuses_sooner(edge: Fate, twin: Fate) -> bool:
    return edge.refused and not twin.closed and (edge.statuses[:-1], edge.forwarded) == (twin.statuses, twin.forwarded)


def twin_refuses_sooner(edge: Fate, twin: Fate) -> bool:
    return edge_refuses_sooner(twin, edge)


def edge_takes_more(edge: Fate, twin: Fate) -> bool:
    """The other way round."""
    same = twin.statuses[:-1] == edge.statuses[: len(twin.statuses) - 1]
    return twin.refused and same and twin.forwarded == edge.forwarded[: len(twin.forwarded)]


def both_refuse(edge: Fate, twin: Fate) -> bool:
    """They agree on everything but the number."""
    same = edge.statuses[:-1] == twin.statuses[:-1] and edge.forwarded == twin.forwarded
    return edge.refused and twin.refused and same


def edge_keeps_on(edge: Fate, twin: Fate) -> bool:
    """The twin closes, perhaps with a 400 for what follows, and the edge goes on."""
    told = twin.statuses[:-1] if twin.statuses[-1:] == (400,) else twin.statuses
    same = told == edge.statuses[: len(told)]
    return twin.closed and same and twin.forwarded == edge.forwarded[: len(twin.forwarded)]


def twin_loses_an_answer(edge: Fate, twin: Fate) -> bool:
    """The twin has executed what the edge has, and answers 400."""
    same = edge.statuses[: len(twin.statuses) - 1] == twin.statuses[:-1]
    return edge.closed and twin.refused and same and twin.forwarded == edge.forwarded[: len(twin.forwarded)]


def edge_does_not_upgrade(edge: Fate, twin: Fate) -> bool:
    """From some request on, the twin's answers are in HTTP/2."""
    return twin.statuses == edge.statuses[: len(twin.statuses)]


def edge_knows_no_such_method(edge: Fate, twin: Fate) -> bool:
    """The edge says so; or it cannot tell, behind other requests, and the twin goes on with one, or finds no route."""
    following = twin.forwarded[len(edge.forwarded) :]
    unknown = any(request.method not in KNOWN for request in following)
    told = edge.statuses[-1:] == (501,) or twin.statuses[len(edge.statuses) - 1 :][:1] in ((404,), (405,))
    return edge_refuses_more(edge, twin) and (unknown or told)


def edge_refuses_a_tail(edge: Fate, twin: Fate) -> bool:
    return edge_refuses_more(edge, twin) and len(edge.statuses) > 1


# --- what the bytes have ---------------------------------------------------------------------------------------------


def bytes_with(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.I)


ANYTHING = bytes_with(b"")
LAST = bytes_with(rb"HTTP/1\.0|close")
KNOWN = b"GET HEAD POST PUT DELETE OPTIONS PATCH".split()
GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
FIELD = b"GET /a HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n"
LENGTH = b"content-length: 2"
POST = b"POST /a HTTP/1.1\r\nhost: x\r\n%b\r\n\r\nhi" % LENGTH
CHUNKED = b"POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"

DIFFERENCES = [
    Difference(
        "lines that end in LF alone are refused",
        "RFC 9112 section 2.2: may be recognised",
        edge_refuses_more,
        bytes_with(rb"(?<!\r)\n"),
        GET.replace(b"\r\n", b"\n"),
    ),
    Difference(
        "obsolete line folding is refused",
        "RFC 9112 section 5.2: refuse, or replace by blanks",
        edge_refuses_more,
        bytes_with(rb"\n[ \t]"),
        FIELD % b"x: 1\r\n y: 2",
    ),
    Difference(
        "equal lengths, said twice, are refused",
        "RFC 9110 section 8.6: refuse, or take them for one",
        edge_refuses_more,
        bytes_with(rb"content-length:(?s:.)*content-length:|content-length: *\d+ *,"),
        POST.replace(LENGTH, LENGTH + b"\r\n" + LENGTH),
    ),
    Difference(
        "a length that no 64 bits hold is refused as such",
        "RFC 9110 section 8.6: overflows must not happen",
        edge_refuses_more,
        bytes_with(rb"content-length:[ \t]*\d{20}"),
        POST.replace(LENGTH, b"content-length: 99999999999999999999"),
    ),
    Difference(
        "control characters in the value of a field are refused",
        "RFC 9110 section 5.5: other than CR, LF and NUL may be kept",
        edge_refuses_more,
        bytes_with(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]"),
        FIELD % b"x: \x01",
    ),
    Difference(
        "an unknown method is answered 501 and not passed on",
        "RFC 9110 section 9.1",
        edge_knows_no_such_method,
        ANYTHING,
        GET.replace(b"GET", b"BREW"),
    ),
    Difference(
        "methods are not put into capitals",
        "RFC 9110 section 9.1: they are case-sensitive",
        edge_refuses_a_tail,
        re.compile(rb"[a-z] \S+ HTTP/"),
        GET + GET.replace(b"GET", b"get"),
    ),
    Difference(
        "a chunk's line has nothing but its size and well-formed extensions",
        "RFC 9112 section 7.1.1",
        edge_refuses_more,
        bytes_with(rb"\n[0-9a-f]+[ \t;]|\n[0-9a-f]{17}"),
        CHUNKED.replace(b"2\r\n", b"2;\r\n"),
    ),
    Difference(
        "trailers are held to the rules of heads",
        "RFC 9110 section 6.5.1: framing has no place in them",
        edge_refuses_more,
        bytes_with(rb"\r\n0+(;[^\r\n]*)?\r\n(?s:.)*(content-length|transfer-encoding)"),
        CHUNKED.replace(b"0\r\n", b"0\r\ncontent-length: 5\r\n"),
    ),
    Difference(
        "HTTP/1.0 connections are kept when the client asks for it",
        "RFC 9112 section 9.3",
        edge_keeps_on,
        bytes_with(rb"HTTP/1\.0"),
        (FIELD % b"connection: keep-alive").replace(b"1.1", b"1.0"),
    ),
    Difference(
        "a refused body in chunks does not cost the connection when all of it has come",
        "RFC 9112 section 9.3",
        edge_keeps_on,
        bytes_with(rb"transfer-encoding: *chunked"),
        CHUNKED.replace(b"POST /a", b"OPTIONS /v1/messages"),
    ),
    Difference(
        "what follows a request that ends the connection does not spoil its answer",
        "RFC 9112 section 9.6: it is not processed",
        twin_loses_an_answer,
        LAST,
        FIELD % b"connection: close" + b"more",
    ),
    Difference(
        "empty lines in front of a request line are ignored",
        "RFC 9112 section 2.2: at least one should be",
        edge_takes_more,
        bytes_with(rb"(\A|\r\n\r\n|hello|hi|\})[\r\n]|[^\r\n]\r?\n[!-~]+ +\S+ +HTTP/"),
        b"\r\n" + GET,
    ),
    Difference(
        "several blanks in front of a target are one",
        "RFC 9112 section 3: may be parsed on whitespace",
        edge_takes_more,
        bytes_with(rb"[A-Z]  +[^ ]"),
        GET.replace(b"GET", b"GET "),
    ),
    Difference(
        "Upgrade is ignored in HTTP/1.0, and where Connection does not name it",
        "RFC 9110 section 7.8",
        edge_does_not_upgrade,
        bytes_with(rb"\nupgrade: (h2c|websocket)"),
        FIELD % b"upgrade: h2c",
    ),
    Difference(
        "a preface of HTTP/2 that breaks off is answered in HTTP/1.1",
        "RFC 9113 section 3.4: a last word may be omitted",
        edge_refuses_more,
        bytes_with(rb"PRI \* HTTP/2\.0"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\nx",
    ),
    Difference(
        "Proxy-Connection counts like Connection",
        "RFC 9112 appendix C.2.2: nobody should send it",
        lambda edge, twin: replace(edge, closed=twin.closed) == twin,
        bytes_with(rb"\nproxy-connection:"),
        FIELD % b"proxy-connection: close",
    ),
    Difference(
        "RTSP/1.1 is read like HTTP/1.1",
        "RFC 9112 section 2.3: the name is HTTP; its parser has another opinion",
        edge_takes_more,
        bytes_with(rb"(RTSP|ICE)/"),
        GET.replace(b"HTTP/", b"RTSP/"),
    ),
    Difference(
        "what is wrong is said as soon as it is seen, not when a head or a chunk is complete",
        "RFC 9112 section 3 asks for a 400, and leaves open when",
        edge_refuses_sooner,
        ANYTHING,
        b"GET /a HTTP/1.1\r\nx\0: 1\r\n",
    ),
    Difference(
        "a head behind other requests is measured when it is complete, or when one more read has come",
        "RFC 6585 section 5 names no limit",
        twin_refuses_sooner,
        bytes_with(rb"[!-~]{4000}"),
        GET + b"GET /a HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 5000,
    ),
    Difference(
        "of several things that are wrong another one is told, or the same one by another number",
        "RFC 9110 section 15.5",
        both_refuse,
        ANYTHING,
        FIELD % b"transfer-encoding: chunked, identity",
    ),
]


def difference(edge: Fate, twin: Fate, sent: bytes) -> Difference | None:
    """What explains that the fates differ, if something on the list does."""
    edge, twin = comparable(edge), comparable(twin)
    return next((one for one in DIFFERENCES if one.holds(edge, twin) and one.found.search(sent)), None)
