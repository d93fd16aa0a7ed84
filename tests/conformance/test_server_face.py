"""The official conformance suite sees through the gateway what it sees without: servers pass, and broken ones fail."""

import asyncio
import json
from collections.abc import Collection, Iterable
from pathlib import Path

import httpx
import pytest

from . import suite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

MODERN = "2026-07-28"
REQUIRED = {"2025-11-25": 30, MODERN: 37}
ALSO = {
    "2025-11-25": {"json-schema-2020-12", "server-session-lifecycle", "server-sse-polling"},
    "2026-07-28": {"json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation"},
}
"""What the suite runs too but does not count."""


CONFIG = """
mcp:
  port: 0
  dnsRebindingProtection: {protected}
  targets:
  - name: everything
    era: {era}
    mcp: {{host: "{upstream}"}}
"""


async def names(url: str, kind: str) -> list[str]:
    """What a server's tools or prompts are called."""
    about = {"protocolVersion": MODERN, "clientCapabilities": {}}
    params = {"_meta": {f"io.modelcontextprotocol/{key}": value for key, value in about.items()}}
    message = {"jsonrpc": "2.0", "id": 1, "method": f"{kind}/list", "params": params}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN}
    async with httpx.AsyncClient(headers={**headers, "mcp-method": message["method"]}) as client:
        listed = await client.post(url, json=message)
    return [one["name"] for one in listed.json()["result"][kind]]


async def behind(serve, upstream: str, protected: bool = True, era: str = "auto") -> str:
    """The URL of a gateway in front of one server."""
    served = await serve(CONFIG.format(upstream=upstream, protected=str(protected).lower(), era=era))
    return f"http://127.0.0.1:{served.port}/mcp"


@pytest.mark.parametrize("revision", REQUIRED)
async def test_every_scenario_passes(everything, serve_all, tmp_path: Path, revision: str) -> None:
    wanted = set(suite.required(revision))
    assert len(wanted) == REQUIRED[revision]
    report = await suite.run(await behind(serve_all, await everything()), revision, tmp_path)
    failed = {name: said for name, said in report.failed().items() if name in wanted | ALSO[revision]}
    assert not failed, failed
    assert report.code == 0, report.said
    assert wanted | ALSO[revision] <= report.checks.keys()
    assert wanted - suite.UNSEEN <= report.held_against_the_schema()


ACROSS = {"2025-11-25": ("stateless", set()), MODERN: ("sessions", {"basic-elicitation", "ignore-extra-params"})}
"""The other era, and what is left of this one in front of it: a question has no name where it is a request."""


@pytest.mark.parametrize("face", ["edge"], indirect=True, scope="module")
@pytest.mark.parametrize("revision", ACROSS)
async def test_a_server_of_the_other_era_passes_too(everything, serve_all, tmp_path: Path, revision: str) -> None:
    era, beyond = ACROSS[revision]
    report = await suite.run(await behind(serve_all, await everything(), era=era), revision, tmp_path)
    wanted = set(suite.required(revision))
    failed = report.failed().keys() & (wanted | ALSO[revision])
    assert failed == {f"input-required-result-{name}" for name in beyond}, report.failed()
    assert wanted | ALSO[revision] <= report.checks.keys()
    assert wanted - suite.UNSEEN <= report.held_against_the_schema()


FEDERATION = """
mcp:
  port: 0
  targets:
  - name: other
    mcp: {{host: "{upstream}"}}
  - name: everything
    mcp: {{host: "{upstream}"}}
    tools: {{edit: {tools}}}
    prompts: {{edit: {prompts}}}
    resources: {{keep: ["test://*"]}}
"""


def unprefixed(names: Iterable[str]) -> str:
    """The edits that give things of one server the names that it gives them."""
    return json.dumps({name: {"name": name} for name in names})


@pytest.mark.parametrize("face", ["edge"], indirect=True, scope="module")
@pytest.mark.parametrize("revision", REQUIRED)
async def test_every_scenario_passes_beside_another_server(
    everything, serve_all, tmp_path: Path, revision: str
) -> None:
    upstream = await everything()
    tools, prompts = await names(upstream, "tools"), await names(upstream, "prompts")
    config = FEDERATION.format(upstream=upstream, tools=unprefixed(tools), prompts=unprefixed(prompts))
    url = f"http://127.0.0.1:{(await serve_all(config)).port}/mcp"
    assert await names(url, "tools") == [*(f"other_{name}" for name in tools), *tools]
    report = await suite.run(url, revision, tmp_path)
    wanted = set(suite.required(revision))
    failed = {name: said for name, said in report.failed().items() if name in wanted | ALSO[revision]}
    assert not failed, failed
    assert report.code == 0, report.said
    assert wanted | ALSO[revision] <= report.checks.keys()
    assert wanted - suite.UNSEEN <= report.held_against_the_schema()


ROUNDS = {
    *("basic-elicitation", "basic-list-roots", "basic-sampling", "capability-check", "missing-input-response"),
    *("multi-round", "multiple-input-requests", "non-tool-request", "request-state", "result-type"),
    *("tampered-state", "validate-input"),
}
CACHED = {"prompts-list", "resources-list", "resources-read-binary", "resources-read-text", "resources-templates-read"}
BROKEN = [
    {
        "no-dns-rebinding-protection": {"dns-rebinding-protection"},
        "stripped-schema": {"json-schema-2020-12"},
        "empty-contents": {"sep-2164-resource-not-found"},
        "broken-rounds": {f"input-required-result-{name}" for name in ROUNDS},
    },
    {
        "unsealed-state": {"input-required-result-tampered-state"},
        "no-caching-hints": {
            "caching",
            "tools-list",
            "json-schema-2020-12",
            "input-required-result-unsupported-methods",
        }
        | {"http-header-validation", "http-custom-header-server-validation"}
        | CACHED,
    },
]
"""What a server does wrong, and which scenarios fail for it; those of one server do not overlap."""


@pytest.mark.parametrize("face", ["edge"], indirect=True, scope="module")
async def test_what_a_server_does_wrong_is_not_papered_over(everything, serve_all, tmp_path: Path) -> None:
    async def report(number: int, faults: Collection[str]) -> suite.Report:
        protected = "no-dns-rebinding-protection" not in faults  # the gateway keeps strangers out by itself
        url = await behind(serve_all, await everything(*faults), protected)
        return await suite.run(url, "2026-07-28", tmp_path / str(number))

    reports = await asyncio.gather(*(report(number, faults) for number, faults in enumerate(BROKEN)))
    for found, faults in zip(reports, BROKEN, strict=True):
        failed = {name for name, _ in found.failures() if not name.startswith("tasks-")}
        assert failed == set().union(*faults.values()), found.failed()
