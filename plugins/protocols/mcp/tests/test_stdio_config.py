"""What may stand below `stdio`."""

import os
import sys

import pytest
from agentgateway_mcp.stdio import Stdio, StdioConfig
from pydantic import ValidationError

from agentgateway.errors import ConfigError, ConnectFailed
from agentgateway.testing.hosts import LoopbackHost


def made(environ=None, **config):
    host = LoopbackHost("mcp.targets[0].stdio", "backend", environ or {"PATH": os.environ["PATH"]})
    return Stdio(StdioConfig.model_validate(config), host)


def test_a_program_is_looked_for_in_path(tmp_path):
    program = tmp_path / "server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert made({"PATH": str(tmp_path)}, cmd="server").endpoint == "server"
    assert made(cmd="server", env={"PATH": str(tmp_path)}).endpoint == "server"
    assert made(cmd="./server", cwd=str(tmp_path)).endpoint == "./server"
    assert made(cmd=str(program)).endpoint == str(program)


@pytest.mark.parametrize("cmd", ["no-such-program", "/no/such/program", "./no-such-program"])
def test_a_missing_program_is_a_config_error(cmd):
    with pytest.raises(ConfigError, match="is not found") as caught:
        made(cmd=cmd)
    assert caught.value.path == "mcp.targets[0].stdio.cmd"


def test_a_file_that_is_no_program_is_a_config_error(tmp_path):
    (tmp_path / "server").write_text("")
    with pytest.raises(ConfigError, match="is not executable"):
        made(cmd=str(tmp_path / "server"))


def test_the_references_spelling_is_read():
    assert StdioConfig.model_validate({"cmd": "x", "clear_env": True}).clear_env


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"cmd": ""},
        {"cmd": "x", "shell": True},
        {"cmd": "x", "args": "y"},
        {"cmd": "x", "env": {"A": 1}},
        {"cmd": "x", "cwd": "/no/such/folder"},
        {"cmd": "x", "clear_env": True, "clearEnv": True},
    ],
)
def test_what_cannot_be_meant_is_refused(wrong):
    with pytest.raises(ValidationError):
        StdioConfig.model_validate(wrong)


def test_an_environment_is_secret():
    config = StdioConfig.model_validate({"cmd": "x", "env": {"KEY": "canary"}})
    assert "canary" not in repr(config) + config.model_dump_json()
    with pytest.raises(ValidationError) as caught:
        StdioConfig.model_validate({"cmd": "x", "env": {"KEY": ["canary"]}})
    assert "canary" not in str(caught.value)


async def test_a_program_that_goes_away_is_an_error_when_it_is_started(tmp_path, tools):
    program = tmp_path / "server"
    program.symlink_to(sys.executable)
    server = made(cmd=str(program))
    program.unlink()
    with pytest.raises(ConnectFailed, match="cannot be started"):
        await tools.Client(server).open()
    await server.stop()
