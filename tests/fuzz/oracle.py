"""What must hold, whatever a client does; `Finding` says what does not.

h11 reads the same bytes on both sides. Where it and the edge both accept a request they must have understood the same;
and what the edge answers, h11 must be able to read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import gateway
import h11
from script import Event
from world import COMPLAINTS, LIMITS, Finding, World

from agentgateway._host.edge import turn as edge_turn

FINAL = frozenset((400, 405, 408, 431, 501, 505))
"""Refusals behind which nothing can be told apart: the connection ends with them."""
PLANTED = ("planted", "LookupError", "control character in a header", "its content-length", "ValueError")
BIG = 1 << 20
_BLANKS = re.compile(rb"\A([^ \r\n]+) +([^ \r\n]+) +HTTP/")


@dataclass
class Understood:
    """A request as h11 reads it."""

    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytearray = field(default_factory=bytearray)
    trailers: list[int] = field(default_factory=list)
    """The size of each."""
    complete: bool = False


@dataclass
class Reading:
    """All that h11 makes of what a client sent, upgrades declined. `verdict`: `open`, `closed` (as the client asked),
    or `refused`."""

    requests: list[Understood]
    verdict: str
    rest: bytes = b""


@dataclass
class Conduct:
    """What the script did that excuses an answer that never came, or not to its end."""

    client_left: bool = False
    upstream_failed: bool = False
    ended: bool = False
    """The connection was retired or cut, or the gateway drains."""

    def note(self, event: Event) -> None:
        if event in (Event.HALF_CLOSES, Event.RESETS):
            self.client_left = True
        elif event is Event.UPSTREAM_FAILS:
            self.upstream_failed = True
        elif event in (Event.RETIRE, Event.CUT, Event.DRAIN):
            self.ended = True


def bounded(world: World) -> None:
    """What a connection holds stays within its limits, plus what one read brought."""
    connection = world.connection
    reading, sending = connection._reading, connection.sending
    turns = [turn for turn in (connection._active, reading.incoming, *reading.ready) if turn is not None]
    held = sum(len(turn.url) + sum(len(n) + len(v) for n, v in turn.headers) for turn in turns)
    held += sum(sum(map(len, turn.parts)) for turn in turns) + len(reading.kept) + len(sending.held)
    most = 4 * LIMITS.http1_max_head_size + edge_turn.HIGH_WATER + 3 * world.wire.piece
    if held > most:
        raise Finding(f"{held} bytes are held, {most} are enough")


def at_end(world: World, conduct: Conduct) -> None:
    """After the script, and after more than the longest timeout."""
    complaints = [line for line in COMPLAINTS.lines if not any(word in line for word in PLANTED)]
    COMPLAINTS.lines.clear()
    if complaints:
        raise Finding(f"logged: {complaints}")
    if world.loop.found:
        raise Finding(f"escaped: {world.loop.found}")
    _released(world)
    reading = understood(bytes(world.wire.read))
    _agreed(world, reading)
    if world.door.handed is not None:
        _handed_over(world, reading)
    _answered(world, conduct, reading)


def _released(world: World) -> None:
    """Nothing outlives the connection."""
    if world.door.inside:
        raise Finding("the connection never left the port")
    if world.runtime.gateway.active:
        raise Finding("a request never ended")
    if world.door.handed is None and not world.wire.lost:
        raise Finding("the connection was never closed")
    if world.loop.next_timer() is not None:
        raise Finding("a timer is left")
    if world.site.logged != len(world.site.begun):
        raise Finding("a request was not logged, or more than once")


def _agreed(world: World, reading: Reading) -> None:
    """The edge accepted what h11 accepts, and understood the same."""
    for number, seen in enumerate(world.site.begun):
        if not seen.answered:
            continue
        if number >= len(reading.requests):
            if reading.verdict != "closed" and not _beyond_h11(seen):
                raise Finding(f"request {number} was answered, and h11 says {reading.verdict}: {seen}")
            return
        other = reading.requests[number]
        if seen.method.encode() != other.method:
            raise Finding(f"method {seen.method!r}, to h11 {other.method!r}")
        ours, theirs = (sorted(filter(None, map(_comparable, fields))) for fields in (seen.headers, other.headers))
        if ours != theirs:
            raise Finding(f"fields {ours!r}, to h11 {theirs!r}")
        theirs_target = other.target.decode("latin-1")
        plain = theirs_target.startswith("/") and "%" not in theirs_target
        if plain and seen.target not in (theirs_target, theirs_target.removesuffix("?")):
            raise Finding(f"target {seen.target!r}, to h11 {theirs_target!r}")
        if seen.body is not None and seen.body != other.body:
            raise Finding(f"body {seen.body!r}, to h11 {bytes(other.body)!r}")
        if seen.body is not None and not within(other.trailers):
            raise Finding(f"trailers of {other.trailers} bytes were accepted")


def within(trailers: list[int]) -> bool:
    """Whether the limits of heads hold for them."""
    return len(trailers) <= LIMITS.http1_max_headers and sum(trailers) <= LIMITS.http1_max_head_size


def _beyond_h11(seen: gateway.Seen) -> bool:
    """Lengths of more than twenty digits, which are lawful with zeros in front (RFC 9110 section 8.6)."""
    return any(name == b"content-length" and len(value) > 20 for name, value in seen.headers)


def _comparable(field: tuple[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """Without what may differ: the host of a target in absolute form, an upgrade that was not made, the case of a
    coding's name."""
    name, value = field
    if name in (b"host", b"upgrade"):
        return None
    return (name, value.lower() if name == b"transfer-encoding" else value)


def _handed_over(world: World, reading: Reading) -> None:
    """Hypercorn goes on where the connection stands, having all that was not answered and nothing else."""
    handed = world.door.handed or b""
    if handed.startswith(b"PRI * HTTP/2.0"[: len(handed)]) and handed:
        if not world.wire.read.endswith(handed):
            raise Finding(f"handed over {handed!r}")
        return
    if b" HTTP/1.1\r\n" not in handed:
        raise Finding(f"handed over {handed!r}")
    again, due = understood(handed), reading.requests[len(world.site.begun) :]
    if (again.requests, again.verdict, again.rest) != (due, reading.verdict, reading.rest):
        raise Finding(f"handed over {again}, where {due} was due")


def _answered(world: World, conduct: Conduct, reading: Reading) -> None:
    """Replies are well-formed, in order, one for each request, and none behind a refusal that ends the connection."""
    begun = world.site.begun
    rest, replies = bytes(world.wire.received), 0
    for number, seen in enumerate(begun):
        if not rest:
            break
        rest, whole = _reply(world, conduct, number, seen, rest)
        replies += 1
        if not whole:
            break
        if seen.status in FINAL and seen.error is not None and number != len(begun) - 1:
            raise Finding(f"status {seen.status}, and more requests after it")
    if rest:
        raise Finding(f"more than {len(begun)} replies: {rest[:80]!r}")
    if replies > world.wire.read.count(b"\r\n\r\n") + 1:
        raise Finding(f"{replies} replies, which so many heads cannot have asked for")
    if conduct.client_left or conduct.ended or world.wire.cut:
        return
    if replies < len(begun):
        raise Finding(f"{len(begun)} requests, {replies} replies")
    asked_to_close = b"close" in world.wire.read.lower()  # llhttp heeds it in trailers, too
    if conduct.upstream_failed or asked_to_close or reading.verdict == "closed" or world.door.handed is not None:
        return
    due = sum(request.complete for request in reading.requests)
    last = next((number for number, seen in enumerate(begun) if _ends(seen)), due)
    if replies < min(due, last + 1):
        raise Finding(f"{due} requests, {replies} replies")


def _ends(seen: gateway.Seen) -> bool:
    """Whether its reply may end the connection: it is a refusal, or does not come to its end, or a body was unread."""
    names = {name for name, _ in seen.headers}
    unread = seen.body is None and not names.isdisjoint((b"content-length", b"transfer-encoding"))
    return unread or seen.target == "/short" or (seen.error is not None and seen.status in FINAL)


def _reply(world: World, conduct: Conduct, number: int, seen: gateway.Seen, data: bytes) -> tuple[bytes, bool]:
    """What is left behind the reply, and whether it is whole."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=BIG)
    client.send(h11.Request(method="HEAD" if seen.method == "HEAD" else "GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    head, body, ended = None, bytearray(), False
    try:
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA:
                if ended:
                    break
                ended = True
                client.receive_data(b"")
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                _matches(conduct, number, seen, head, bytes(body))
                return client.trailing_data[0], True
            elif isinstance(event, h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError as error:
        if not ended:
            raise Finding(f"an unreadable reply: {error}: {data[:200]!r}") from error
    broken = conduct.upstream_failed or seen.target == "/short"
    if not (conduct.client_left or conduct.ended or world.wire.cut or broken):
        raise Finding(f"a reply without an end: {data[:200]!r}")
    return b"", False


def _matches(conduct: Conduct, number: int, seen: gateway.Seen, head: h11.Response | None, body: bytes) -> None:
    assert head is not None
    if not seen.answered:
        if head.status_code < 400:
            raise Finding(f"refused with {head.status_code}")
        return
    fields = dict(head.headers)
    if head.status_code == 500 and seen.target == "/bad":
        return
    if fields.get(b"x-number") != b"%d" % number:
        raise Finding(f"reply {number} is that to request {fields.get(b'x-number')!r}")
    if seen.method == "HEAD" or head.status_code == 204:
        return
    if seen.target in gateway.STREAMS:
        expected = gateway.STREAM.upper() if seen.target == "/wrap" else gateway.STREAM
        until_close = b"content-length" not in fields and b"transfer-encoding" not in fields
        if body != expected and not (until_close and expected.startswith(body)):
            raise Finding(f"a stream of {body!r}")
    elif not body.startswith(b"%d " % number):
        raise Finding(f"reply {number} says {body[:40]!r}")


def understood(data: bytes) -> Reading:
    """h11's reading, as a server that answers at once. What llhttp passes over, as RFC 9112 allows, and h11 refuses, is
    taken out first: empty lines in front of a request (section 2.2), more than one blank in its first line (section 3).
    """
    requests: list[Understood] = []
    while True:
        data = _BLANKS.sub(rb"\1 \2 HTTP/", data.lstrip(b"\r\n"), count=1)
        if not data:
            return Reading(requests, "open")
        verdict, data = _next(requests, data)
        if verdict:
            return Reading(requests, verdict, data)


def _next(requests: list[Understood], data: bytes) -> tuple[str, bytes]:
    """Read one request more. The verdict, empty when another one may follow, and what is behind it."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=BIG)
    server.receive_data(data)
    try:
        while not isinstance(event := server.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                requests.append(Understood(event.method, event.target, list(event.headers)))
            elif isinstance(event, h11.Data):
                requests[-1].body += event.data
            else:
                return "open", b""
    except h11.RemoteProtocolError:
        return "refused", b""
    requests[-1].complete = True
    requests[-1].trailers = [len(name) + len(value) + 4 for name, value in event.headers]
    server.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
    server.send(h11.EndOfMessage())
    reusable = server.our_state is h11.DONE and server.their_state is h11.DONE
    return "" if reusable else "closed", server.trailing_data[0]
