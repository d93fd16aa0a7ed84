"""A real server process for each test that asks for one, on ports the system chooses."""

import asyncio
import os
import re
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

LISTENING = re.compile(r"listening on (https?)://(\S+) \((?:gateway )?([^)]+)\)")


@dataclass
class Served:
    """A running `agentgateway`. `url` is its first gateway's address, `log` what it has said so far."""

    process: asyncio.subprocess.Process
    file: Path
    urls: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    access: list[str] = field(default_factory=list)
    readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.urls.get("default") or next(iter(self.urls.values()))

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def log(self) -> str:
        return "".join(self.said)

    def memory(self) -> int:
        """Resident bytes."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rewrite(self, config: str) -> None:
        """Replace the configuration file, as an editor does."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(textwrap.dedent(config))
        fresh.replace(self.file)

    async def told(self, text: str, seconds: float = 10) -> None:
        """Wait until the log says so."""
        async with asyncio.timeout(seconds):
            while text not in self.log:
                await asyncio.sleep(0.01)

    async def logged(self, text: str, seconds: float = 10) -> str:
        """Wait for a line of the access log that contains the text."""
        async with asyncio.timeout(seconds):
            while True:
                for line in self.access:
                    if text in line:
                        return line
                await asyncio.sleep(0.01)

    async def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
            async with asyncio.timeout(seconds):
                await self.process.wait()
        for reader in self.readers:
            await reader
        assert self.process.returncode is not None
        return self.process.returncode


Serve = Callable[..., "asyncio.Future[Served]"]

OFF = """
config:
  adminAddr: "off"
  statsAddr: "off"
  readinessAddr: "off"
"""


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """`await serve(config)`: write the configuration, start the gateway, return when it is ready."""
    async with serving(tmp_path) as start:
        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serve_all(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serve]:
    """The same for one gateway that all tests of a module share: they and their fixtures run in the module's loop."""
    async with serving(tmp_path_factory.mktemp("gateway")) as start:
        yield start


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Serve]:
    running: list[Served] = []

    async def start(config: str, *, env: dict[str, str] | None = None) -> Served:
        text = textwrap.dedent(config)
        file = folder / f"gateway{len(running)}.yaml"
        file.write_text(text if re.search(r"^config:", text, re.M) else OFF + text)
        command = [str(Path(sys.executable).with_name("agentgateway")), "-f", str(file)]
        clean = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**clean, **(env or {})},
            limit=2**24,  # a reader that gives up on a long line would keep the process from ending
        )
        served = Served(process, file)
        running.append(served)
        ready = asyncio.Event()
        served.readers.append(asyncio.create_task(_messages(served, ready)))
        served.readers.append(asyncio.create_task(_access_log(served)))
        async with asyncio.timeout(20):
            await ready.wait()
        assert process.returncode is None and served.urls, served.log
        return served

    yield start
    for served in running:
        if served.process.returncode is None:
            served.process.kill()
        await served.process.wait()
        for reader in served.readers:
            await reader


async def _messages(served: Served, ready: asyncio.Event) -> None:
    assert served.process.stderr is not None
    async for raw in served.process.stderr:
        line = raw.decode()
        served.said.append(line)
        if found := LISTENING.search(line):
            served.urls[found[3]] = f"{found[1]}://{found[2]}"
        if line.rstrip().endswith((": ready", '"ready"}')):
            ready.set()
    ready.set()


async def _access_log(served: Served) -> None:
    assert served.process.stdout is not None
    async for raw in served.process.stdout:
        served.access.append(raw.decode())


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as made:
        yield made
