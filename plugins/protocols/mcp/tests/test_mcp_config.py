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
from agentgateway_mcp.rules import McpAuthorization, McpAuthorizationConfig
from agentgateway_mcp.section import McpSection, McpSectionConfig
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


CONTRADICTIONS = """\
gateways: {default: {port: 0}}
mcp:
  gateways: default
  port: 4000
  allowedHosts: [app.example.com, "[::1]", "a:80"]
  allowedOrigins: ["https://app.example.com:8443", "null", app.example.com]
  targets:
  - name: a
    demo: {}
    tools:
      exclude: [add]
      edit:
        add: {name: x}
        echo: {name: y}
    prompts:
      include: ["a*"]
      edit:
        hello: {name: x y}
        another: {name: x y}
  - name: b
    demo: {}
    tools: {edit: {echo: {name: x y}}}
"""
WRONG = {
    "4: mcp.port: `port` is of a gateway of its own, and `gateways` names others",
    "5: mcp.allowedHosts[2]: not the name of a host",
    "6: mcp.allowedOrigins[2]: not an origin",
    "13: mcp.targets[0].tools.edit.add: this one is left out by `include` or `exclude`",
    "18: mcp.targets[0].prompts.edit.hello: this one is left out by `include` or `exclude`",
    "22: mcp.targets[1].tools.edit.echo.name: not written in the form that is needed here",
}


def test_what_contradicts_itself_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONTRADICTIONS)
    command = [Path(sys.executable).with_name("agentgateway"), "validate", file]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = refused.stderr.removeprefix("error: ").splitlines()
    assert {line.removeprefix(f"{file}:") for line in lines[::2]} == WRONG
    assert all(line.startswith("  hint: ") for line in lines[1::2])


@pytest.mark.parametrize(
    ("kind", "at", "said"),
    [
        ({"mcp": {"host": "http://x:81", "port": 82}}, "mcp.port", "`host` has another port"),
        ({"mcp": {"host": "x/mcp", "path": "/y"}}, "mcp.path", "`host` has another path"),
        ({"sse": {"host": "x:81/sse", "path": "/y"}}, "sse.path", "`host` has another path"),
        ({"stdio": {"cmd": "true", "env": {"A=sk-canary": "x"}}}, "stdio.env", "has a `=` in it"),
    ],
)
def test_what_contradicts_itself_in_a_kind_of_target(kind: dict[str, object], at: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as raised:
        backend({"name": "a", **kind})
    (error,) = raised.value.errors(include_input=False)
    assert ".".join(map(str, (*kind, *error["loc"]))) == at and error["ctx"]["hint"]
    assert "canary" not in str(error)


def test_what_is_said_twice_alike_is_no_contradiction() -> None:
    backend({"name": "a", "mcp": {"host": "http://x:81/y", "port": 81, "path": "/y"}})
    backend({"name": "a", "mcp": {"host": "http://x:81/y"}}, {"name": "b", "sse": {"host": "x", "path": "/y"}})


@pytest.mark.parametrize("rule", ['mcp.tol.name == "x"', 'mcp["tool"].nam == "x"', "has(mcp.promt)", "mcp.tool.name.x"])
def test_a_rule_that_names_what_there_is_not_is_refused(rule: str) -> None:
    host = LoopbackHost("mcp.policies.mcpAuthorization", "route")
    with pytest.raises(ConfigError, match="has no field"):
        McpAuthorization(McpAuthorizationConfig.model_validate({"rules": [{"deny": rule}]}), host)
    fine = ["mcp.tool.arguments.path.id == 1", "has(mcp.tool)", 'mcp.methodName.startsWith("x")', "mcp.task.name == ''"]
    McpAuthorization(McpAuthorizationConfig.model_validate({"rules": fine}), host)


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
        Seal(b"k" * 32, b"mcp"),
        Opened("2025-11-25", {"a": ("x", "2025-11-25")}, "jwt:ada", 1, "n", {"b": 1}),
    )
    text = seal.close(session)
    assert seal.open(text) == session
    assert "ada" not in text and seal.close(session) != text
    for forged in ("", "x", text[:-4], text[:-1] + ("A" if text[-1] != "A" else "B"), "é", text + "AAAA"):
        assert seal.open(forged) is None
    assert Seal(b"k" * 32, b"other").open(text) is None
    assert Seal(b"j" * 32, b"mcp").open(text) is None


def test_the_section_takes_what_a_backend_takes() -> None:
    """Every key of the backend, as it stands in the file, down to the route's own backend."""
    given = {
        "targets": [{"name": "a", "demo": {}, "tools": {"edit": {"add": {"pin": {"a": 1.5}}}}, "toolPinning": "admit"}],
        "prefixMode": "always",
        "failureMode": "failOpen",
        "statefulMode": "stateless",
        "sessionIdle": "90s",
        "sessionLifetime": "1h30m",
        "dnsRebindingProtection": False,
        "allowedHosts": ["app.example.com"],
        "allowedOrigins": ["https://app.example.com"],
        "toolPinning": False,
        "timeout": "250ms",
    }
    assert set(given) == {field.alias for field in McpConfig.model_fields.values()}
    section = McpSectionConfig.model_validate({**given, "port": 0, "policies": {}})
    ((made,),) = [route.backends for route in McpSection().lower(section, frozenset()).routes]
    assert McpConfig.model_validate(made.config) == McpConfig.model_validate(given)


def seal_of(*targets: object) -> Seal:
    return backend(*targets).seal


def test_a_seal_is_its_servers_wherever_they_stand() -> None:
    one, other = {"name": "one", "mcp": {"host": "http://h/a"}}, {"name": "other", "sse": {"host": "http://h/a"}}
    text = seal_of(one, other).close(Opened("2025-11-25", {}, "", 1))
    assert seal_of(other, one).open(text) is not None
    for moved in (
        (one,),
        (one, other, DEMO),
        (one, {**other, "name": "another"}),
        ({"name": "one", "mcp": {"host": "http://h/b"}}, other),
        ({"name": "one", "mcp": {"host": "https://h/a"}}, other),
        (one, {"name": "other", "mcp": {"host": "http://h/a"}}),
    ):
        assert seal_of(*moved).open(text) is None
    program = {"name": "p", "stdio": {"cmd": sys.executable, "args": ["one.py"]}}
    text = seal_of(program).close(Opened("2025-11-25", {}, "", 1))
    assert seal_of({"name": "p", "stdio": {"cmd": sys.executable, "args": ["two.py"]}}).open(text) is None
    assert seal_of(program).open(text) is not None
