"""The admin ports, as curl and Prometheus see them."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from agentgateway._host.admin import is_local
from agentgateway._host.admin_ports import AdminPorts, OwnView
from agentgateway._host.sockets import CannotListen
from agentgateway._host.static_config import StaticConfig


@pytest.fixture
async def ports(make_runtime, caplog) -> AsyncIterator[Callable[..., Any]]:
    """Starts the admin ports of a fake runtime; gives the runtime and a URL for each port."""
    caplog.set_level("INFO")
    made: list[AdminPorts] = []

    def start(**settings: Any) -> tuple[Any, dict[str, str]]:
        given = {f"{name}Addr": "127.0.0.1:0" for name in ("admin", "stats", "readiness")} | settings
        runtime = make_runtime()
        made.append(AdminPorts(StaticConfig(**given)))
        made[-1].open()
        made[-1].serve(OwnView(runtime), aside=True)
        lines = [record.getMessage().split() for record in caplog.records if "listening" in record.getMessage()]
        return runtime, {words[3].strip("()"): words[2] for words in lines}

    yield start
    for one in made:
        await one.close()


async def test_readiness_follows_the_runtime_and_liveness_does_not(ports):
    runtime, urls = ports()
    async with httpx.AsyncClient(base_url=urls["readiness"]) as client:
        assert (await client.get("/healthz/ready")).status_code == 503
        runtime.ready = True
        assert (await client.get("/healthz/ready")).text == "ready\n"
        runtime.draining = True
        assert (await client.get("/healthz/ready")).status_code == 503
        assert (await client.get("/healthz/live")).status_code == 200
        assert (await client.get("/other")).status_code == 404


@pytest.mark.parametrize("path", ["/metrics", "/stats/prometheus"])
async def test_metrics_are_shown_in_either_format(ports, path):
    runtime, urls = ports()
    runtime.metrics.counter("agentgateway_requests_total", "Requests.", ("route",)).add(("one",))
    async with httpx.AsyncClient(base_url=urls["stats"]) as client:
        plain = await client.get(path)
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        (family,) = text_string_to_metric_families(plain.text)
        assert (family.name, family.samples[0].value) == ("agentgateway_requests", 1)
        rich = await client.get(path, headers={"accept": "application/openmetrics-text; version=1.0.0"})
        assert rich.headers["content-type"].startswith("application/openmetrics-text")
        (family,) = openmetrics_families(rich.text)
        assert family.samples[0].labels == {"route": "one"}


@pytest.mark.parametrize("path", ["/metrics", "/healthz/ready"])
async def test_probes_are_only_read(ports, path):
    runtime, urls = ports()
    runtime.ready = True
    url = urls["stats" if path == "/metrics" else "readiness"] + path
    async with httpx.AsyncClient() as client:
        whole, head = await client.get(url), await client.head(url)
        assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(whole.content)))
        refused = await client.post(url, content=b"x" * 1000)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_what_is_only_for_people_is_imported_when_one_asks():
    """Idle memory is what every sidecar pays."""
    script = """
import asyncio, sys, httpx
from types import SimpleNamespace
from agentgateway._host.admin_ports import AdminPorts
from agentgateway._host.static_config import StaticConfig

async def dump(): return {"config": {}}
async def snapshot(): return []
view = SimpleNamespace(ready=lambda: True, dump=dump, snapshot=snapshot, set_level=None)

async def main():
    ports = AdminPorts(StaticConfig(**{f"{name}Addr": f"unix:{sys.argv[1]}/{name}" for name in NAMES}))
    ports.open()
    ports.serve(view, aside=True)
    for name, path in zip(NAMES, ("/healthz/ready", "/metrics", "/config_dump")):
        transport = httpx.AsyncHTTPTransport(uds=f"{sys.argv[1]}/{name}")
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = await asyncio.gather(client.get(path), client.get(path))
        print(name, *[answer.status_code for answer in answers], "quart" in sys.modules)
    await ports.close()

NAMES = ("readiness", "stats", "admin")
asyncio.run(main())
"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["readiness 200 200 False", "stats 200 200 False", "admin 200 200 True"], done


async def test_the_configuration_is_dumped(ports):
    _, urls = ports()
    async with httpx.AsyncClient(base_url=urls["admin"]) as client:
        assert (await client.get("/config_dump")).json() == {"config": {"ports": [0]}}


async def test_the_level_of_log_messages_can_be_changed_and_reset(ports):
    _, urls = ports(logging={"level": "warn"})
    before = logging.getLogger().level
    try:
        async with httpx.AsyncClient(base_url=urls["admin"]) as client:
            assert (await client.get("/logging?level=error")).json() == {"level": "warn"}
            assert (await client.post("/logging?level=debug")).json() == {"level": "debug"}
            assert logging.getLogger().level == logging.DEBUG
            assert (await client.get("/logging")).json() == {"level": "debug"}
            assert (await client.post("/logging?level=loud")).status_code == 400
            assert (await client.post("/logging?reset")).json() == {"level": "warn"}
            assert logging.getLogger().level == logging.WARNING
    finally:
        logging.getLogger().setLevel(before)


async def test_a_web_page_cannot_reach_the_admin_port_by_a_name_of_its_own(ports):
    _, urls = ports()
    async with httpx.AsyncClient(base_url=urls["admin"]) as client:
        assert (await client.get("/config_dump", headers={"host": "attacker.test"})).status_code == 403
        origin = {"origin": "https://attacker.test"}
        assert (await client.post("/logging?level=debug", headers=origin)).status_code == 403
        host = urls["admin"].removeprefix("http://")
        assert (await client.get("/logging", headers={"origin": f"http://{host}"})).status_code == 200


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("localhost:1", True), ("127.0.0.1:1", True), ("127.9.9.9", True), ("[::1]:1", True)]
    + [("", False), ("localhost.attacker.test", False), ("10.0.0.1", False), ("127.0.0.1.attacker.test", False)],
)
def test_local_names_are_told_from_others(host, local):
    assert is_local(host) is local


async def test_ports_may_be_off_or_unix_sockets(ports, tmp_path):
    _, urls = ports(adminAddr=f"unix:{tmp_path}/admin.sock", statsAddr="off")
    assert set(urls) == {"readiness", "admin"}
    transport = httpx.AsyncHTTPTransport(uds=f"{tmp_path}/admin.sock")
    async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
        assert (await client.get("/config_dump")).status_code == 200


async def test_two_ports_at_one_address_are_a_clear_error(ports, unused_tcp_port):
    address = f"127.0.0.1:{unused_tcp_port}"
    with pytest.raises(CannotListen, match="address already in use"):
        ports(adminAddr=address, statsAddr=address)


async def test_a_client_that_keeps_its_connection_does_not_delay_the_end(ports):
    _, urls = ports()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(urls["stats"].rpartition(":")[2]))
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
