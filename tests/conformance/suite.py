"""The official conformance suite, and what it finds."""

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .npm import node, there

PACKAGE = "@modelcontextprotocol/conformance"
WIRE = "wire-schema-valid"
UNSEEN = {"dns-rebinding-protection", "server-sse-multiple-streams", "server-stateless"}
"""The scenarios whose messages the suite does not see itself, so that it does not hold them against the schema."""
_FOLDER = re.compile(r"(?:server-)?(.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
_BAD = ("FAILURE", "WARNING")
SECONDS = 90


@dataclass(frozen=True)
class Check:
    """One thing that a scenario looked at."""

    id: str
    status: str
    said: str
    details: Any

    def __str__(self) -> str:
        return f"{self.id}: {self.status} {self.said} {json.dumps(self.details)[:1500]}"


@dataclass(frozen=True)
class Report:
    """`checks` by scenario; `code` is the suite's exit code, `said` what it printed."""

    checks: dict[str, list[Check]]
    code: int
    said: str

    def failed(self) -> dict[str, list[str]]:
        """By scenario, which of its checks did not succeed, and why."""
        bad = {name: [str(check) for check in checks if check.status in _BAD] for name, checks in self.checks.items()}
        return {name: found for name, found in bad.items() if found}

    def failures(self) -> set[tuple[str, str]]:
        """Scenario and check of what failed; what only warns is left out."""
        return {(name, one.id) for name, checks in self.checks.items() for one in checks if one.status == "FAILURE"}

    def held_against_the_schema(self) -> set[str]:
        """The scenarios in which every message of the server was found valid."""
        return {
            name
            for name, checks in self.checks.items()
            if any(check.id == WIRE and check.status == "SUCCESS" for check in checks)
        }


def required(revision: str, leg: str = "server") -> list[str]:
    """The scenarios that a revision of the protocol demands of a server or a client, by the suite's own list."""
    return list(yaml.safe_load(there(PACKAGE, f"requirements/{revision}.yaml").read_text())[leg])


async def run(url: str, revision: str, folder: Path) -> Report:
    """Every scenario of a revision against a server. `folder` is for the results, and empty."""
    return await _run(folder, "server", "--url", url, "--requirements", revision)


async def run_client(command: str, revision: str, folder: Path) -> Report:
    """Every scenario of a revision with a client, which is that command and the URL of a server."""
    return await _run(folder, "client", "--command", command, "--requirements", revision, "--timeout", "60000")


async def _run(folder: Path, *arguments: str) -> Report:
    command = [*node(PACKAGE, "dist/index.js"), *arguments, "-o", str(folder)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Report(_results(folder), process.returncode, said.decode())


def _results(folder: Path) -> dict[str, list[Check]]:
    found = {}
    for file in sorted(folder.glob("**/checks.json")):
        scenario = _FOLDER.fullmatch(file.parent.relative_to(folder).as_posix())
        assert scenario, file
        found[scenario[1]] = [
            Check(one["id"], one["status"], one.get("errorMessage", ""), one.get("details"))
            for one in json.loads(file.read_text())
        ]
    return found


if __name__ == "__main__":
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as results:
        report = asyncio.run(run(sys.argv[1], sys.argv[2], Path(results)))
    print(report.said)
    for scenario, checks in report.failed().items():
        print(scenario, *checks, sep="\n  ")
    sys.exit(report.code)
