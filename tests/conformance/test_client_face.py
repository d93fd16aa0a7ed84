"""The official conformance suite as the server: through the gateway it sees a client that does what clients must."""

import asyncio
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from . import suite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

REQUIRED = {"2025-11-25": 18, "2026-07-28": 32}
ALSO = {"json-schema-2020-12-preservation"}
"""What the suite runs too but does not count."""
COMMAND = Path(__file__).with_name("client_command.py")
ROOT = COMMAND.parents[2]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def command(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """What the suite starts for each scenario: it asks one client that runs all the time."""
    folder = tmp_path_factory.mktemp("client")
    there, script = folder / "socket", folder / "client"
    words = shlex.join((sys.executable, "-I", "-S", str(COMMAND), str(there)))
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')  # the suite takes every blank for the end of a word
    script.chmod(0o755)
    client = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.conformance.client_face", "--serve", str(there)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert client.stdin is not None and client.stdout is not None
    try:
        assert b"listening" in await asyncio.wait_for(client.stdout.readline(), 60)
        yield str(script)
        client.stdin.close()
        assert await asyncio.wait_for(client.wait(), 30) == 0
    finally:
        with suppress(ProcessLookupError):
            client.kill()


@pytest.mark.parametrize("revision", REQUIRED)
async def test_every_scenario_passes(command: str, tmp_path: Path, revision: str) -> None:
    wanted = set(suite.required(revision, "client"))
    assert len(wanted) == REQUIRED[revision]
    report = await suite.run_client(command, revision, tmp_path)
    failed = {name: said for name, said in report.failed().items() if name in wanted | ALSO}
    assert not failed, failed
    assert report.code == 0, report.said
    assert wanted | ALSO <= report.checks.keys()
