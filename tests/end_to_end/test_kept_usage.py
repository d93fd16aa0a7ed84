"""What batches and background responses used: told by vendors as often as somebody asks, counted once by two workers,
and by whoever comes after them."""

import asyncio
import json
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY, OTHER_KEY = "canary-operator-77aa", "canary-anthropic-88bb"
USAGE = {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 300}}
USAGE |= {"output_tokens": 400, "output_tokens_details": {"reasoning_tokens": 100}, "total_tokens": 1400}
IN_LOG = "gen_ai.usage.input_tokens=1000 gen_ai.usage.output_tokens=400"


def batch(name: str, status: str = "completed", age: float = 60) -> dict[str, Any]:
    made: dict[str, Any] = {"id": name, "object": "batch", "endpoint": "/v1/responses", "input_file_id": "file-1"}
    made |= {"completion_window": "24h", "status": status, "created_at": int(time.time() - age)}
    return {**made, "model": "gpt-5-2025-08-07", "usage": USAGE if status == "completed" else None}


def response(name: str, status: str = "completed", *, background: bool = True) -> dict[str, Any]:
    made: dict[str, Any] = {"id": name, "object": "response", "created_at": time.time(), "model": "gpt-5-2025-08-07"}
    made |= {"output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "background": background}
    return {**made, "status": status, "usage": USAGE if status == "completed" else None}


async def events(name: str) -> AsyncIterator[bytes]:
    yield stream_head()
    for number, status in enumerate(("queued", "in_progress", "completed")):
        kind = {"queued": "response.queued", "in_progress": "response.in_progress"}.get(status, "response.completed")
        event = {"type": kind, "sequence_number": number, "response": response(name, status)}
        yield chunk(f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode())
        if "slow" in name and status == "in_progress":
            for _ in range(1000):  # until somebody has left
                yield chunk(b": goes on\n\n")
                await asyncio.sleep(0.01)
    yield LAST


def of_openai(request: Received) -> Any:
    """What OpenAI's pages say such requests are answered with."""
    assert request.headers["authorization"] == f"Bearer {KEY}"
    path, _, query = request.target.partition("?")
    name = path.rpartition("/")[2]
    if request.method == "POST" and path == "/v1/responses":
        asked = request.json()
        if asked.get("stream"):
            return events(asked["input"])
        status = "queued" if asked["input"].startswith("resp_queued") else "completed"
        return reply(200, response(asked["input"], status, background=asked.get("background", False)))
    assert request.method == "GET"
    if path == "/v1/batches":
        rows = [
            batch("batch_listed"),
            batch("batch_listed_too"),
            batch("b_goes_on", "in_progress"),
            batch("b", age=4e6),
        ]
        return reply(200, {"object": "list", "data": rows, "has_more": False, "first_id": None, "last_id": None})
    if path.startswith("/v1/batches/"):
        huge = {"metadata": {"x": "y" * (9 << 20)}} if "huge" in name else {}
        return reply(200, batch(name, "finalizing" if "goes_on" in name else "completed") | huge)
    if "stream=true" in query:
        return events(name)
    return reply(200, response(name, background="ordinary" not in name))


MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "shorter"}]}
MESSAGE |= {"model": "claude-haiku-4-5", "stop_reason": "end_turn", "stop_sequence": None}
MESSAGE |= {
    "usage": {
        **{"input_tokens": 100, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3},
        **{"output_tokens": 40, "service_tier": "batch"},
    }
}
RESULTS = [
    {"custom_id": "one", "result": {"type": "succeeded", "message": MESSAGE}},
    {"custom_id": "two", "result": {"type": "expired"}},
    {"custom_id": "three", "result": {"type": "succeeded", "message": MESSAGE}},
]
TEXT = b"".join(json.dumps(row).encode() + b"\n" for row in RESULTS)
RESULTS_IN_LOG = "gen_ai.usage.input_tokens=246 gen_ai.usage.output_tokens=80"


async def results(name: str, left: set[str]) -> AsyncIterator[bytes]:
    yield stream_head("application/x-jsonl")
    if "bytes" in name:
        for at in range(len(TEXT)):
            yield chunk(TEXT[at : at + 1])
    elif "left" in name and name not in left:
        left.add(name)
        for _ in range(1000):
            yield chunk(TEXT)
            await asyncio.sleep(0.01)
    elif "cut" in name and name not in left:
        left.add(name)
        yield chunk(TEXT[:500])
        raise ConnectionError
    else:
        yield chunk(TEXT)
    yield LAST


class OfAnthropic:
    """What Anthropic's pages say such requests are answered with. Some results are not whole the first time."""

    def __init__(self) -> None:
        self.begun: set[str] = set()

    def __call__(self, request: Received) -> Any:
        assert request.headers["x-api-key"] == OTHER_KEY and request.method == "GET"
        name, *rest = request.target.removeprefix("/v1/messages/batches/").split("/")
        if rest == ["results"]:
            return results(name, self.begun)
        made: dict[str, Any] = {"id": name, "type": "message_batch", "processing_status": "ended"}
        made |= {"created_at": "2024-08-20T18:37:24Z", "expires_at": "2024-08-21T18:37:24Z"}
        made |= {"results_url": f"https://api.anthropic.com/v1/messages/batches/{name}/results"}
        counts = {"processing": 0, "succeeded": 2, "errored": 0, "canceled": 0, "expired": 1}
        return reply(200, {**made, "request_counts": counts})


CONFIG = """
config:
  workers: {workers}
  adminAddr: "off"
  statsAddr: "127.0.0.1:0"
  readinessAddr: "off"
  store: {{url: "sqlite:{store}"}}
  modelCatalog:
  - inline:
      providers:
        openai: {{models: {{gpt-5: {{rates: {{input: "1", output: "10", cacheRead: "0.1"}}}}}}}}
        anthropic: {{models: {{claude-haiku-4-5: {{rates: {{input: "1", output: "5"}}}}}}}}
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
llm:
  gateways: default
  models:
  - name: "gpt-*"
    provider: openAI
    params: {{apiKey: {key}, hostOverride: "{openai}"}}
    resources: [batches, stored_responses]
  - name: "claude*"
    provider: anthropic
    params: {{apiKey: {other}, hostOverride: "{anthropic}"}}
    resources: [message_batches]
"""


class World:
    """A gateway in front of both vendors, and their SDKs in front of it, with a connection for each request."""

    def __init__(self, gateway: Any, store: Path) -> None:
        self.gateway, self.store = gateway, store
        once = {"timeout": 20, "limits": httpx.Limits(max_keepalive_connections=0)}
        self.http = httpx.AsyncClient(**once)
        self.openai = openai.AsyncOpenAI(
            base_url=gateway.url + "/v1", api_key="k", max_retries=0, http_client=openai.DefaultAsyncHttpxClient(**once)
        )
        self.anthropic = anthropic.AsyncAnthropic(
            base_url=gateway.url, api_key="k", max_retries=0, http_client=anthropic.DefaultAsyncHttpxClient(**once)
        )

    async def lines(self, path: str, number: int) -> list[str]:
        """The lines of the access log about a path, once there are so many."""
        async with asyncio.timeout(10):
            while len(found := [line for line in self.gateway.access if f" http.path={path} " in line]) < number:
                await asyncio.sleep(0.01)
        assert len(found) == number
        return found

    async def counted(self, path: str, number: int) -> str:
        """The only line of so many that has usage."""
        (found,) = [line for line in await self.lines(path, number) if "gen_ai.usage" in line]
        return found

    async def close(self) -> None:
        await self.http.aclose()
        await self.openai.close()
        await self.anthropic.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def begin(serve_all, tmp_path_factory) -> AsyncIterator[Any]:
    """`await begin(store)`: a gateway with that store."""
    async with Upstream(of_openai) as first, Upstream(OfAnthropic()) as second:
        begun: list[World] = []

        async def begin(store: Path, workers: int = 1) -> World:
            names = {"openai": first.address, "anthropic": second.address, "key": KEY, "other": OTHER_KEY}
            world = World(await serve_all(CONFIG.format(store=store, workers=workers, **names)), store)
            begun.append(world)
            return world

        yield begin
        for world in begun:
            await world.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(begin, tmp_path_factory) -> World:
    """Two workers."""
    started: World = await begin(tmp_path_factory.mktemp("store") / "state.sqlite", 2)
    return started


async def test_a_batch_that_is_polled_ten_times_by_two_workers_is_counted_once(world):
    polls = [world.openai.batches.retrieve("batch_polled") for _ in range(9)]
    told = [await world.openai.batches.retrieve("batch_polled"), *await asyncio.gather(*polls)]
    assert {one.usage.total_tokens for one in told} == {1400}
    line = await world.counted("/v1/batches/batch_polled", 10)
    assert f"gen_ai.response.model=gpt-5-2025-08-07 {IN_LOG} gen_ai.usage.cache_read.input_tokens=300" in line
    assert "gen_ai.usage.reasoning_tokens=100" in line and "cost" not in line
    stats = (await world.http.get(world.gateway.urls["stats"] + "/metrics")).text
    (looked_up,) = [line for line in stats.splitlines() if "cost_catalog_lookups_total{" in line and "batches" in line]
    assert 'status="Unpriced"' in looked_up


async def test_one_that_goes_on_is_not_counted(world):
    await world.openai.batches.retrieve("batch_goes_on")
    (line,) = await world.lines("/v1/batches/batch_goes_on", 1)
    assert "gen_ai.usage" not in line


async def test_a_list_counts_what_nobody_has_counted_and_nothing_that_is_old(world):
    await world.openai.batches.retrieve("batch_listed")
    for _ in range(2):
        assert len([one async for one in world.openai.batches.list()]) == 4
    assert IN_LOG in await world.counted("/v1/batches/batch_listed", 1)
    assert IN_LOG in await world.counted("/v1/batches", 2)


async def test_a_batch_too_large_to_look_at_passes_and_is_told_in_the_log(world):
    answered = await world.http.get(world.gateway.url + "/v1/batches/batch_huge")
    assert len(answered.json()["metadata"]["x"]) == 9 << 20
    await world.gateway.told("the usage in the answer to /v1/batches/batch_huge is not counted: it has more than")
    assert "gen_ai.usage" not in (await world.lines("/v1/batches/batch_huge", 1))[0]


async def test_a_background_response_is_counted_by_who_sees_its_end_first(world):
    made = await world.openai.responses.create(model="gpt-5", input="resp_queued", background=True)
    assert made.status == "queued" and made.usage is None
    for _ in range(3):
        assert (await world.openai.responses.retrieve("resp_queued")).usage.total_tokens == 1400
    line = await world.counted("/v1/responses/resp_queued", 3)
    assert IN_LOG in line and "agw.ai.usage.cost.total=0.00473" in line  # at the ordinary price


async def test_what_its_maker_was_told_is_not_counted_again(world):
    """Ordinary responses; and those made in the background whose end came with the answer, whole or streamed."""
    await world.openai.responses.create(model="gpt-5", input="resp_ordinary")
    await world.openai.responses.create(model="gpt-5", input="resp_at_once", background=True)
    made = await world.openai.responses.create(model="gpt-5", input="resp_streamed", background=True, stream=True)
    assert [event.type async for event in made][-1] == "response.completed"
    for name in ("resp_ordinary", "resp_at_once", "resp_streamed"):
        await world.openai.responses.retrieve(name)
        (line,) = await world.lines(f"/v1/responses/{name}", 1)
        assert "gen_ai.usage" not in line
    async with asyncio.timeout(10):
        while len([one for one in world.gateway.access if "http.path=/v1/responses " in one and IN_LOG in one]) < 3:
            await asyncio.sleep(0.01)


async def test_who_leaves_a_background_response_comes_back_for_its_end(world):
    made = await world.openai.responses.create(model="gpt-5", input="resp_slow", background=True, stream=True)
    assert (await anext(aiter(made))).type == "response.queued"
    await made.close()
    assert "gen_ai.usage" not in await world.gateway.logged("reason=ClientDisconnected")
    watched = await world.openai.responses.retrieve("resp_watched", stream=True, starting_after=1)
    assert [event.type async for event in watched][-1] == "response.completed"
    await world.openai.responses.retrieve("resp_watched")
    assert IN_LOG in await world.counted("/v1/responses/resp_watched", 2)
    await world.openai.responses.retrieve("resp_slow")
    assert IN_LOG in await world.counted("/v1/responses/resp_slow", 1)
    assert not [line for line in world.gateway.access if "estimated" in line]


@pytest.mark.parametrize("name", ["msgbatch_whole", "msgbatch_bytes"])
async def test_results_are_summed_and_counted_once(world, name):
    for _ in range(3):
        rows = [row async for row in await world.anthropic.messages.batches.results(name)]
        assert [row.custom_id for row in rows] == ["one", "two", "three"]
    path = f"/v1/messages/batches/{name}/results"
    line = await world.counted(path, 3)
    assert f"gen_ai.response.model=claude-haiku-4-5 {RESULTS_IN_LOG}" in line and "cost" not in line
    assert "gen_ai.usage.cache_read.input_tokens=40 gen_ai.usage.cache_creation.input_tokens=6" in line
    assert (await world.http.get(world.gateway.url + path, headers={"anthropic-version": "1"})).content == TEXT


@pytest.mark.parametrize("name", ["msgbatch_left", "msgbatch_cut"])
async def test_results_that_nobody_got_to_their_end_are_counted_when_somebody_does(world, name):
    url = f"{world.gateway.url}/v1/messages/batches/{name}/results"
    with_version = {"anthropic-version": "2023-06-01"}
    async with world.http.stream("GET", url, headers=with_version) as begun:
        if name == "msgbatch_left":
            await anext(begun.aiter_raw())
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await begun.aread()
    path = f"/v1/messages/batches/{name}/results"
    assert "gen_ai.usage" not in (await world.lines(path, 1))[0]
    for _ in range(2):
        assert (await world.http.get(url, headers=with_version)).content == TEXT
    assert RESULTS_IN_LOG in await world.counted(path, 3)


async def test_the_gateway_that_comes_after_knows_what_was_counted(begin, tmp_path_factory):
    store = tmp_path_factory.mktemp("store") / "state.sqlite"
    before = await begin(store)
    await before.openai.batches.retrieve("batch_before")
    assert IN_LOG in await before.counted("/v1/batches/batch_before", 1)
    assert await before.gateway.stop() == 0
    after = await begin(store)
    for name in ("batch_before", "batch_after"):
        await after.openai.batches.retrieve(name)
    assert "gen_ai.usage" not in (await after.lines("/v1/batches/batch_before", 1))[0]
    assert IN_LOG in await after.counted("/v1/batches/batch_after", 1)
    with sqlite3.connect(store) as file:
        kept = file.execute("SELECT key, value, expires FROM entries").fetchall()
    file.close()
    assert len(kept) == 2
    for key, value, expires in kept:
        assert re.fullmatch(rb"usage:[0-9a-f]{64}", key) and value == b"1" and expires > time.time() + 30 * 86400


async def test_without_its_store_nothing_is_counted_and_everybody_served(begin, tmp_path_factory):
    world = await begin(tmp_path_factory.mktemp("store") / "state.sqlite")
    with sqlite3.connect(world.store) as file:
        file.execute("DROP TABLE entries")
    file.close()
    assert (await world.openai.batches.retrieve("batch_1")).usage.total_tokens == 1400
    rows = [row.custom_id async for row in await world.anthropic.messages.batches.results("msgbatch_1")]
    assert rows == ["one", "two", "three"]
    for path in ("/v1/batches/batch_1", "/v1/messages/batches/msgbatch_1/results"):
        await world.gateway.told(f"the usage in the answer to {path} is not counted: the store failed")
        assert "gen_ai.usage" not in (await world.lines(path, 1))[0]
    assert KEY not in world.gateway.log and OTHER_KEY not in world.gateway.log
