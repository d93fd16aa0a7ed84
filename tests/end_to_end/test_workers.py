"""Several processes on one port: they share limits, outlive each other, and end together."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from agentgateway.testing import Upstream
from agentgateway.testing.upstreams import reply

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def zygote() -> None:
    """Each gateway is the executable itself: the life of a process is what these tests are about."""


def config(more: str = "") -> str:
    return f"""
config: {{workers: 2, adminAddr: "off", statsAddr: "127.0.0.1:0", readinessAddr: "127.0.0.1:0"}}
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
llm:
  gateways: default
  models: [{{name: m, provider: simulator}}]
{more}"""


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def ask(url: str) -> int:
    async with httpx.AsyncClient(timeout=20) as client:
        return (await client.post(url + "/v1/chat/completions", json=CHAT)).status_code


async def ready(url: str) -> None:
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while (await client.get(url + "/healthz/ready")).status_code != 200:
            await asyncio.sleep(0.05)


@pytest.fixture
async def two(serve):
    gateway = await serve(config())
    await ready(gateway.urls["readiness"])
    return gateway


async def test_a_killed_worker_is_replaced_and_nobody_notices_who_was_not_served_by_it(two, load):
    clients = load(two.url, clients=4, calls=40, keep=False)
    running = asyncio.create_task(clients.run())
    await clients.reached(40)
    before = children(two.process.pid)
    assert len(before) == 2
    os.kill(before[0], signal.SIGKILL)
    await two.told("another one comes")
    async with asyncio.timeout(60):
        while len(set(children(two.process.pid)) - {before[0]}) < 2:
            await asyncio.sleep(0.05)
    clients.over.set()
    await running
    assert clients.answered + len(clients.failures) == 4 * 40
    victims = [failure.partition(":")[0] for failure in clients.failures]
    assert len(victims) == len(set(victims)), clients.failures  # what each had under way when the worker died
    assert await two.stop() == 0


async def test_all_workers_end_with_their_supervisor_and_within_the_deadline(two):
    workers = children(two.process.pid)
    assert await two.stop(signal.SIGTERM) == 0
    for pid in workers:
        assert not Path(f"/proc/{pid}").exists()


async def test_workers_do_not_outlive_a_supervisor_that_was_killed(two):
    workers = children(two.process.pid)
    await two.stop(signal.SIGKILL)
    async with asyncio.timeout(20):
        while any(Path(f"/proc/{pid}/exe").is_symlink() and _runs(pid) for pid in workers):
            await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


async def test_metrics_are_those_of_all_workers(two):
    await asyncio.gather(*(ask(two.url) for _ in range(20)))
    async with httpx.AsyncClient() as client:
        text = (await client.get(two.urls["stats"] + "/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith("agentgateway_requests_total{")]
    assert line.endswith(" 20")


async def test_a_limit_is_exact_across_workers(serve):
    limit = "  policies: {localRateLimit: [{maxTokens: 7, tokensPerFill: 7, fillInterval: 10m}]}"
    gateway = await serve(config(limit))
    await ready(gateway.urls["readiness"])
    statuses = await asyncio.gather(*(ask(gateway.url) for _ in range(30)))
    assert sorted(statuses) == [200] * 7 + [429] * 23


async def test_a_port_that_a_reload_opens_is_served_from_the_first_moment_to_the_last(serve, unused_tcp_port):
    gateway = await serve(config())
    await ready(gateway.urls["readiness"])
    more = f"more: {{port: {unused_tcp_port}, address: 127.0.0.1}}, default: "
    gateway.rewrite(config().replace("default: ", more).replace("gateways: default", "gateways: [default, more]"))
    await gateway.told("(gateway more)")
    statuses = await asyncio.gather(*(ask(gateway.urls["more"]) for _ in range(40)))
    assert statuses == [200] * 40
    gateway.rewrite(config())
    with pytest.raises(httpx.TransportError):
        while True:  # one that is taken in the moment of the change finds that nothing is served there any more
            assert await ask(gateway.urls["more"]) in (200, 404)
    assert await ask(gateway.url) == 200


FAILING = """
config: {workers: 4, adminAddr: "off", statsAddr: "127.0.0.1:0", readinessAddr: "127.0.0.1:0"}
gateways: {default: {port: 0, address: 127.0.0.1}}
llm:
  gateways: default
  policies: {health: {eviction: {duration: 600s}}}
  models:
  - {name: bad, provider: openAI, visibility: internal, params: {apiKey: k, hostOverride: "%s"}}
  - {name: good, provider: simulator, visibility: internal}
  virtualModels:
  - name: m
    routing: {failover: {targets: [{model: bad, priority: 0}, {model: good, priority: 1}]}}
"""


async def test_an_endpoint_that_one_worker_evicts_is_left_alone_by_all(serve):
    async with Upstream(reply(500, {"error": {"message": "not today"}})) as upstream:
        gateway = await serve(FAILING % upstream.address)
        await ready(gateway.urls["readiness"])
        assert [await ask(gateway.url) for _ in range(40)] == [200] * 40
        assert len(upstream.received) == 1
    async with httpx.AsyncClient() as client:
        text = (await client.get(gateway.urls["stats"] + "/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("agentgateway_endpoint_evicted{")]
    assert {line.partition('backend="')[2].partition('"')[0]: line[-2:] for line in lines} == {
        "openAI": " 1",
        "simulator": " 0",
    }
