"""Reloads that nobody edits a file for: a signal, and the swap of a mounted ConfigMap under traffic."""

import asyncio
import os
import signal
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509

OFF = "config: {{server: {{edge: {edge}}}, adminAddr: off, statsAddr: off, readinessAddr: off}}"
CONFIG = """
gateways: {default: {port: 0, address: 127.0.0.1}}
llm: {gateways: default, models: [{name: m, provider: simulator}]}
"""

# --- SIGHUP ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def zygote() -> None:
    """Each gateway is the executable itself: the life of a process is what these tests are about."""


async def test_sighup_reloads_in_a_single_process_and_calls_go_on(serve, load):
    gateway = await serve(CONFIG)
    clients = load(gateway.url, clients=4, calls=40)
    running = asyncio.create_task(clients.run())
    for number in range(3):
        await clients.reached(30 * number)
        gateway.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(60):
            while gateway.log.count("configuration reloaded") <= number:
                await asyncio.sleep(0.01)
    clients.over.set()
    await running
    assert (clients.answered, clients.failures) == (4 * 40, [])
    assert await gateway.stop() == 0


async def test_sighup_finds_nothing_to_read_again_behind_standard_input(serve, load, face, tmp_path):
    (tmp_path / "piped.yaml").write_text(OFF.format(edge=face == "edge") + CONFIG)
    with (tmp_path / "piped.yaml").open("rb") as piped:
        gateway = await serve(CONFIG, stdin=piped.fileno(), named="-")
    gateway.process.send_signal(signal.SIGHUP)
    await gateway.told("standard input is read once")
    clients = load(gateway.url, clients=1, calls=2)
    clients.over.set()
    await clients.run()
    assert clients.failures == []


async def test_sighup_ends_a_process_whose_terminal_is_gone(serve):
    ours, theirs = os.openpty()
    gateway = await serve(CONFIG, stdin=theirs)
    os.close(theirs)
    gateway.process.send_signal(signal.SIGHUP)
    await gateway.told("configuration reloaded")
    os.close(ours)
    assert await gateway.stop(signal.SIGHUP) == 0


# --- files that go away ----------------------------------------------------------------------------------------------


async def test_a_file_that_is_gone_is_told_and_counted_and_calls_go_on(serve, load, tmp_path):
    key, stats = tmp_path / "key", tmp_path / "stats.sock"
    key.write_text("secret-of-one-caller")
    head = f"config: {{adminAddr: 'off', statsAddr: 'unix:{stats}', readinessAddr: 'off'}}"
    policies = "policies: {apiKey: {mode: optional, keys: [{key: {file: key}}]}}"
    gateway = await serve(head + CONFIG.replace("llm: {", f"llm: {{{policies}, "))
    config = gateway.file.read_text()
    for gone in (key, gateway.file):
        text, told = gone.read_text(), gateway.log.count("configuration refused")
        gone.unlink()
        async with asyncio.timeout(10):
            while gateway.log.count("configuration refused") == told:
                await asyncio.sleep(0.01)
        assert "No such file" in gateway.said[-1]
        clients = load(gateway.url, clients=1, calls=2)
        clients.over.set()
        await clients.run()
        assert clients.failures == []
        taken = gateway.log.count("configuration reloaded")
        gone.write_text(text)
        async with asyncio.timeout(10):
            while gateway.log.count("configuration reloaded") == taken:
                await asyncio.sleep(0.01)
    assert gateway.file.read_text() == config
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(stats))) as scraper:
        shown = (await scraper.get("http://stats/metrics")).text
    assert 'agentgateway_config_reloads_total{outcome="refused"} 2' in shown
    assert 'agentgateway_config_reloads_total{outcome="taken"} 2' in shown
    assert await gateway.stop() == 0


# --- a ConfigMap -----------------------------------------------------------------------------------------------------

AUTHORITY = trustme.CA()
CALLS = 40


class Mounted:
    """A folder as Kubernetes mounts it: each file a symlink through `..data`, which is swapped for a new revision
    (https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util#AtomicWriter)."""

    def __init__(self, folder: Path, *, edge: bool) -> None:
        self.folder = folder
        self.off = OFF.format(edge=edge)
        self.revisions = 0
        folder.mkdir()
        for name in ("gateway.yaml", "tls.crt", "tls.key"):
            (folder / name).symlink_to(Path("..data", name))

    def swap(self, route: str) -> int:
        """The serial number of the certificate that comes with it."""
        self.revisions += 1
        revision = self.folder / f"..revision-{self.revisions}"
        revision.mkdir()
        issued = AUTHORITY.issue_cert("localhost")
        (revision / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        (revision / "tls.key").write_bytes(issued.private_key_pem.bytes())
        (revision / "gateway.yaml").write_text(f"""
{self.off}
gateways: {{default: {{port: 0, address: 127.0.0.1, tls: {{cert: tls.crt, key: tls.key}}}}}}
routes:
  - {{name: steady, matches: [{{path: {{exact: /steady}}}}], backends: [{{internal: {{}}}}]}}
  - {{name: changing, matches: [{{path: {{exact: {route}}}}}], backends: [{{internal: {{}}}}]}}
""")
        (self.folder / "..data_tmp").symlink_to(revision.name)
        (self.folder / "..data_tmp").replace(self.folder / "..data")
        return x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()).serial_number


class Wire:
    """A TLS connection of its own, kept until closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.certificate = int(writer.get_extra_info("peercert")["serialNumber"], 16)

    @classmethod
    async def open(cls, port: int) -> "Wire":
        context = ssl.create_default_context()
        AUTHORITY.configure_trust(context)
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost"))

    async def ask(self, path: str) -> int:
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
        await self._reader.readexactly(length)
        return int(head.split()[1])

    def close(self) -> None:
        self._writer.transport.abort()


@dataclass
class Traffic:
    """One client that keeps its connection, and one with a new one for each request; so many requests each."""

    port: int
    kept: list[int] = field(default_factory=list)
    fresh: list[int] = field(default_factory=list)
    certificates: list[int] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """The change has been seen: the last quarter of the requests waits for it."""

    async def keep(self, wire: Wire) -> None:
        for number in range(CALLS):
            await self._gate(number)
            self.kept.append(await wire.ask("/steady"))

    async def renew(self) -> None:
        for number in range(CALLS):
            await self._gate(number)
            wire = await Wire.open(self.port)
            self.certificates.append(wire.certificate)
            self.fresh.append(await wire.ask("/steady"))
            wire.close()

    async def reached(self, calls: int) -> None:
        async with asyncio.timeout(60):
            while min(len(self.kept), len(self.fresh)) < calls:
                await asyncio.sleep(0.01)

    async def _gate(self, number: int) -> None:
        if number == CALLS * 3 // 4:
            await self.over.wait()


async def test_the_swap_of_a_configmap_changes_routes_and_certificates_under_traffic(serve, face, tmp_path):
    mounted = Mounted(tmp_path / "mounted", edge=face == "edge")
    first = mounted.swap("/old")
    gateway = await serve(mounted.folder / "gateway.yaml")
    wire, traffic = await Wire.open(gateway.port), Traffic(gateway.port)
    running = asyncio.gather(traffic.keep(wire), traffic.renew())
    await traffic.reached(10)
    second = mounted.swap("/new")
    await gateway.told("configuration reloaded")
    traffic.over.set()
    await running
    assert (traffic.kept, traffic.fresh) == ([200] * CALLS, [200] * CALLS)
    assert traffic.certificates[:10] == [first] * 10
    assert traffic.certificates[CALLS * 3 // 4 :] == [second] * (CALLS // 4)
    assert [await wire.ask(path) for path in ("/old", "/new", "/steady")] == [404, 200, 200]
    wire.close()
    assert await gateway.stop() == 0
