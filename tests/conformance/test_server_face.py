"""The official conformance suite sees through the gateway what it sees without: servers pass, and broken ones fail."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import pytest

from . import suite

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

REQUIRED = {"2025-11-25": 30, "2026-07-28": 37}
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
    mcp: {{host: "{upstream}"}}
"""


async def behind(serve, upstream: str, protected: bool = True) -> str:
    """The URL of a gateway in front of one server."""
    served = await serve(CONFIG.format(upstream=upstream, protected=str(protected).lower()))
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
