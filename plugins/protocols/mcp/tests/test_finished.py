"""Tasks that were over when they began."""

from __future__ import annotations

import asyncio

import pytest
from agentgateway_mcp import finished as finishes
from agentgateway_mcp.finished import TTL, Finished

from agentgateway.peers import LocalPeers

RESULT = {"content": [{"type": "text", "text": "done"}]}


async def test_a_result_is_its_sessions_in_every_worker() -> None:
    peers = LocalPeers()
    finished, colleague = Finished(peers), Finished(peers)
    task = finished.keep("s", RESULT, None)
    assert (task["status"], task["ttlMs"], task["result"]) == ("completed", TTL, RESULT)
    for where in (finished, colleague):
        assert await where.find("s", task["taskId"]) == task
        for session, name in (("t", task["taskId"]), ("s", "agw-0.x"), ("s", "mine"), ("s", f"agw-0.{'x' * 32}")):
            assert await where.find(session, name) is None
    finished.stop()
    assert await colleague.find("s", task["taskId"]) is None
    await peers.stop()


@pytest.mark.parametrize(("asked", "kept"), [(10, 10), (TTL + 1, TTL), (0, TTL), (-1, TTL), ("x", TTL), (True, TTL)])
async def test_it_is_kept_for_as_long_as_its_client_wants_and_no_longer(asked: object, kept: int) -> None:
    finished = Finished(LocalPeers())
    task = finished.keep("s", RESULT, asked)
    assert task["ttlMs"] == kept
    if kept < TTL:
        async with asyncio.timeout(5):
            while await finished.find("s", task["taskId"]) is not None:
                await asyncio.sleep(0.01)
    finished.stop()


async def test_the_oldest_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishes, "MOST", 2)
    finished = Finished(LocalPeers())
    names = [finished.keep("s", RESULT, None)["taskId"] for _ in range(3)]
    assert [await finished.find("s", name) is None for name in names] == [True, False, False]
    monkeypatch.setattr(finishes, "BYTES", 100)
    last = finished.keep("s", RESULT, None)["taskId"]
    assert [await finished.find("s", name) is None for name in (*names, last)] == [True, True, True, False]
    finished.stop()
