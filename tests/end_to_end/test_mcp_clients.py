"""Real clients of MCP see through the gateway what they see without.

A client gets an order on its standard input, `{"mode": "legacy" or "auto", "visits": [[URL, steps], …]}`, and says on
its standard output, for each visit, what it negotiated and what came of each step: its name, its result or JSON-RPC
error, and what the server asked or told meanwhile. The clients are in `mcp_clients`.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

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
- matches: [{{path: {{pathPrefix: /sessions}}}}]
  backends: [{{mcp: {{targets: [{{name: everything, era: sessions, mcp: {{host: "{everything}"}}}}]}}}}]
- matches: [{{path: {{pathPrefix: /stateless}}}}]
  backends: [{{mcp: {{targets: [{{name: everything, era: stateless, mcp: {{host: "{everything}"}}}}]}}}}]
- matches: [{{path: {{pathPrefix: /npm}}}}]
  backends: [{{mcp: {{targets: [{{name: npm, mcp: {{host: "{npm}"}}}}]}}}}]
- matches: [{{path: {{pathPrefix: /children}}}}]
  backends:
  - mcp:
      targets:
      - {{name: two, stdio: {{cmd: {child[0]}, args: {child[1]}}}}}
      - {{name: time, stdio: {{cmd: {python}, args: ["-m", "mcp_server_time", "--local-timezone=UTC"]}}}}
      - {{name: git, stdio: {{cmd: {python}, args: ["-m", "mcp_server_git"], cwd: {repository}}}}}
- matches: [{{path: {{pathPrefix: /fetch}}}}]
  backends:
  - mcp:
      targets:
      - name: fetch
        era: stateless
        stdio: {{cmd: {python}, args: ["-m", "mcp_server_fetch", "--allow-private-ips"]}}
- matches: [{{path: {{pathPrefix: /three}}}}]
  backends:
  - mcp:
      targets:
      - {{name: one, era: stateless, mcp: {{host: "{everything}"}}}}
      - {{name: two, mcp: {{host: "{npm}"}}}}
      - {{name: time, stdio: {{cmd: {python}, args: ["-m", "mcp_server_time", "--local-timezone=UTC"]}}}}
"""

NAMES = ("everything", "npm", "children", "fetch", "three", "sessions", "stateless")

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
TIME: list[Step] = [
    ["call", "time_convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}],
]
GIT: list[Step] = [["call", "git_git_branch", {"repo_path": ".", "branch_type": "local"}]]
FETCHING = ("edge", "python", "auto")
"""Who has a page fetched, by a server that takes a second to start."""
PAGE = b"<html><body><article><h1>Trees</h1><p>An oak has acorns, and a beech has nuts.</p></article></body></html>"

CLIENTS: dict[str, tuple[list[str], str]] = {
    "python": ([sys.executable, str(HERE / "python_sdk.py")], ""),
    "python-1": ([sys.executable, str(HERE / "python_sdk_1.py")], "mcp-1"),
    "fastmcp": ([sys.executable, str(HERE / "fastmcps.py")], "fastmcp"),
    "typescript": ([], ""),
}
ERAS = [
    *(("edge", "python", "legacy"), ("edge", "python", "auto"), ("edge", "python-1", "legacy")),
    *(("edge", "fastmcp", "auto"), ("edge", "typescript", "legacy")),
]
CROSSING = (("edge", "python", "auto"), ("edge", "python-1", "legacy"), ("edge", "typescript", "legacy"))
"""Those that go every step at a server of the other era, too."""


async def follow(client: str, mode: str, visits: list[tuple[str, list[Step]]]) -> list[Any]:
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
    order = json.dumps({"mode": mode, "visits": visits}).encode()
    try:
        async with asyncio.timeout(90):
            said, errors = await process.communicate(order)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()[-5000:]
    return json.loads(said)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of git with the branch `trunk`."""
    folder = tmp_path_factory.mktemp("repository")
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    subprocess.run(["git", "init", "--quiet", "--initial-branch=trunk", str(folder)], check=True)
    commit = ("commit", "--quiet", "--allow-empty", "--message=first")
    subprocess.run(["git", "-C", str(folder), *author, *commit], check=True)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all, everything, npm_everything: str, repository: Path) -> AsyncIterator[dict[str, str]]:
    """URLs of servers, `…-direct`, and of the gateway in front of them."""
    direct = await everything()
    command, *arguments = node("@modelcontextprotocol/server-everything", "dist/index.js")
    child = json.dumps(command), json.dumps([*arguments, "stdio"])
    programs = {"child": child, "python": json.dumps(sys.executable), "repository": json.dumps(str(repository))}
    served = await serve_all(GATEWAY.format(everything=direct, npm=npm_everything, **programs))
    names = {name: f"http://127.0.0.1:{served.port}/{name}" for name in NAMES}
    yield {**names, "everything-direct": direct, "npm-direct": npm_everything}


def page(request: Received) -> bytes:
    found = request.target == "/trees"
    return reply(200, PAGE, headers={"content-type": "text/html"}) if found else reply(404, b"")


def heard_of(done: list[Any]) -> set[str]:
    """The kinds of what a server asked or told."""
    return {kind for _, _, heard in done for kind, *_ in heard}


def settled(done: list[Any]) -> list[Any]:
    """Without the question for roots that npm's server asks by itself at some time, and the line it logs then."""
    own = (["roots"], ["log", "info", "Roots updated: 1 root(s) received from client"])
    return [[name, result, [one for one in heard if one not in own]] for name, result, heard in done]


def same(direct: list[Any], through: list[Any]) -> None:
    for before, after in zip(direct, through, strict=True):
        assert after == before


def named(target: str, steps: list[Step]) -> list[Step]:
    """The steps that name something, by the names that it has in a federation."""
    marks = {"call": f"{target}_", "prompt": f"{target}_", "complete": f"{target}_", "read": f"{target}+"}
    return [[step, marks[step] + name, *given] for step, name, *given in (one for one in steps if one[0] in marks)]


def renamed(target: str, done: list[Any]) -> list[Any]:
    """What came of those steps at the server itself, with the URIs that its resources have in a federation."""
    kept = [one for one in done if one[0] in ("call", "prompt", "complete", "read")]
    return json.loads(re.sub(r'"uri": "(?=test:|demo:)', f'"uri": "{target}+', json.dumps(kept)))


def ageless(done: list[Any]) -> list[Any]:
    """Without what results have in one era only."""
    own = ("_meta", "ttlMs", "cacheScope")

    def without(result: Any) -> Any:
        return {key: one for key, one in result.items() if key not in own} if isinstance(result, dict) else result

    return [[name, without(result), heard] for name, result, heard in done]


def missing(done: list[Any], mode: str) -> list[Any]:
    """What came of asking for a resource that there is not, as the versions with sessions have it that were asked."""
    code = "-32602" if mode == "auto" else "-32002"
    told = re.sub(r'(?<="code": )-32602(?=, "message": "[^"]*Resource not)', code, json.dumps(done))
    return json.loads(told.replace("MCP error -32602: Resource not", f"MCP error {code}: Resource not"))


def hurried(client: str, done: list[Any]) -> list[Any]:
    """As far as a client hears it by the older transport: the TypeScript SDK forgets who wants to know of progress as
    soon as the answer is there, and both may have come at a time."""
    lost = "progress" if client == "typescript" else ""
    return [[name, result, [one for one in heard if one[0] != lost]] for name, result, heard in done]


def assert_names(three: list[Any], one: list[Any], two: list[Any]) -> None:
    """The lists of a federation have everything of its servers, each by its name there."""
    for (kind, merged, _), (_, first, _), (_, second, _) in zip(three, one, two, strict=True):
        key, mark = {"resources": ("uri", "+"), "templates": ("uriTemplate", "+")}.get(kind, ("name", "_"))
        expected = [
            f"{target}{mark}{thing[key]}" for target, part in (("one", first), ("two", second)) for thing in part
        ]
        expected += ["time_get_current_time", "time_convert_time"] if kind == "tools" else []
        assert [thing[key] for thing in merged] == expected


@pytest.mark.parametrize(("face", "client", "mode"), ERAS, indirect=["face"], scope="module")
async def test_a_client_sees_what_it_sees_without(front: dict[str, str], face: str, client: str, mode: str) -> None:
    steps = [LISTS, named("one", EVERYTHING), named("two", NPM)]
    visits = [
        *((front["everything-direct"], EVERYTHING), (front["everything"], EVERYTHING)),
        *((front["npm-direct"], NPM), (front["npm"], NPM)),
        (front["three"], [*(step for part in steps for step in part), *TIME]),
        (front["children"], [*named("two", NPM), *TIME, *GIT]),
        (
            front["sessions" if mode == "auto" else "stateless"],
            EVERYTHING if (face, client, mode) in CROSSING else LISTS,
        ),
        *([(f"{front['everything']}/sse", EVERYTHING)] if mode == "legacy" else []),
    ]
    everything, behind, npm, npm_behind, three, children, bridged, *streamed = await follow(client, mode, visits)
    spoken = "2026-07-28" if mode == "auto" else "2025-11-25"
    assert everything[0][0] == spoken
    same(everything, behind)
    for stream in streamed:
        same(hurried(client, everything), hurried(client, stream))

    able = dict(npm[0][1])
    if mode == "auto":  # tasks are an extension there
        del able["tasks"]
        able["extensions"] = {"io.modelcontextprotocol/tasks": {}}
    assert (npm[0][0], npm_behind[0]) == ("2025-11-25", [spoken, able, []])  # it knows sessions only
    assert {"roots"} <= heard_of(npm) - {"log"} == heard_of(npm_behind) - {"log"}
    same(settled(ageless(npm[1:])), settled(ageless(npm_behind[1:])))

    assert three[0][0] == spoken
    assert_names(three[1:5], everything[1:5], npm[1:5])
    asked = [*missing(renamed("one", everything), mode), *renamed("two", npm)]
    same(settled(ageless(asked)), settled(ageless(three[5:-1])))
    assert "+9.0h" in three[-1][1]["content"][0]["text"], three[-1]

    same(settled(ageless(renamed("two", npm))), settled(ageless(children[1:-2])))
    assert "+9.0h" in children[-2][1]["content"][0]["text"], children[-2]
    assert "trunk" in children[-1][1]["content"][0]["text"], children[-1]

    same(ageless(missing(everything[: len(bridged)], mode)), ageless(bridged))


@pytest.mark.parametrize(("face", "client", "mode"), [FETCHING], indirect=["face"], scope="module")
async def test_a_server_that_fetches_pages_fetches_one(
    front: dict[str, str], face: str, client: str, mode: str
) -> None:
    async with Upstream(page) as pages:
        url = f"{pages.url}/trees"
        steps: list[Step] = [["tools"], ["prompts"], ["call", "fetch", {"url": url}], ["prompt", "fetch", {"url": url}]]
        ((_, tools, prompts, called, prompted),) = await follow(client, mode, [(front["fetch"], steps)])
    assert [[one["name"] for one in listed] for _, listed, _ in (tools, prompts)] == [["fetch"], ["fetch"]]
    assert "An oak has acorns" in called[1]["content"][0]["text"], called
    assert "An oak has acorns" in prompted[1]["messages"][0]["content"]["text"], prompted
