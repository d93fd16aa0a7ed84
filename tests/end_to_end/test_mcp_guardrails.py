"""`mcpGuardrails` in a real gateway, in front of a real gRPC service: pass, change, refuse, and be of no use."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
import pytest_asyncio
from agentgateway_guardrail_ext_mcp import wire

from .mcps import LEGACY, Client, Json, Server, messages_in, said, streamed, tool

pytestmark = pytest.mark.asyncio(loop_scope="module")
MADE = wire.classes()
CANARY = "sk-canary-of-the-gateway"
SCRIPT = Path(__file__).parents[2] / "plugins/protocols/mcp/tests/stdio_server.py"
WORDS = "a falcon and its reasons"


def passes(request: Any) -> Json:
    return {"pass": {}}


@dataclass
class Processor:
    """A service `ExtMcp`. `answer` makes a result of a question: its members, or bytes, or an exception. `heard` are
    questions, with what each says."""

    answer: Callable[[Any], Any] = passes
    heard: list[Json] = field(default_factory=list)
    credentials: set[str] = field(default_factory=set)

    async def check(self, kind: str, raw: bytes, context: Any) -> bytes:
        question = MADE[f"Mcp{kind}"].FromString(raw)
        self.credentials |= {value for key, value in context.invocation_metadata() if key == "authorization"}
        shown = getattr(question, f"mcp_{kind.lower()}")
        self.heard.append(
            {
                "kind": kind,
                "method": question.method,
                "servers": list(question.service_names),
                "shown": json.loads(shown) if shown else None,
                "told": dict(question.metadata_context),
                "headers": {one.key: one.value for one in question.headers} if kind == "Request" else {},
            }
        )
        answer = self.answer(question)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, bytes):
            return answer
        result = MADE[f"Mcp{kind}Result"]()
        fill(result, answer)
        return bytes(result.SerializeToString())

    def server(self) -> Any:
        def handler(kind: str) -> Any:
            async def check(raw: bytes, context: Any) -> bytes:
                return await self.check(kind, raw, context)

            return grpc.unary_unary_rpc_method_handler(check)

        methods = {f"Check{kind}": handler(kind) for kind in ("Request", "Response")}
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{wire.PACKAGE}.ExtMcp", methods),))
        return server


def fill(message: Any, given: Json) -> None:
    for key, value in given.items():
        if key == "metadata":
            message.metadata.update(value)
        elif key == "mutated":
            message.mutated = value if isinstance(value, bytes) else json.dumps(value).encode()
        elif key == "header_mutation":
            for name, text in value.get("set", []):
                message.header_mutation.set.add(key=name, value=text)
            message.header_mutation.remove.extend(value.get("remove", []))
        else:
            part = getattr(message, key)
            part.SetInParent()
            for name, inner in value.items():
                setattr(part, name, inner)


@dataclass
class World:
    a: Server
    b: Server
    processor: Processor
    gateway: Any = None
    clients: dict[str, Client] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(serve_all: Any) -> AsyncIterator[World]:
    tools = {"tools": [tool("echo", "text"), tool("other", "text")]}
    called = {
        "tools/list": tools,
        "tools/call": lambda params: said(f"{params['name']}: {json.dumps(params['arguments'])}"),
    }
    a, b = Server("a", dict(called)), Server("b", dict(called))
    a.answers["resources/read"] = lambda params: {"contents": [{"uri": params["uri"], "text": "note"}]}
    world = World(a, b, Processor())
    async with AsyncExitStack() as stack:
        service = world.processor.server()
        port = service.add_insecure_port("127.0.0.1:0")
        await service.start()
        stack.push_async_callback(service.stop, 0)
        for server in (a, b):
            server.upstream.answer = server.answer
            await stack.enter_async_context(server.upstream)
        one, two = ({"name": one.name, "mcp": {"host": f"{one.upstream.url}/mcp"}} for one in (a, b))
        keyed = {**one, "policies": {"backendAuth": {"key": CANARY}}}

        edited = {"exclude": ["other"], "edit": {"echo": {"pin": {"root": "/p"}}}}
        program = {"name": "program", "stdio": {"cmd": sys.executable, "args": ["-S", str(SCRIPT)]}}

        def asked(host: str = f"127.0.0.1:{port}", **more: Any) -> Json:
            remote = {"kind": "remote", "host": host, "methods": {"*": "full"}, **more}
            return {"mcpGuardrails": {"processors": [remote]}}

        rules = {"mcpAuthorization": {"rules": ["mcpGuardrails.trusted", 'mcp.tool.name == "open"']}}
        shown = {"metadata": {"tool": "mcp.tool.name", "none": "jwt.sub"}, "requestHeaders": {"disallowed": ["x-not"]}}
        routes: dict[str, tuple[list[Json], Json]] = {
            "one": ([keyed], asked(**shown, policies={"backendAuth": {"key": "of-the-processor"}})),
            "two": ([one, two], asked()),
            "program": ([program], asked()),
            "edited": ([{**one, "tools": edited}], asked()),
            "some": ([one], asked(methods={"tools/call": "response", "tools/*": "request", "*/list": "off"})),
            "open": ([one], asked(failureMode="failOpen", timeout="300ms")),
            "closed": ([one], asked(timeout="300ms")),
            "down": ([one], asked("127.0.0.1:9")),
            "down-open": ([one], asked("127.0.0.1:9", failureMode="failOpen")),
            "ruled": ([one, two], {**asked(methods={"*": "request"}), **rules}),
        }
        config: Json = {
            "gateways": {"default": {"port": 0, "address": "127.0.0.1"}},
            "frontendPolicies": {"accessLog": {"add": {"trust": "mcpGuardrails.trusted"}}},
            "routes": [
                {
                    "name": name,
                    "matches": [{"path": {"pathPrefix": f"/{name}"}}],
                    "policies": policies,
                    "backends": [{"mcp": {"targets": targets}}],
                }
                for name, (targets, policies) in routes.items()
            ],
        }
        world.gateway = await serve_all("\n".join(f"{key}: {json.dumps(value)}" for key, value in config.items()))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=world.gateway.url, timeout=20))
        world.clients = {name: Client(http, f"/{name}") for name in routes}
        yield world


@pytest.fixture
def world(running: World) -> World:
    running.processor.answer = passes
    running.processor.heard.clear()
    for server in (running.a, running.b):
        server.upstream.received.clear()
        server.events = []
    return running


def call(text: str = "hi", name: str = "echo") -> Json:
    return {"name": name, "arguments": {"text": text}}


def text_in(response: Json) -> str:
    text: str = response["result"]["content"][0]["text"]
    return text


@pytest.mark.parametrize("era", ["old", "new"])
async def test_what_passes_is_as_it_was_and_was_shown_with_its_circumstances(world: World, era: str) -> None:
    client = Client(world.clients["one"].http, "/one", {"x-tenant": "t", "x-not": "n", "cookie": "c=1"})
    if era == "old":
        await client.open()
        world.processor.heard.clear()
    assert text_in(await getattr(client, era)("tools/call", **call())) == 'echo: {"text": "hi"}'
    request, response = world.processor.heard
    assert (request["kind"], request["method"], request["servers"]) == ("Request", "tools/call", ["a"])
    assert request["shown"]["arguments"] == {"text": "hi"} and request["told"] == {"tool": "echo"}
    assert (request["headers"]["x-tenant"], request["headers"][":path"]) == (b"t", b"/one")
    assert not {"x-not", "cookie", "authorization"} & set(request["headers"])
    assert response["kind"] == "Response" and text_in({"result": response["shown"]}) == 'echo: {"text": "hi"}'
    assert world.processor.credentials == {"Bearer of-the-processor"}
    assert "of-the-processor" not in world.gateway.log + "".join(world.gateway.access)


async def test_parameters_are_changed_and_what_is_the_protocols_remains(world: World) -> None:
    world.processor.answer = lambda asked: (
        {"mutated": call("ho", "other")} if hasattr(asked, "mcp_request") else {"pass": {}}
    )
    assert text_in(await world.clients["two"].new("tools/call", **call(name="a_echo"))) == 'other: {"text": "ho"}'
    (received,) = world.a.asked("tools/call")
    assert received.headers["mcp-name"] == "other"
    assert "io.modelcontextprotocol/protocolVersion" in received.json()["params"]["_meta"]
    assert world.processor.heard[0]["shown"]["name"] == "echo"


@pytest.mark.parametrize("streamed", [False, True])
async def test_results_are_changed_also_in_streams(world: World, streamed: bool) -> None:
    if streamed:
        told = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
        world.a.events, world.a.size = [told], 7
    world.processor.answer = lambda asked: {"mutated": said("***")} if hasattr(asked, "mcp_response") else {"pass": {}}
    got = await world.clients["one"].modern("tools/call", call())
    *before, last = messages_in(got.text) if streamed else [got.json()]
    assert text_in(last) == "***" and last["id"] == 7
    assert [one["params"]["data"] for one in before] == ["x"] * streamed
    assert len(world.processor.heard) == 2


ERRORS = {
    0: ({"code": 0, "reason": "odd"}, {"code": -32603, "message": "odd"}),
    1: ({"code": 1, "reason": "not you"}, {"code": -32001, "message": "not you"}),
    2: ({"code": 2, "reason": "enough"}, {"code": -32003, "message": "enough"}),
    3: ({"code": 3}, {"code": -32600, "message": "refused by a guardrail"}),
    4: ({"code": 9, "reason": "later"}, {"code": -32603, "message": "later"}),
    5: (
        {"code": 1, "reason": "no", "mcp_error": b'{"code": -32050, "message": "own", "data": {"a": 1}}'},
        {"code": -32050, "message": "own", "data": {"a": 1}},
    ),
    6: (
        {"code": 1, "reason": "no", "mcp_error": b'{"hint": "ask"}'},
        {"code": -32001, "message": "no", "data": {"hint": "ask"}},
    ),
}


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("phase", ["mcp_request", "mcp_response"])
async def test_refusals_are_errors_of_the_protocol(world: World, number: int, phase: str) -> None:
    error, told = ERRORS[number]
    world.processor.answer = lambda asked: {"error": error} if hasattr(asked, phase) else {"pass": {}}
    got = await world.clients["one"].modern("tools/call", call())
    assert (got.status_code, got.json()) == (200, {"jsonrpc": "2.0", "id": 7, "error": told})
    assert len(world.a.asked("tools/call")) == (phase == "mcp_response")


async def test_a_refused_result_ends_a_stream(world: World) -> None:
    world.a.events = [{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}]
    world.processor.answer = lambda asked: (
        {"error": {"code": 1, "reason": "no"}} if hasattr(asked, "mcp_response") else {"pass": {}}
    )
    got = await world.clients["one"].modern("tools/call", call())
    first, last = messages_in(got.text)
    assert first["method"] == "notifications/message"
    assert (last["id"], last["error"]) == (7, {"code": -32001, "message": "no"})
    assert "echo" not in got.text


async def slow(asked: Any) -> Json:
    await asyncio.sleep(2)
    return {"pass": {}}


def fails(asked: Any) -> Json:
    raise RuntimeError(WORDS)


USELESS = {
    "slow": slow,
    "fails": fails,
    "malformed": lambda asked: b"\xff\xff\xff",
    "no verdict": lambda asked: b"",
    "no JSON": lambda asked: {"mutated": WORDS.encode()},
    "no object": lambda asked: {"mutated": [WORDS]},
}


@pytest.mark.parametrize("how", USELESS)
@pytest.mark.parametrize("path", ["closed", "open"])
async def test_without_a_verdict_messages_are_refused_or_pass(world: World, path: str, how: str) -> None:
    world.processor.answer = USELESS[how]
    got = await world.clients[path].new("tools/call", **call())
    if path == "open":
        assert text_in(got) == 'echo: {"text": "hi"}'
        await world.gateway.told("a message passed unseen")
    else:
        assert got["error"] == {"code": -32603, "message": "a guardrail could not be evaluated"}
        assert world.a.asked("tools/call") == []
    assert WORDS not in world.gateway.log


@pytest.mark.parametrize("path", ["down", "down-open"])
async def test_a_processor_that_is_not_there(world: World, path: str) -> None:
    got = await world.clients[path].new("tools/call", **call())
    assert ("result" in got) == (path == "down-open")
    assert len(world.a.asked("tools/call")) == (path == "down-open")


async def test_patterns_say_what_is_shown(world: World) -> None:
    client = world.clients["some"]
    await client.new("tools/call", **call())
    await client.new("tools/list")
    await client.new("tools/other")
    await client.new("prompts/list")
    await client.new("resources/read", uri="note://1")
    assert [(one["kind"], one["method"]) for one in world.processor.heard] == [
        *(("Response", "tools/call"), ("Request", "tools/list"), ("Request", "tools/other")),
    ]


async def test_a_list_of_several_servers_is_shown_once_as_the_client_gets_it(world: World) -> None:
    def without_others(asked: Any) -> Json:
        if hasattr(asked, "mcp_request"):
            return {"mutated": {"cursor": "nonsense"}}
        listed = json.loads(asked.mcp_response)
        return {"mutated": {**listed, "tools": [one for one in listed["tools"] if "other" not in one["name"]]}}

    world.processor.answer = without_others
    got = await world.clients["two"].new("tools/list")
    assert [one["name"] for one in got["result"]["tools"]] == ["a_echo", "b_echo"]
    request, response = world.processor.heard
    assert (request["servers"], request["shown"]) == (["a", "b"], None)
    assert [one["name"] for one in response["shown"]["tools"]] == ["a_echo", "a_other", "b_echo", "b_other"]
    assert "cursor" not in world.a.asked("tools/list")[0].json()["params"]


async def test_headers_of_requests_to_servers_are_edited_but_not_the_credential(world: World) -> None:
    edit = {
        "set": [
            ("x-tenant", b"of-the-guard"),
            ("authorization", b"Bearer evil"),
            ("host", b"evil"),
            ("x-a", b"1\r\nx: 2"),
        ],
        "remove": ["x-gone"],
    }
    world.processor.answer = lambda asked: (
        {"pass": {}, "header_mutation": edit} if hasattr(asked, "mcp_request") else {"pass": {}}
    )
    client = Client(world.clients["one"].http, "/one", {"x-gone": "1", "x-tenant": "t"})
    await client.new("tools/call", **call())
    (received,) = world.a.asked("tools/call")
    assert (received.headers["x-tenant"], received.headers["authorization"]) == ("of-the-guard", f"Bearer {CANARY}")
    assert not {"x-gone", "x-a", "x"} & set(received.headers) and "evil" not in str(received.headers)


async def test_rules_and_the_log_see_what_a_processor_says(world: World) -> None:
    client = world.clients["ruled"]
    world.processor.answer = lambda asked: {"pass": {}, "metadata": {"trusted": b"yes" in asked.mcp_request}}
    assert "result" in await client.new("tools/call", **call("yes", "a_echo"))
    await world.gateway.logged("trust=True")
    refused = await client.modern("tools/call", call("no", "a_echo"))
    assert refused.json()["error"] == {"code": -32602, "message": "Unknown tool: a_echo"}
    world.processor.answer = lambda asked: {"pass": {}, "metadata": {"trusted": True}}
    assert len((await client.new("tools/list"))["result"]["tools"]) == 4
    world.processor.answer = passes
    assert (await client.new("tools/list"))["result"]["tools"] == []


async def test_rules_see_what_a_processor_made_of_a_call(world: World) -> None:
    world.processor.answer = lambda asked: {"mutated": call("x", "open")}
    client = world.clients["ruled"]
    assert text_in(await client.new("tools/call", **call(name="b_echo"))) == 'open: {"text": "x"}'
    world.processor.answer = lambda asked: {"mutated": call("x", "other")}
    assert "Unknown tool" in (await client.new("tools/call", **call(name="b_echo")))["error"]["message"]
    world.processor.answer = lambda asked: {"mutated": {"arguments": {}}}
    got = await client.new("tools/call", **call(name="b_echo"))
    assert got["error"]["message"] == "a processor left out what the request is about"
    assert len(world.b.asked("tools/call")) == 1


async def test_what_a_target_pins_and_hides_is_no_processors_to_change(world: World) -> None:
    changed = {"name": "echo", "arguments": {"text": "ho", "root": "/etc"}}
    world.processor.answer = lambda asked: {"mutated": changed} if hasattr(asked, "mcp_request") else {"pass": {}}
    client = world.clients["edited"]
    assert text_in(await client.new("tools/call", **call())) == 'echo: {"text": "ho", "root": "/p"}'
    changed["name"] = "other"
    assert "Unknown tool" in (await client.new("tools/call", **call()))["error"]["message"]
    assert len(world.a.asked("tools/call")) == 1


async def test_completions_are_shown_by_the_servers_name_and_may_be_changed(world: World) -> None:
    world.a.answers["completion/complete"] = {"completion": {"values": ["Oslo"]}}
    argument = {"name": "city", "value": "***"}

    def masked(asked: Any) -> Json:
        return {"mutated": {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": argument}}

    world.processor.answer = lambda asked: masked(asked) if hasattr(asked, "mcp_request") else {"pass": {}}
    given = {"ref": {"type": "ref/prompt", "name": "a_greet"}, "argument": {"name": "city", "value": "falcon"}}
    got = await world.clients["two"].new("completion/complete", **given)
    assert got["result"]["completion"]["values"] == ["Oslo"]
    assert world.processor.heard[0]["shown"]["ref"]["name"] == "greet"
    params = world.a.asked("completion/complete")[0].json()["params"]
    assert (params["ref"]["name"], params["argument"]) == ("greet", argument)


async def test_messages_of_programs_are_shown_and_changed_too(world: World) -> None:
    edit = {"set": [("x-tenant", b"t")]}
    world.processor.answer = lambda asked: (
        {"mutated": call("ho"), "header_mutation": edit} if hasattr(asked, "mcp_request") else {"pass": {}}
    )
    for era in ("old", "new"):
        client = Client(world.clients["program"].http, "/program")
        if era == "old":
            world.processor.answer, change = passes, world.processor.answer
            await client.open()
            world.processor.answer = change
        assert text_in(await getattr(client, era)("tools/call", **call())).isdigit()
    assert "fork" not in world.gateway.log


async def test_the_older_transport_of_clients_is_no_way_around(world: World) -> None:
    async with streamed(world.clients["one"].http, f"{world.gateway.url}/one/sse", {}) as stream:
        await stream.open()
        assert text_in(await stream.ask("tools/call", **call())) == 'echo: {"text": "hi"}'
        assert [one["kind"] for one in world.processor.heard if one["method"] == "tools/call"] == [
            "Request",
            "Response",
        ]
        world.processor.answer = lambda asked: (
            {"mutated": said("***")} if hasattr(asked, "mcp_response") else {"pass": {}}
        )
        assert text_in(await stream.ask("tools/call", **call())) == "***"
        world.processor.answer = lambda asked: {"error": {"code": 1, "reason": "no"}}
        assert (await stream.ask("tools/call", **call()))["error"] == {"code": -32001, "message": "no"}


async def test_a_session_opens_and_ends_past_a_processor_that_sees_everything(world: World) -> None:
    client = world.clients["two"]
    assert (await client.open())["protocolVersion"] == LEGACY
    assert "result" in await client.old("ping")
    note = await client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert note.status_code == 202
    assert {one["method"] for one in world.processor.heard} == {"initialize", "ping"}
    client.session = None
