"""Where reads end is nobody's business: a reply and a request cut at every byte come out as whole ones do."""

from __future__ import annotations

from typing import Any

import h11
import pytest

from agentgateway.exchange import Exchange
from agentgateway.hookspecs import hookimpl

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nx-mine: 1\r\n"
ANSWERS = {
    "chunked": HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n4;a=b\r\ntwo!\r\n0\r\nx-trailer: 1\r\n\r\n",
    "length": HEAD + b"content-length: 7\r\n\r\nonetwo!",
    "until close": HEAD + b"\r\nonetwo!",
    "interim": b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + HEAD + b"content-length: 7\r\n\r\nonetwo!",
}
REQUESTS = {
    "chunked": b"POST /a?b HTTP/1.1\r\nhost: x\r\nx-mine: 1\r\ntransfer-encoding: chunked\r\n\r\n"
    b"3\r\none\r\n4;a=b\r\ntwo!\r\n0\r\nx-trailer: 1\r\n\r\n",
    "length": b"POST /a?b HTTP/1.1\r\nhost: x\r\nx-mine: 1\r\ncontent-length: 7\r\n\r\nonetwo!",
    "two": b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\none" + GET,
}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Nothing:
    """What a participant of either kind is when it only looks on."""

    @hookimpl
    def pre_request(self, exchange: Exchange) -> None: ...


class NothingAwaited:
    @hookimpl
    async def pre_request(self, exchange: Exchange) -> None: ...


@pytest.fixture(params=[Nothing, NothingAwaited], ids=["plain", "awaited"])
def hooks(request: pytest.FixtureRequest) -> object:
    return request.param()


def read(data: bytes, closed: bool = False) -> list[tuple[Any, ...]]:
    """Replies as h11 reads them, without what the gateway chooses itself: their framing and date."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    if closed:
        parser.receive_data(b"")
    head, body, ended = None, b"", False
    own = {b"date", b"content-length", b"transfer-encoding", b"connection"}
    while not isinstance(event := parser.next_event(), type(h11.NEED_DATA) | type(h11.PAUSED)):
        if isinstance(event, h11.Response):
            head = (event.status_code, sorted(field for field in event.headers if field[0] not in own))
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            ended = True
            break
    return [(head, body, ended)]


@pytest.mark.parametrize("framing", ANSWERS)
async def test_a_reply_cut_at_every_byte(serving, bind_to, dial, upstream, settled, hooks, framing):
    running = await serving(None, binds={0: bind_to(hooks)})
    data = ANSWERS[framing]
    cuts = [[data[:at], data[at:]] for at in range(1, len(data))]
    for pieces in ([data], *cuts, [data[at : at + 1] for at in range(len(data))]):
        client = dial(running)
        client.send(GET)
        await settled()
        peer = next(peer for peer in reversed(upstream.peers) if not peer.lost)
        for piece in pieces:
            peer.transport.write(piece)
            await settled()
        if framing == "until close":
            peer.transport.close()
            await settled()
        assert read(client.received()) == [((200, [(b"x-mine", b"1")]), b"onetwo!", True)], pieces
        client.socket.close()
    kept = framing != "until close"
    assert len(upstream.peers) == (1 if kept else len(data) + 1)


def keyed(requests: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Without the framing, which is the gateway's own, and the port."""
    own = {b"transfer-encoding", b"content-length", b"x-forwarded-host"}
    return [(*r[:2], sorted(field for field in r[2] if field[0] not in own), r[3]) for r in requests]


@pytest.mark.parametrize("framing", REQUESTS)
async def test_a_request_cut_at_every_byte(serving, bind_to, dial, upstream, settled, hooks, framing):
    running = await serving(None, binds={0: bind_to(hooks)})
    data = REQUESTS[framing]
    cuts = [[data[:at], data[at:]] for at in range(1, len(data))]
    first: list[Any] = []
    for pieces in ([data], *cuts, [data[at : at + 1] for at in range(len(data))]):
        client = dial(running)
        upstream.answer = answer_whole
        for piece in pieces:
            client.send(piece)
            await settled()
        forwarded = [request for peer in upstream.peers for request in keyed(take(peer))]
        reply = client.received()
        found = [forwarded, read(reply), reply.count(b"HTTP/1.1 200")]
        first = first or found
        assert found == first, pieces
        client.socket.close()
    count = 2 if framing == "two" else 1
    assert first[2] == count and [request[3] for request in first[0]][0] in (b"onetwo!", b"one")
    assert len(first[0]) == count


def answer_whole(peer: Any) -> None:
    """Once a request is complete, and not before: an earlier answer would end it."""
    head, _, rest = peer.received.partition(b"\r\n\r\n")
    length = next((int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: ")), 0)
    whole = rest.endswith(b"0\r\n\r\n") if b"transfer-encoding: chunked" in head else len(rest) >= length
    if head and whole:
        peer.whole = [*getattr(peer, "whole", []), *peer.requests()]
        peer.received = b""
        peer.transport.write(OK)


def take(peer: Any) -> list[Any]:
    whole, peer.whole = getattr(peer, "whole", []), []
    return whole
