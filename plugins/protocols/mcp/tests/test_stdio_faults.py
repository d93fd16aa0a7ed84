"""What a child may do wrong, and how it ends."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from agentgateway_mcp import child as child_module
from agentgateway_mcp.warden import WARDEN

from agentgateway.errors import UpstreamTimeout


@pytest.fixture
def make(stdio, tools):
    async def make(*arguments, **config):
        client = tools.Client(await stdio(*arguments, **config))
        await client.open()
        return client

    return make


@pytest.fixture
async def client(make):
    return await make()


async def test_a_crash_is_an_error_at_once_and_the_session_is_gone(client, tools):
    held = await client.send("hold", {}, 1)
    listening = await client.ask(None, "listen")
    (crashed,) = await tools.read(await client.send("crash", {}, 2))
    assert crashed["error"] == {"code": -32603, "message": "the server ended with exit code 9"}
    assert [message["id"] for message in await tools.read(held)] == [1]
    assert await tools.read(listening) == []
    assert (await client.send("echo", {}, 3)).status == 404
    assert (await client.ask(None, "listen")).status == 404
    await client.open()
    assert await client.call("echo", {}, 3) == {}


async def test_a_killed_child_is_an_error_that_says_so(client, tools):
    held = await client.send("hold", {}, 1)
    os.kill(client.opened["result"]["pid"], signal.SIGKILL)
    assert (await tools.read(held))[0]["error"]["message"] == "the server was ended by SIGKILL"


async def test_a_child_that_closes_its_output_is_ended(client, tools):
    (message,) = await tools.read(await client.send("mute", {}, 1))
    assert message["error"]["message"] == "the server closed its output"
    await tools.gone(client.opened["result"]["pid"])


async def test_garbage_is_logged_and_ignored(client, caplog):
    garbage = ["hello\n", "\n", "{]\n", "[1, 2]\n", "\xff\xfe\n", '{"no": "message"}\n', "\x1b[31mred\n"]
    await client.send("raw", {"pieces": garbage}, 1)
    assert await client.call("echo", {}, 2) == {}
    assert "targets[0].stdio said what is no message: hello" in caplog.text
    assert "?[31mred" in caplog.text and "\x1b" not in caplog.text


async def test_a_line_above_the_limit_ends_the_child(client, tools):
    (message,) = await tools.read(await client.send("huge", {"megabytes": 4}, 1))
    assert message["error"]["message"] == "the server sent a message above the limit"
    await tools.gone(client.opened["result"]["pid"])


async def test_a_line_below_the_limit_is_no_trouble(client):
    text = "x" * (1024 * 1024)
    assert await client.call("echo", {"text": text}) == {"text": text}


async def test_a_message_may_come_byte_by_byte(client, tools):
    assert await client.call("bytewise") == {"text": "häß€𝄞\n"}


async def test_a_message_may_come_cut_anywhere(client, tools):
    text = '{"jsonrpc":"2.0","id":1,"result":"h\xc3\xa4"}\r\n'
    for cut in range(1, len(text)):
        answer = await client.send("raw", {"pieces": [text[:cut], text[cut:]], "pause": 0.002}, 1)
        assert await tools.read(answer) == [{"jsonrpc": "2.0", "id": 1, "result": "hä"}]


async def test_line_feeds_in_a_message_do_not_break_it(client, tools):
    exchange = tools.asking({"id": 1, "method": "echo", "params": {"a": "b\nc"}}, session=client.session)
    exchange.call.message = b'{"jsonrpc": "2.0",\r\n "id": 1,\n "method": "echo",\n "params": {"a": "b\\nc"}}\n'
    answer = await client.server.send(exchange)
    assert (await tools.read(answer))[0]["result"] == {"a": "b\nc"}


async def test_a_child_that_does_not_read_times_out_and_holds_no_more_than_a_bound(client, tools, monkeypatch):
    monkeypatch.setattr(child_module, "WRITE_WITHIN", 0.3)
    await client.call("deaf", {"seconds": 2})
    asked = [client.send("echo", {"text": "x" * 100_000}, f"n{number}") for number in range(20)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in found if isinstance(one, UpstreamTimeout)]
    assert len(refused) >= 16 and not any(one.sent for one in refused)
    answered = [one for one in found if not isinstance(one, Exception)]
    for answer in answered:
        assert len(await tools.read(answer)) == 1
    assert await client.call("echo", {}, "after") == {}


async def test_stderr_is_in_the_log_line_by_line(client, caplog, tools):
    caplog.set_level(logging.INFO)
    await client.call("stderr", {"text": "one\ntwo \x1b[1m\n\nthree"})
    await client.ask(None, "end")
    await tools.until(lambda: "three" in caplog.text)
    said = [record.getMessage() for record in caplog.records if "stderr" in record.getMessage()]
    assert said == [f"targets[0].stdio stderr: {text}" for text in ("one", "two ?[1m", "three")]


async def test_stderr_floods_neither_log_nor_memory(client, caplog):
    caplog.set_level(logging.INFO)
    await client.call("stderr", {"text": "x" * 300_000 + "\n" + "short\n" * 5000})
    said = [record.getMessage() for record in caplog.records]
    assert "targets[0].stdio stderr: (a line of 300000 bytes)" in said
    assert len(said) < 200 and max(map(len, said)) < 1100


async def test_no_variable_of_the_gateways_but_the_harmless_reaches_a_child(make, host, monkeypatch):
    for name in ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "SESSION_KEY", "LD_PRELOAD", "PYTHONPATH", "HTTP_PROXY"):
        host._environ[name] = "canary"
        monkeypatch.setenv(name, "canary" if name != "LD_PRELOAD" else "")
    host._environ.update(LANG="de_DE.UTF-8", LC_TIME="C", TMPDIR="/tmp")
    client = await make(env={"MINE": "yes", "EMPTY": ""})
    environment = (await client.call("me"))["env"]
    assert "canary" not in str(environment)
    assert environment["MINE"] == "yes" and environment["EMPTY"] == "" and environment["LC_TIME"] == "C"
    assert set(environment) <= {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "TZ", "LANG", "LANGUAGE",
                                "LC_TIME", "LC_ALL", "LC_CTYPE", "MINE", "EMPTY"}  # fmt: skip


async def test_nothing_that_the_gateway_has_open_reaches_a_child(make):
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        client = await make()
        assert [link for link in (await client.call("open")) if str(writing) == link] == []
        assert len(await client.call("open", id=2)) <= 4  # and the folder that it looks into
    finally:
        os.close(reading)
        os.close(writing)


async def test_a_cleared_environment_has_nothing_else(make):
    client = await make(env={"MINE": "yes"}, clearEnv=True)
    assert set((await client.call("me"))["env"]) <= {"MINE", "LC_CTYPE"}  # which Python sets itself


async def test_a_credential_is_in_no_log_line_and_no_repr(make, caplog, tools):
    caplog.set_level(logging.DEBUG)
    client = await make(env={"API_KEY": "canary-7d1f", "PEM": "-----\ncanary-line\n-----\n"})
    text = "key canary-7d1f\n" + "x" * 995 + " canary-7d1f\n" + "canary-line\n"
    await client.call("stderr", {"text": text})
    await client.send("raw", {"pieces": ["canary-7d1f\n"]}, 1)
    await client.call("echo", {}, 2)
    await tools.read(await client.send("crash", {}, 3))
    assert "key ***" in caplog.text and "canary" not in caplog.text
    server = client.server
    assert "canary" not in repr(server._launch) + repr(server.config) + server.config.model_dump_json()


async def test_it_runs_in_its_folder_and_in_a_group_of_its_own(make, tmp_path):
    client = await make(cwd=str(tmp_path))
    me = await client.call("me")
    assert me["cwd"] == str(tmp_path.resolve()) and me["group"] == me["pid"] != os.getpgid(0)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_what_a_child_has_started_ends_with_it(client, tools, stubborn, monkeypatch):
    monkeypatch.setattr(child_module, "AFTER_TERM", 0.3)
    pid = (await client.call("offspring", {"stubborn": stubborn}))["pid"]
    await client.ask(None, "end")
    await tools.gone(pid)


async def test_what_a_crashed_child_has_started_ends_too(client, tools):
    pid = (await client.call("offspring"))["pid"]
    os.kill(client.opened["result"]["pid"], signal.SIGKILL)
    await tools.gone(pid)
    assert (await client.send("echo", {}, 1)).status == 404


async def test_a_child_that_listens_to_nobody_is_killed_and_leaves_no_zombie(client, tools, monkeypatch):
    monkeypatch.setattr(child_module, "AFTER_CLOSE", 0.1)
    monkeypatch.setattr(child_module, "AFTER_TERM", 0.1)
    await client.call("stubborn")
    await client.server.stop()
    pid = client.opened["result"]["pid"]
    assert not Path(f"/proc/{pid}").exists()


async def test_a_stop_ends_every_session_at_the_same_time(stdio, tools):
    server = await stdio()
    clients = [tools.Client(server) for _ in range(8)]
    await asyncio.gather(*(client.open() for client in clients))
    held = await clients[0].send("hold", {}, 1)
    await server.stop()
    assert (await tools.read(held))[0]["error"]["message"] == "the server was stopped"
    assert not any(Path(f"/proc/{client.opened['result']['pid']}").exists() for client in clients)


async def test_a_stop_without_a_start_is_nothing_special(stdio):
    server = await stdio()
    await server.stop()
    await server.stop()


# The gateway itself is killed.

GATEWAY = """
import asyncio, os, sys
from agentgateway.testing.exchanges import http
from agentgateway.testing.hosts import LoopbackHost
from agentgateway_mcp.servers import Ask
from agentgateway_mcp.stdio import Stdio, StdioConfig
from agentgateway_mcp.warden import WARDEN
from pydantic_core import from_json, to_json

async def main():
    config = StdioConfig(cmd=sys.executable, args=["-S", sys.argv[1]])
    server = Stdio(config, LoopbackHost("t", "backend", dict(os.environ)))
    await server.start()
    async def ask(id, method, session=None, **params):
        exchange = http("POST", "/")
        document = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
        exchange.call = Ask("send", to_json(document), document, "2025-11-25", session)
        return await server.send(exchange)
    opened = await ask(0, "initialize")
    offspring = await ask(1, "offspring", opened.session)
    answers = opened.whole, (await anext(offspring.messages)).data
    pids = [from_json(answer)["result"]["pid"] for answer in answers]
    await ask(2, "stubborn", opened.session)
    print(*pids, WARDEN.pid, flush=True)
    await asyncio.sleep(60)

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize(("loop", "kill_warden_first"), [("asyncio", False), ("asyncio", True), ("uvloop", False)])
async def test_children_end_when_the_gateway_is_killed(tools, loop, kill_warden_first):
    script = str(Path(__file__).with_name("stdio_server.py"))
    command = [sys.executable, "-c", textwrap.dedent(GATEWAY), script, loop]
    gateway = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert gateway.stdout is not None
        child, offspring, warden = map(int, (await gateway.stdout.readline()).split())
        assert tools.there(child) and tools.there(offspring) and tools.there(warden)
        if kill_warden_first:  # what reads its standard input ends all the same; what does not, does not
            os.kill(warden, signal.SIGKILL)
    finally:
        gateway.kill()
        await gateway.wait()
    await tools.gone(offspring)
    await tools.gone(warden)
    if kill_warden_first:
        os.killpg(child, signal.SIGKILL)
    await tools.gone(child)


async def test_a_killed_warden_is_replaced_and_knows_the_children_there_are(make, tools):
    one = await make()
    first = WARDEN.pid
    os.kill(first, signal.SIGKILL)
    await tools.gone(first)
    two = await make()
    assert WARDEN.pid not in (None, first) and tools.there(WARDEN.pid)
    assert {client.opened["result"]["pid"] for client in (one, two)} <= WARDEN._groups


async def test_the_warden_ends_with_the_last_target(make, tools):
    client = await make()
    warden = WARDEN.pid
    await client.server.stop()
    assert WARDEN.pid is None and not tools.there(warden) and not WARDEN._groups
