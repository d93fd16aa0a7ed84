"""MCP servers to put behind the gateway, each a process of its own."""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from .npm import node

EVERYTHING = Path(__file__).with_name("everything")
_LISTENING = re.compile(r"listening on (\S.*)")
Peer = Callable[..., Awaitable[str]]


@asynccontextmanager
async def started(*command: str, env: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """What a server says it listens on; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **(env or {})},
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(30):
            async for line in process.stdout:
                said.append(line.decode())
                if found := _LISTENING.search(said[-1]):
                    break
            else:
                pytest.fail("".join(said))
        draining = asyncio.create_task(process.stdout.read())
        yield found[1]
        process.kill()
        await draining
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything() -> AsyncIterator[Peer]:
    """`await everything("stripped-schema")`: the URL of a server with these faults, one process for each set."""
    running: dict[tuple[str, ...], str] = {}
    async with AsyncExitStack() as stack:

        async def start(*faults: str) -> str:
            if faults not in running:
                options = [option for fault in faults for option in ("--fault", fault)]
                running[faults] = await stack.enter_async_context(started(sys.executable, str(EVERYTHING), *options))
            return running[faults]

        yield start


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def npm_everything() -> AsyncIterator[str]:
    """The URL of npm's `server-everything`, which speaks the older era only."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = node("@modelcontextprotocol/server-everything", "dist/index.js")
    async with started(*command, "streamableHttp", env={"PORT": str(port)}):
        yield f"http://127.0.0.1:{port}/mcp"
