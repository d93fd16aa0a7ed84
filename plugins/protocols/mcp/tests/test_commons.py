"""What workers know together, and their words to each other: here several of them in one process."""

from __future__ import annotations

from typing import Any

from agentgateway_mcp.commons import Commons
from agentgateway_mcp.talks import Talks

from agentgateway.peers import LocalPeers


class Worker:
    def __init__(self, peers: LocalPeers, *, takes: bool = False) -> None:
        self.heard: list[tuple[str, str, Any]] = []
        self.takes = takes
        self.commons = Commons(peers, 60.0, self._hear)

    async def _hear(self, name: str, what: str, content: Any) -> bool:
        self.heard.append((name, what, content))
        return self.takes


async def test_everybody_but_the_speaker_hears_until_one_has_what_it_is_about() -> None:
    peers = LocalPeers()
    first, second, third = Worker(peers), Worker(peers, takes=True), Worker(peers)
    for worker in (first, second, third):
        worker.commons.enter("thing")
    assert await first.commons.tell("thing", "answered", {"id": 1})
    assert (first.heard, second.heard, third.heard) == ([], [("thing", "answered", {"id": 1})], [])
    second.takes = False
    assert not await first.commons.tell("thing", "changed")
    assert (len(second.heard), third.heard) == (2, [("thing", "changed", None)])
    assert not await first.commons.tell("another thing", "changed")
    await peers.stop()


async def test_a_worker_that_has_ended_is_let_go_of() -> None:
    peers = LocalPeers()
    first, second = Worker(peers), Worker(peers)
    first.commons.enter("thing")
    second.commons.enter("thing")
    second.commons.close()
    assert len(first.commons.others("thing")) == 1
    assert not await first.commons.tell("thing", "changed")
    assert first.commons.others("thing") == []
    await peers.stop()


async def test_who_leaves_last_leaves_nothing_behind() -> None:
    peers = LocalPeers()
    first, second = Worker(peers), Worker(peers)
    for worker in (first, second, first):
        worker.commons.enter("thing")
    first.commons.leave("thing")
    assert (len(first.commons.others("thing")), second.commons.others("thing")) == (1, [])
    second.commons.leave("thing")
    assert peers.agreed("thing") == ""


async def test_what_a_client_has_set_outlives_the_worker_that_it_was_set_in() -> None:
    peers = LocalPeers()
    first, second = Talks(peers, 60.0), Talks(peers, 60.0)
    await first.set_level(first.of("s"), "error")
    await first.subscribe(first.of("s"), "note://1", wanted=True)
    await second.subscribe(second.of("s"), "note://2", wanted=True)
    assert first.of("s").uris == {"note://1", "note://2"}
    first.stop()
    await second.subscribe(second.of("s"), "note://1", wanted=False)
    third = Talks(peers, 60.0)
    assert (third.of("s").level, third.of("s").uris) == ("error", {"note://2"})
    await third.end("s")
    assert (second.of("s").level, second.of("s").uris) == ("info", set())
    await peers.stop()
