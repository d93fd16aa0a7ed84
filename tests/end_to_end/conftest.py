"""A real server process for each test that asks for one, on ports the system chooses, and on both faces of HTTP/1.1."""

import asyncio
import os
import re
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from .zygote import LIMIT, Fork, Zygote

LISTENING = re.compile(r"listening on (https?)://(\S+) \((?:gateway )?([^)]+)\)")


@dataclass
class Served:
    """A running `agentgateway`. `url` is its first gateway's address, `log` what it has said so far."""

    process: asyncio.subprocess.Process | Fork
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
TWIN = """config:
  server: {edge: off}"""


@pytest.fixture(scope="module", params=["edge", "twin"])
def face(request: pytest.FixtureRequest) -> str:
    """Who reads HTTP/1.1: the edge, or Hypercorn for the ASGI twin."""
    return str(request.param)


WITH_ONE_FACE = {
    "azure",
    "bedrock",
    "bedrock_invoked",
    "circuits",
    "cost",
    "final_transformations",
    "google",
    "google_embeddings",
    "guard_matrix",
    "invoke_model",
    "jwt_sign",
    "kept_usage",
    "mcp_eras",
    "mcp_faults",
    "mcp_guardrails",
    "mcp_limits",
    "mcp_logins",
    "mcp_oauth",
    "mcp_openapi",
    "mcp_pins",
    "mcp_resumption",
    "mcp_sessions",
    "mcp_targets",
    "mcp_tasks",
    "mcp_workers",
    "older_sdks",
    "prompt_caching",
    "responses",
    "sdks_and_providers",
    "token_counts",
    "vertex",
}
"""Modules whose subject is behind the pipeline, where both faces are the same: they are tried with the edge."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out with the twin what is about vendors rather than HTTP; of the matrix, all but the core's own."""
    kept, left = [], []
    for item in items:
        params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        about = item.path.stem.removeprefix("test_")
        twice = about not in WITH_ONE_FACE and getattr(params.get("pair"), "with_both_faces", True)
        (kept if twice or params.get("face") != "twin" else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def on_face(face: str, config: str) -> str:
    """The configuration with that face, whatever else `config` says."""
    if face == "edge":
        return config
    twin = "config: {server: {edge: off}, " if re.search("^config: {", config, re.M) else TWIN
    return re.sub("^config: {|^config:$", twin, config, count=1, flags=re.M)


@pytest.fixture(scope="session")
def forks() -> Iterator[Zygote]:
    with closing(Zygote()) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def zygote(forks: Zygote) -> Zygote | None:
    """What the gateways of a module are forks of. One whose subject is the process says None: the executable."""
    return forks


@pytest.fixture
async def serve(tmp_path: Path, face: str, zygote: Zygote | None) -> AsyncIterator[Serve]:
    """`await serve(config)`: write the configuration, start the gateway, return when it is ready."""
    async with serving(tmp_path, face, zygote) as start:
        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serve_all(tmp_path_factory: pytest.TempPathFactory, face: str, zygote: Zygote | None) -> AsyncIterator[Serve]:
    """The same for one gateway that all tests of a module share: they and their fixtures run in the module's loop."""
    async with serving(tmp_path_factory.mktemp("gateway"), face, zygote) as start:
        yield start


@asynccontextmanager
async def serving(folder: Path, face: str, zygote: Zygote | None) -> AsyncIterator[Serve]:
    running: list[Served] = []
    number = count()

    async def start(
        config: str | Path, *, env: dict[str, str] | None = None, stdin: int | None = None, named: str = ""
    ) -> Served:
        """A configuration, or the file that has one. `named` is what the command line calls it."""
        if isinstance(config, str):
            text = textwrap.dedent(config)
            file = folder / f"gateway{next(number)}.yaml"
            file.write_text(on_face(face, text if re.search(r"^config:", text, re.M) else OFF + text))
        else:
            file = config
        clean = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
        environment = {**clean, **(env or {})}
        arguments = ("-f", named or str(file))
        if zygote is None or environment.get("PYTHONPATH") != os.environ.get("PYTHONPATH"):
            process = await executable(*arguments, env=environment, stdin=stdin)
        else:
            process = await zygote.start(*arguments, env=environment, stdin=stdin)
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


async def executable(*arguments: str, env: Mapping[str, str], stdin: int | None = None) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("agentgateway")),
        *arguments,
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=env,
        limit=LIMIT,
    )


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


@dataclass
class Load:
    """Clients that make so many calls each, one after the other, on connections they keep or on one for each call."""

    url: str
    clients: int = 8
    calls: int = 40
    keep: bool = True
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """What a test wants to happen meanwhile has happened: the last quarter of each client's calls waits for it."""

    async def run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self.clients)))

    async def reached(self, calls: int) -> None:
        """Wait until so many calls have ended, well or not."""
        async with asyncio.timeout(60):
            while self.answered + len(self.failures) < calls:
                await asyncio.sleep(0.01)

    async def _client(self, name: int) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if self.keep else 0)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            for number in range(self.calls):
                if number == self.calls * 3 // 4:
                    await self.over.wait()
                if failure := await self._call(client):
                    self.failures.append(f"client {name}: {failure}")
                else:
                    self.answered += 1

    async def _call(self, client: httpx.AsyncClient) -> str:
        """What went wrong."""
        try:
            answered = await client.post(self.url + "/v1/chat/completions", json=HELLO)
        except httpx.HTTPError as error:
            return repr(error)
        well = answered.status_code == 200 and answered.json()["choices"][0]["message"]["content"]
        return "" if well else f"{answered.status_code} {answered.text[:200]}"


HELLO = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def load() -> type[Load]:
    return Load


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as made:
        yield made
