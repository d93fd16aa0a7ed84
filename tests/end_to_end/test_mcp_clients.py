"""Real clients of MCP see through the gateway what they see without.

A client gets an `Order` on its standard input, `{"urls": […], "mode": "legacy" or "auto", "steps": […]}`, and says on
its standard output, for each URL, what it negotiated and what came of each step: its name, its result or JSON-RPC
error, and what the server asked or told meanwhile. The clients are in `mcp_clients`.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ..conformance.npm import PACKAGES, node
from ..conformance.peers import everything, npm_everything

__all__ = ["everything", "npm_everything"]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

HERE = Path(__file__).with_name("mcp_clients")
BESIDE = Path(sys.prefix) / "beside"
Step = list[Any]

GATEWAY = """
config: {{adminAddr: "off", statsAddr: "off", readinessAddr: "off"}}
gateways: {{default: {{port: 0}}}}
routes:
- matches: [{{path: {{pathPrefix: /everything}}}}]
  backends: [{{mcp: {{targets: [{{name: everything, mcp: {{host: "{everything}"}}}}]}}}}]
- matches: [{{path: {{pathPrefix: /npm}}}}]
  backends: [{{mcp: {{targets: [{{name: npm, mcp: {{host: "{npm}"}}}}]}}}}]
- matches: [{{path: {{pathPrefix: /both}}}}]
  backends:
  - mcp:
      targets:
      - {{name: one, mcp: {{host: "{everything}"}}}}
      - {{name: two, mcp: {{host: "{everything}"}}}}
"""

LISTS: list[Step] = [["tools"], ["prompts"], ["resources"], ["templates"]]
EVERYTHING: list[Step] = [
    *LISTS,
    ["call", "test_simple_text", {}],
    ["call", "test_multiple_content_types", {}],
    ["call", "test_error_handling", {}],
    ["call", "no_such_tool", {}],
    ["call", "test_tool_with_progress", {}],
    ["call", "test_tool_with_logging", {}],
    ["call", "test_header_parameter", {"region": "Zürich "}],
    ["call", "test_sampling", {"prompt": "hi"}],
    ["call", "test_elicitation", {"message": "who?"}],
    ["call", "test_input_required_result_multi_round", {}],
    ["call", "test_input_required_result_list_roots", {}],
    ["call", "test_input_required_result_request_state", {}],
    ["read", "test://static-text"],
    ["read", "test://static-binary"],
    ["read", "test://template/7/data"],
    ["read", "test://none"],
    ["prompt", "test_prompt_with_arguments", {"arg1": "a", "arg2": "b"}],
    ["prompt", "test_input_required_result_prompt", {}],
    ["complete", "test_prompt_with_arguments", "arg1", "par"],
    ["change", "test_trigger_tool_change", {}, "notifications/tools/list_changed"],
    [
        *("change", "test_update_resource", {"uri": "test://watched-resource"}),
        *("notifications/resources/updated", "test://watched-resource"),
    ],
]
NPM: list[Step] = [
    *LISTS,
    ["call", "echo", {"message": "hello"}],
    ["call", "get-sum", {"a": 2, "b": 3}],
    ["call", "get-sum", {"a": "two"}],
    ["call", "get-tiny-image", {}],
    ["call", "get-structured-content", {"location": "Chicago"}],
    ["call", "get-resource-links", {"count": 2}],
    ["call", "trigger-long-running-operation", {"duration": 0.2, "steps": 2}],
    ["call", "trigger-sampling-request", {"prompt": "hi", "maxTokens": 5}],
    ["call", "get-roots-list", {}],
    ["prompt", "simple-prompt", {}],
    ["prompt", "args-prompt", {"city": "Paris", "state": "Texas"}],
    ["complete", "completable-prompt", "department", "E"],
    ["read", "demo://resource/static/document/features.md"],
]

CLIENTS: dict[str, tuple[list[str], str]] = {
    "python": ([sys.executable, str(HERE / "python_sdk.py")], ""),
    "python-1": ([sys.executable, str(HERE / "python_sdk_1.py")], "mcp-1"),
    "fastmcp": ([sys.executable, str(HERE / "fastmcps.py")], "fastmcp"),
    "typescript": ([], ""),
}
ERAS = [
    *(("python", "legacy"), ("python", "auto"), ("python-1", "legacy")),
    *(("fastmcp", "legacy"), ("fastmcp", "auto"), ("typescript", "legacy")),
]


async def follow(client: str, mode: str, urls: list[str], steps: list[Step]) -> list[Any]:
    """What a client sees at each URL."""
    command, beside = CLIENTS[client]
    if client == "typescript":
        command = [
            node("@modelcontextprotocol/sdk", "package.json")[0],
            str(HERE / "typescript.mjs"),
            str(PACKAGES.parent),
        ]
    folder = BESIDE / beside
    assert folder.is_dir(), f"{client} is not installed: run `make install`"
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **({"PYTHONPATH": str(folder)} if beside else {})},
    )
    order = json.dumps({"urls": urls, "mode": mode, "steps": steps}).encode()
    try:
        async with asyncio.timeout(90):
            said, errors = await process.communicate(order)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-5000:]
    return json.loads(said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all, everything, npm_everything: str) -> AsyncIterator[dict[str, str]]:
    """URLs of servers, `…-direct`, and of the gateway in front of them."""
    direct = await everything()
    served = await serve_all(GATEWAY.format(everything=direct, npm=npm_everything))
    names = {name: f"http://127.0.0.1:{served.port}/{name}" for name in ("everything", "npm", "both")}
    yield {**names, "everything-direct": direct, "npm-direct": npm_everything}


def same(direct: list[Any], through: list[Any]) -> None:
    for before, after in zip(direct, through, strict=True):
        assert after == before


def heard_of(done: list[Any]) -> set[str]:
    """The kinds of what a server asked or told."""
    return {kind for _, _, heard in done for kind, *_ in heard}


def settled(done: list[Any]) -> list[Any]:
    """Without the question for roots that npm's server asks by itself at some time, and the line it logs then."""
    own = (["roots"], ["log", "info", "Roots updated: 1 root(s) received from client"])
    return [[name, result, [one for one in heard if one not in own]] for name, result, heard in done]


@pytest.mark.parametrize(("client", "mode"), ERAS)
async def test_a_client_sees_what_it_sees_without(front: dict[str, str], client: str, mode: str) -> None:
    urls = [front["everything-direct"], front["everything"]]
    direct, through = await follow(client, mode, urls, EVERYTHING)
    assert direct[0][0] == ("2026-07-28" if mode == "auto" else "2025-11-25")
    same(direct, through)


@pytest.mark.parametrize(("client", "mode"), ERAS)
async def test_a_server_of_the_older_era_alone(front: dict[str, str], client: str, mode: str) -> None:
    direct, through = await follow(client, mode, [front["npm-direct"], front["npm"]], NPM)
    assert direct[0][0] == "2025-11-25"
    assert {"roots"} <= heard_of(direct) == heard_of(through)
    same(settled(direct), settled(through))
