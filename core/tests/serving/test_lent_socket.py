"""A worker's listening socket, which stands in for those of others."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
import uvloop

from agentgateway._host.lent_socket import LentSocket
from agentgateway._host.sockets import CannotListen, listen, listen_together


@pytest.fixture
def together() -> Iterator[list[socket.socket]]:
    sockets = listen_together("127.0.0.1", 0, 4)
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def lent(together) -> Iterator[LentSocket]:
    with LentSocket([sock.dup().detach() for sock in together], 0) as sock:
        yield sock


def knock(together: list[socket.socket], count: int) -> list[socket.socket]:
    return [socket.create_connection(together[0].getsockname()) for _ in range(count)]


def accepted(sock: socket.socket) -> int:
    """How many connections are there to be taken."""
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def end(*clients: socket.socket) -> None:
    for client in clients:
        client.close()


def test_sockets_together_listen_on_one_port(together):
    assert len(together) == 4 and len({sock.getsockname() for sock in together}) == 1


def test_nobody_else_can_listen_where_they_do(together):
    port = together[0].getsockname()[1]
    for count in (1, 4):
        with pytest.raises(CannotListen, match="address already in use"):
            listen_together("127.0.0.1", port, count)


def test_they_are_not_opened_where_somebody_listens():
    with listen("127.0.0.1", 0) as taken, pytest.raises(CannotListen):
        listen_together("127.0.0.1", taken.getsockname()[1], 2)


def test_every_address_of_both_families_is_shared():
    sockets = listen_together(None, 0, 3)
    try:
        assert len(sockets) == 3
        port = sockets[0].getsockname()[1]
        for host in ("127.0.0.1", "::1") if sockets[0].family == socket.AF_INET6 else ("127.0.0.1",):
            socket.create_connection((host, port)).close()
    finally:
        end(*sockets)


def test_it_takes_its_share_and_leaves_the_others_theirs(together, lent):
    clients = knock(together, 200)
    own = accepted(lent)
    assert 10 < own < 100
    lent.cover([2])
    more = accepted(lent)
    assert 10 < more < 100
    lent.cover([1, 2, 3])
    assert own + more + accepted(lent) == 200
    end(*clients)


def test_it_serves_its_own_whatever_it_is_told(together, lent):
    lent.cover([0, 1])
    lent.cover([])
    clients = knock(together, 100)
    lent.cover([])
    assert 0 < accepted(lent) < 60
    end(*clients)


@pytest.mark.parametrize("new_loop", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_an_event_loop_hears_of_all_it_serves(together, lent, new_loop):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        came = asyncio.Event()
        loop.add_reader(lent.fileno(), came.set)
        lent.cover([1, 2, 3])
        for _ in range(20):
            (client,) = knock(together, 1)
            async with asyncio.timeout(5):
                await came.wait()
            assert accepted(lent) == 1
            came.clear()
            client.close()
        loop.remove_reader(lent.fileno())

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_closing_it_closes_all_it_was_lent(together):
    before = [sock.dup().detach() for sock in together]
    sock = LentSocket(before, 1)
    sock.cover([0])
    sock.close()
    assert sock.fileno() == -1
    for descriptor in before:
        with pytest.raises(OSError, match="Bad file descriptor"):
            socket.socket(fileno=descriptor)
