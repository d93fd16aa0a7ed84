"""A reply's head as it goes to a client: what of it is passed on, and what could not be sent."""

from __future__ import annotations

import re
import time
from email.utils import formatdate

from agentgateway.exchange import Reply

Field = tuple[bytes, bytes]

HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization proxy-authentication-info "
    b"te trailer transfer-encoding upgrade".split()
)
"""What belongs to one connection (RFC 9110 section 7.6.1)."""
MEASURED = HOP | {b"content-length"}
CLOSE = (b"connection", b"close")

_TOKEN = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BREAKS = re.compile(rb"[\x00\n\v\f\r]")
WORDLESS = frozenset((204, 304))


def bodiless(method: str, status: int) -> bool:
    """Whether such a reply has no body, whatever its head says (RFC 9112 section 6.3)."""
    return method == "HEAD" or status in WORDLESS


def head_of_whole(method: str, reply: Reply, body: bytes) -> list[Field]:
    """The head of a reply whose body is known. Without a body, a `content-length` tells of what would have been."""
    if bodiless(method, reply.status) and (not body or reply.status in WORDLESS):
        return fields(reply, HOP if reply.status != 204 else MEASURED)
    measured = fields(reply, MEASURED)
    measured.append((b"content-length", b"%d" % len(body)))
    return measured


def fields(reply: Reply, without: frozenset[bytes]) -> list[Field]:
    """The fields to pass on, and a date."""
    raw = reply.headers.raw
    kept = [field for field in raw if field[0] not in without]
    names = {field[0] for field in raw}
    if b"connection" in names:
        named = {part.strip().lower() for name, value in raw if name == b"connection" for part in value.split(b",")}
        kept = [field for field in kept if field[0] not in named]
    if b"date" not in names:
        kept.append((b"date", http_date()))
    return kept


def check(status: int, headers: list[tuple[bytes, bytes]]) -> None:
    """Raise ValueError for a head that cannot be sent. Here, because h11 would then not send an error either, and
    HTTP/2 would carry a line end to whoever turns the reply into HTTP/1.1."""
    if not 200 <= status <= 599:
        raise ValueError("the reply has no final status")
    names = [name for name, _ in headers]
    if b"" in names or b"".join(names).translate(None, _TOKEN):
        raise ValueError("the name of a header of the reply is not a token")
    if _BREAKS.search(b"".join([value for _, value in headers])) is not None:
        raise ValueError("a control character in a header of the reply")


_date: tuple[int, bytes] = (0, b"")


def http_date() -> bytes:
    """Now, as RFC 9110 section 5.6.7 writes it; formatted once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, formatdate(now, usegmt=True).encode())
    return _date[1]
