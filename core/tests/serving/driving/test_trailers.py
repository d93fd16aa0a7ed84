"""Trailers are held to the limits of heads, and where reads end is nobody's business."""

from __future__ import annotations

import pytest

from agentgateway.exchange import Exchange, Reply
from agentgateway.hookspecs import hookimpl

LIMITS = {"http1MaxHeaders": 5, "http1MaxHeadSize": 1024}
HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
FIELD = b"x: y\r\n"
LONG = b"x-long: %b\r\n"
TRAILERS = {
    "none": (200, b""),
    "as many as there may be": (200, FIELD * 5),
    "one more": (431, FIELD * 6),
    "one more, and others behind it": (431, FIELD * 60),
    "as long as they may be": (200, FIELD + LONG % (b"a" * (1024 - 10 - len(FIELD)))),
    "one byte more": (431, FIELD + LONG % (b"a" * (1024 - 9 - len(FIELD)))),
    "one byte more, in the first": (431, LONG % (b"a" * (1024 - 9)) + FIELD),
    "without a blank": (200, b"x:y\r\n" * 5),
    "without values": (431, b"x:\r\n" * 6),
}
BEHIND = b"GET /behind HTTP/1.1\r\nhost: x\r\n\r\n"


class Reads:
    """Answers when the body is complete, in a task or without one."""

    def __init__(self) -> None:
        self.targets: list[str] = []

    @hookimpl
    async def pre_request(self, exchange: Exchange) -> Reply:
        body = b"".join([chunk async for chunk in exchange.request.body])
        self.targets.append(exchange.request.target)
        return Reply.text(200, body.decode())


def cuts(data: bytes) -> list[list[bytes]]:
    """Whole, in two pieces cut at every byte, and byte by byte."""
    bytewise = [data[at : at + 1] for at in range(len(data))]
    return [[data], *([data[:at], data[at:]] for at in range(1, len(data))), bytewise]


@pytest.mark.parametrize(("status", "trailers"), TRAILERS.values(), ids=TRAILERS)
async def test_trailers_get_the_same_verdict_wherever_they_are_cut(serving, bind_to, dial, settled, status, trailers):
    hooks = Reads()
    running = await serving(None, binds={0: bind_to(hooks)}, http=LIMITS)
    for pieces in cuts(HEAD + trailers + b"\r\n" + BEHIND):
        hooks.targets.clear()
        client = dial(running)
        for piece in pieces:
            client.send(piece)
            await settled()
        answers = client.received()
        assert answers.startswith(b"HTTP/1.1 %d " % status), pieces
        assert hooks.targets == (["/", "/behind"] if status == 200 else []), pieces
        assert answers.count(b"HTTP/1.1 ") == len(hooks.targets) or status == 431, pieces
        client.socket.close()


async def test_two_hundred_trailers_are_too_many(serving, bind_to, dial, settled):
    running = await serving(None, binds={0: bind_to(Reads())})
    data = HEAD + b"".join(b"x-%d: y\r\n" % number for number in range(200)) + b"\r\n"
    for size in (len(data), 1000, 100, 7):
        client = dial(running)
        for at in range(0, len(data), size):
            client.send(data[at : at + size])
            await settled()
        assert client.received().startswith(b"HTTP/1.1 431 "), size
        client.socket.close()
