"""What lives in one worker is reached from all: links, and what workers agree on."""

import asyncio
import contextlib
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentgateway._host.agreements import PRUNED_EVERY, Agreements
from agentgateway._host.shared_peers import SharedPeers
from agentgateway.interfaces import Link, PeerGone
from agentgateway.peers import ROOM, LocalPeers


@pytest.fixture(params=["alone", "workers"])
async def both(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[LocalPeers, LocalPeers]]:
    """Two peers: those of two workers, or twice those of a process alone."""
    one = LocalPeers() if request.param == "alone" else SharedPeers(tmp_path, 1)
    two = one if request.param == "alone" else SharedPeers(tmp_path, 2)
    for peers in {one, two}:
        await peers.start()
    yield one, two
    for peers in {one, two}:
        await peers.stop()


async def echo(link: Link) -> None:
    while (frame := await link.receive()) is not None:
        await link.send(frame[::-1])


async def test_frames_come_as_they_were_sent(both) -> None:
    one, two = both
    link = await one.call(two.open(echo))
    frames = [b"", b"abc", os.urandom(3 * ROOM), b"\xff" * 4]
    for frame in frames:
        await link.send(frame)
        assert await link.receive() == frame[::-1]
    link.close()


async def test_an_end_comes_behind_everything_that_was_said(both) -> None:
    one, two = both

    async def count(link: Link) -> None:
        for number in range(100):
            await link.send(b"%d" % number)

    link = await one.call(two.open(count))
    assert [await link.receive() for _ in range(100)] == [b"%d" % number for number in range(100)]
    assert await link.receive() is None and await link.receive() is None
    with pytest.raises(PeerGone):
        await link.send(b"late")
        await asyncio.sleep(0.05)
        await link.send(b"later")


async def test_who_answers_is_told_of_an_end_and_of_a_departure(both) -> None:
    one, two = both
    heard: asyncio.Queue[object] = asyncio.Queue()

    async def listen(link: Link) -> None:
        try:
            while (frame := await link.receive()) is not None:
                heard.put_nowait(frame)
            heard.put_nowait("end")
        except PeerGone:
            heard.put_nowait("gone")
            raise

    address = two.open(listen)
    for leave, word in (("close", "end"), ("abort", "gone")):
        link = await one.call(address)
        await link.send(b"x")
        assert await heard.get() == b"x"
        getattr(link, leave)()
        assert await heard.get() == word


async def test_who_fails_to_answer_breaks_off(both, caplog) -> None:
    one, two = both

    async def fail(link: Link) -> None:
        await link.send(b"so far")
        raise ValueError("a bug")

    link = await one.call(two.open(fail))
    assert await link.receive() == b"so far"
    with pytest.raises(PeerGone):
        await link.receive()
    assert "a call of another worker failed" in caplog.text


async def test_a_sender_waits_for_a_reader_that_does_not_read(both) -> None:
    one, two = both
    sent = 0

    async def flood(link: Link) -> None:
        nonlocal sent
        for _ in range(200):
            await link.send(b"x" * 65536)
            sent += 1

    link = await one.call(two.open(flood))
    last = -1
    while sent != last:
        last = sent
        await asyncio.sleep(0.1)
    assert 0 < sent < 60
    assert sum([len(await link.receive() or b"") for _ in range(200)]) == 200 * 65536
    assert sent == 200 and await link.receive() is None


async def test_a_sender_that_waits_finds_out_that_nobody_will_read(both) -> None:
    one, two = both
    over = asyncio.Event()

    async def flood(link: Link) -> None:
        with contextlib.suppress(PeerGone):
            while True:
                await link.send(b"x" * 65536)
        over.set()

    link = await one.call(two.open(flood))
    await link.receive()
    link.abort()
    async with asyncio.timeout(10):
        await over.wait()


async def test_nobody_is_where_nothing_was_opened_or_is_closed_again(both) -> None:
    one, two = both
    address = two.open(echo)
    link = await one.call(address)
    two.close(address)
    for nobody in (address, two.open(echo) + "x", "7.unknown", "no-worker", "../1.peer", ""):
        with pytest.raises(PeerGone):
            await one.call(nobody)
    await link.send(b"still")
    assert await link.receive() == b"llits"
    link.close()


async def test_addresses_cannot_be_guessed_nor_sockets_be_reached(tmp_path: Path, both) -> None:
    one, two = both
    assert len({two.open(echo) for _ in range(100)}) == 100 and len(two.open(echo)) > 32
    if isinstance(one, SharedPeers):
        assert stat.S_ISSOCK((tmp_path / "1.peer").stat().st_mode)
        await one.stop()
        assert not (tmp_path / "1.peer").exists()


async def test_workers_agree_on_what_was_said_first(both) -> None:
    one, two = both
    assert one.agreed("name") == ""
    assert one.agree("name", "a", seconds=60) == "a"
    assert two.agree("name", "b", seconds=60) == "a" == two.agreed("name")
    assert two.agree("name", "c", "a", seconds=60) == "c"
    assert one.agree("name", "d", "a", seconds=60) == "c" == one.agreed("name")
    assert one.agreed("other") == ""


async def test_an_agreement_ends(both) -> None:
    one, two = both
    one.agree("name", "a", seconds=-1)
    assert two.agreed("name") == ""
    assert two.agree("name", "b", seconds=60) == "b" == one.agreed("name")
    for number in range(PRUNED_EVERY):
        one.agree(str(number), "x", seconds=60)
    assert one.agreed("name") == "b"


def test_many_agree_in_the_same_moment(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def say(number: int) -> str:
        agreements = Agreements(tmp_path)
        start.wait()
        try:
            return agreements.agree("name", str(number), "", 60)
        finally:
            agreements.close()

    for _ in range(5):
        (tmp_path / "agreements.sqlite").unlink(missing_ok=True)
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(say, range(8)))) == 1


WORKER = """
import asyncio, sys
from pathlib import Path
from agentgateway._host.shared_peers import SharedPeers

async def main():
    peers = SharedPeers(Path(sys.argv[1]), 1)
    await peers.start()
    async def answer(link):
        await link.send(b"here")
        await asyncio.sleep(60)
    print(peers.open(answer), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_worker_that_was_killed_is_gone_at_once(tmp_path: Path) -> None:
    two = SharedPeers(tmp_path, 2)
    command = (sys.executable, "-c", WORKER, str(tmp_path))
    worker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    address = (await worker.stdout.readline()).decode().strip()
    link = await two.call(address)
    assert await link.receive() == b"here"
    worker.kill()
    with pytest.raises(PeerGone):
        await link.receive()
    with pytest.raises(PeerGone):
        await two.call(address)
    await worker.wait()
    await two.stop()
