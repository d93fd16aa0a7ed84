"""What a section `mcp` may say, and what is refused with its place."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from agentgateway_mcp.config import McpConfig
from agentgateway_mcp.naming import Names
from agentgateway_mcp.pins import ToolPinning
from agentgateway_mcp.plugin import McpBackend
from agentgateway_mcp.sessions import Opened, Seal
from pydantic import ValidationError

from agentgateway.errors import ConfigError
from agentgateway.testing import LoopbackHost

DEMO = {"name": "a", "demo": {}}


def backend(*targets: object, **more: object) -> McpBackend:
    return McpBackend(McpConfig.model_validate({"targets": list(targets), **more}), LoopbackHost("mcp", "backend"))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([], "at least 1"),
        ([{"name": "a"}], "exactly one kind"),
        ([{"name": "a", "demo": {}, "mcp": {"host": "x"}}], "exactly one kind"),
        ([{"name": "a_b", "demo": {}}], "name"),
        ([DEMO, DEMO], "two targets are called `a`"),
        ([DEMO | {"tools": {"edit": {"add": {"name": "x"}, "echo": {"name": "x"}}}}], "two tools are called `x`"),
    ],
)
def test_targets_that_cannot_be_meant(targets: list[object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        backend(*targets)


def test_a_name_that_is_taken_is_shown_where_it_stands_again() -> None:
    edit = {"add": {"name": "x"}, "echo": {"name": "x"}}
    with pytest.raises(ValidationError) as raised:
        backend(DEMO, DEMO, {"name": "b", "demo": {}, "tools": {"edit": edit}}, DEMO | {"prompts": {"edit": edit}})
    assert [".".join(map(str, one["loc"])) for one in raised.value.errors()] == [
        "targets.1.name",
        "targets.2.tools.edit.echo.name",
        "targets.3.name",
        "targets.3.prompts.edit.echo.name",
    ]


def edited(name: str, own: str, given: str, **more: object) -> object:
    return {"name": name, "demo": {}, "tools": {"edit": {own: {"name": given}}, **more}}


@pytest.mark.parametrize(
    ("targets", "mode", "said"),
    [
        ([DEMO, edited("b", "add", "a_echo")], "conditional", "`a_echo` is what clients call `echo` of target `a`"),
        ([DEMO, edited("b", "add", "b_echo")], "conditional", None),
        ([DEMO, edited("b", "add", "b_echo", include=["add", "echo"])], "conditional", "call `echo` of target `b`"),
        ([edited("a", "echo", "say"), edited("b", "add", "a_echo")], "conditional", None),
        ([DEMO | {"tools": {"exclude": ["e*"]}}, edited("b", "add", "a_echo")], "conditional", None),
        ([DEMO, edited("b", "add", "a_echo", exclude=["add"])], "conditional", None),
        ([DEMO, edited("b", "add", "echo")], "never", None),
        ([DEMO | {"tools": {"edit": {"echo": {}}}}, edited("b", "add", "echo")], "never", "`echo` of target `a`"),
        ([edited("b", "add", "add")], "conditional", None),
        ([DEMO | {"prompts": {"edit": {"echo": {}}}}, edited("b", "add", "echo")], "never", None),
    ],
)
def test_a_name_that_another_thing_has_is_refused_where_the_file_tells(
    targets: list[object], mode: str, said: str | None
) -> None:
    if said is None:
        backend(*targets, prefixMode=mode)
        return
    with pytest.raises(ValidationError, match=said) as raised:
        backend(*targets, prefixMode=mode)
    (error,) = raised.value.errors()
    assert error["loc"] == ("targets", len(targets) - 1, "tools", "edit", "add", "name")


def test_an_era_that_a_kind_does_not_have_stops_the_start(tmp_path: Path) -> None:
    old = {"name": "old", "sse": {"host": "http://127.0.0.1:9"}, "era": "stateless"}
    file = tmp_path / "gateway.yaml"
    file.write_text(f"mcp:\n  port: 0\n  targets:\n  - {json.dumps(DEMO)}\n  - {json.dumps(old)}\n")
    command = [Path(sys.executable).with_name("agentgateway"), "validate", file]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    first, hint = refused.stderr.splitlines()
    assert first == f"error: {file}:5: mcp.targets[1].era: servers of kind `sse` know versions with sessions only"
    assert hint.startswith("  hint: leave `era` out")
    file.write_text(file.read_text().replace("stateless", "sessions"))
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("given", "mode"),
    [(False, "off"), ("off", "off"), ("admit", "admit"), ({"mode": False}, "off"), ({}, "quarantine")],
)
def test_a_mode_of_pinning_may_stand_alone_and_off_is_no_false(given: object, mode: str) -> None:
    assert ToolPinning.model_validate(given).mode == mode


def test_policies_where_no_request_is() -> None:
    with pytest.raises(ConfigError, match="no HTTP request that policies could edit") as raised:
        backend({**DEMO, "policies": {"backendAuth": {"key": "x"}}})
    assert raised.value.path == "mcp.targets[0].policies"


@pytest.mark.parametrize(
    "policy",
    [
        {"mcpAuthorization": {"rules": ["true"]}},
        {"authorization": {"rules": ["true"]}},
        {"promptGuard": {"request": [{"regex": {"rules": [{"builtin": "email"}]}}]}},
    ],
    ids=lambda policy: next(iter(policy)),
)
def test_what_decides_about_clients_messages_does_not_stand_on_a_target(policy: object, tmp_path: Path) -> None:
    target = {"name": "a", "mcp": {"host": "http://127.0.0.1:9"}, "policies": policy}
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps({"mcp": {"port": 0, "targets": [target]}}))
    command = [Path(sys.executable).with_name("agentgateway"), "validate", file]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "mcp.targets[0].policies" in refused.stderr and "would never be asked on the target `a`" in refused.stderr


def names(**more: object) -> Names:
    return backend(DEMO, {"name": "b", "demo": {}, "resources": {"keep": ["own://*"]}}, **more).names


@pytest.mark.parametrize("wanted", [7, -7, "seven", "agw_a_n_7", "", "_"])
def test_ids_of_servers_come_back_as_they_were(wanted: str | int) -> None:
    assert names().inward_id(names().outward_id("b", wanted)) == ("b", wanted)


@pytest.mark.parametrize("given", [7, "7", "agw_c_n_7", "agw_a_n_x", "agw_a_n_", "agw_a"])
def test_ids_that_no_server_gave_are_nobodys(given: str | int) -> None:
    assert names().inward_id(given)[0] is None


@pytest.mark.parametrize("uri", ["file:///x+y", "mailto:a", "ui://page", "own://x"])
def test_uris_come_back_as_they_were(uri: str) -> None:
    outward = names().outward_uri("b", uri)
    assert (outward == uri) is uri.startswith("own")
    assert names().inward_uri(outward) == ("b", uri)


def test_a_seal_opens_what_it_closed_and_nothing_else() -> None:
    seal, session = (
        Seal(b"k" * 32, "mcp"),
        Opened("2025-11-25", {"a": ("x", "2025-11-25")}, "jwt:ada", 1, "n", {"b": 1}),
    )
    text = seal.close(session)
    assert seal.open(text) == session
    assert "ada" not in text and seal.close(session) != text
    for forged in ("", "x", text[:-4], text[:-1] + ("A" if text[-1] != "A" else "B"), "é", text + "AAAA"):
        assert seal.open(forged) is None
    assert Seal(b"k" * 32, "other").open(text) is None
    assert Seal(b"j" * 32, "mcp").open(text) is None
