"""Realtime sessions through a real gateway: the official SDK and `websockets` on one side, a realtime server written
from OpenAI's pages on the other (https://platform.openai.com/docs/guides/realtime-websocket)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_sockets
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request, Response

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATOR = "canary-operator-19c2"
CLIENT = "canary-client-5ab0"


@dataclass
class Vendor:
    """The server. What it does is told by the model that is asked for, and by what it is told."""

    requests: list[Request] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    ends: list[tuple[int | None, str | None]] = field(default_factory=list)
    sent: int = 0
    live: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def forget(self) -> None:
        self.requests.clear()
        self.heard.clear()
        self.ends.clear()
        self.sent = 0
        self.ended.clear()

    @property
    def headers(self) -> Any:
        return self.requests[-1].headers

    def refuse(self, socket: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        assert request.headers.get("sec-websocket-extensions") is None
        for status in (401, 429):
            if f"refused-{status}" in request.path:
                body = {"error": {"message": f"no: {status}", "type": "some_error", "code": "some_code"}}
                answer = socket.respond(status, json.dumps(body))
                answer.headers["retry-after"] = "7"
                return answer
        return None

    async def talk(self, socket: ServerConnection) -> None:
        self.live += 1
        try:
            await self._session(socket)
        except ConnectionClosed:
            pass
        finally:
            self.live -= 1
            self.ends.append((socket.close_code, socket.close_reason))
            self.ended.set()

    async def _session(self, socket: ServerConnection) -> None:
        session = {"type": "realtime", "object": "realtime.session", "id": "sess_1", "model": "gpt-realtime-2025"}
        await self._say(socket, {"type": "session.created", "event_id": "event_1", "session": session})
        async for message in socket:
            if isinstance(message, bytes):
                self.heard.append(message)
                await socket.send(message)
                continue
            event = json.loads(message)
            self.heard.append(event)
            await self._answer(socket, event)

    async def _answer(self, socket: ServerConnection, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                await self._say(socket, {"type": "session.updated", "event_id": "e", "session": event["session"]})
            case "conversation.item.create":
                await self._say(socket, {"type": "conversation.item.added", "event_id": "e", "item": event["item"]})
            case "response.create":
                await self._respond(socket, event["response"])
            case "test.pause":
                await asyncio.sleep(event["seconds"])
            case "test.flood":
                for _ in range(event["count"]):
                    await self._say(socket, {"type": "response.output_audio.delta", "delta": "A" * 60_000})
                    self.sent += 1
                await self._say(socket, {"type": "test.flooded"})
            case "test.close":
                await socket.close(event["code"], event["reason"])
            case "test.die":
                socket.transport.abort()
            case "test.fragments":
                await socket.send(['{"type": "frag', 'mented", "text": "', "ä" * 10, '"}'])

    async def _respond(self, socket: ServerConnection, wanted: dict[str, Any]) -> None:
        """A response in the pieces the test wants, its usage included."""
        of = {"response_id": "resp_1", "item_id": "item_1", "output_index": 0, "content_index": 0}
        kind = wanted.get("kind", "output_text")
        await self._say(socket, {"type": "response.created", "response": {"id": "resp_1", "output": []}})
        for piece in wanted["pieces"]:
            await self._say(socket, {"type": f"response.{kind}.delta", **of, "delta": piece})
            if kind == "output_audio_transcript":
                await self._say(socket, {"type": "response.output_audio.delta", **of, "delta": "UklGRg=="})
        key = {"output_text": "text", "function_call_arguments": "arguments"}.get(kind, "transcript")
        text = "".join(wanted["pieces"])
        await self._say(socket, {"type": f"response.{kind}.done", **of, key: text})
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        read, written, cached = wanted.get("usage", (10, 5, 2))
        usage = {
            "total_tokens": read + written,
            "input_tokens": read,
            "output_tokens": written,
            "input_token_details": {"text_tokens": read, "audio_tokens": 0, "cached_tokens": cached},
            "output_token_details": {"text_tokens": written, "audio_tokens": 0},
        }
        done = {"id": "resp_1", "status": "completed", "output": [item], "usage": usage}
        await self._say(socket, {"type": "response.done", "event_id": "e", "response": done})

    async def _say(self, socket: ServerConnection, event: dict[str, Any]) -> None:
        await socket.send(json.dumps(event))

    async def left(self) -> tuple[int | None, str | None]:
        """How the session ended here."""
        async with asyncio.timeout(5):
            await self.ended.wait()
        return self.ends[-1]


def chosen(socket: ServerConnection, offered: Any) -> Any:
    return "realtime" if "realtime" in offered else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started() -> AsyncIterator[tuple[Vendor, int]]:
    vendor = Vendor()
    async with serve_sockets(
        vendor.talk, "127.0.0.1", 0, process_request=vendor.refuse, select_subprotocol=chosen, max_size=2**24
    ) as server:
        yield vendor, server.sockets[0].getsockname()[1]


@pytest_asyncio.fixture(loop_scope="module")
async def vendor(started: tuple[Vendor, int]) -> AsyncIterator[Vendor]:
    started[0].forget()
    yield started[0]
    async with asyncio.timeout(5):
        while started[0].live:
            await asyncio.sleep(0.01)


AZURE: dict[str, dict[str, str]] = {
    "azure": {},
    "azure-preview": {"apiVersion": "preview"},
    "azure-dated": {"apiVersion": "2025-04-01-preview"},
    "azure-foundry": {"resourceType": "foundry", "projectName": "ours"},
    "azure-foundry-preview": {"resourceType": "foundry", "apiVersion": "preview"},
}


def config(port: int, splitter: int) -> str:
    regex = {"regex": {"action": "reject", "rules": [{"pattern": "forbidden [a-z]+"}]}}
    mask = {"regex": {"action": "mask", "rules": [{"pattern": "secret-[0-9]+"}], "scope": ["messages", "systemPrompt"]}}
    tools = {"regex": {"action": "reject", "rules": [{"pattern": "rm -rf"}], "scope": ["toolInput", "toolOutput"]}}
    guards = {"request": [regex, mask, tools], "response": [regex, mask, tools]}
    params = {"baseUrl": f"http://127.0.0.1:{port}/v1", "apiKey": OPERATOR}
    model = {"provider": "openAI", "params": params}
    models = [
        {"name": "plain", **model},
        {"name": "renamed", "provider": "openAI", "params": {**params, "model": "gpt-realtime"}},
        {"name": "split", "provider": "openAI", "params": {**params, "baseUrl": f"http://127.0.0.1:{splitter}/v1"}},
        {"name": "refused-401", **model},
        {"name": "refused-429", **model},
        {"name": "unreachable", "provider": "openAI", "params": {**params, "baseUrl": "http://127.0.0.1:9/v1"}},
        {"name": "anthropic", "provider": "anthropic", "params": params},
        {"name": "guarded", **model, "guardrails": guards},
        {"name": "own-key", "provider": "openAI", "params": {"baseUrl": params["baseUrl"]}},
        *(
            {
                "name": name,
                "provider": {"azure": {"resourceName": "mine", **azure}},
                "params": {"hostOverride": f"127.0.0.1:{port}", "apiKey": OPERATOR, "model": "my-deployment"},
                "guardrails": {"request": [mask], "response": [mask]},
            }
            for name, azure in AZURE.items()
        ),
    ]
    return f"llm: {json.dumps({'port': 0, 'models': models})}\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(serve_all: Any, started: tuple[Vendor, int]) -> AsyncIterator[Any]:
    async with splitting(started[1]) as splitter:
        yield await serve_all(config(started[1], splitter))


@asynccontextmanager
async def splitting(port: int) -> AsyncIterator[int]:
    """A way to the vendor on which bytes come one by one."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
        while data := await reader.read(65536):
            for at in range(0, len(data), size):
                writer.write(data[at : at + size])
                await asyncio.sleep(0)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, back, 1), pipe(there, writer, 1))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


def address(gateway: Any, model: str, more: str = "") -> str:
    return f"{gateway.url.replace('http', 'ws', 1)}/v1/realtime?model={model}{more}"


@asynccontextmanager
async def session(gateway: Any, model: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A session, behind its first event."""
    async with connect(address(gateway, model), **options) as socket:
        assert (await heard(socket))["type"] == "session.created"
        yield socket


async def heard(socket: ClientConnection) -> Any:
    async with asyncio.timeout(10):
        return json.loads(await socket.recv())


async def say(socket: ClientConnection, kind: str, **event: Any) -> None:
    await socket.send(json.dumps({"type": kind, **event}))


async def until(socket: ClientConnection, kind: str) -> list[Any]:
    """The events up to that one."""
    events = [await heard(socket)]
    while events[-1]["type"] != kind:
        events.append(await heard(socket))
    return events


async def rest(socket: ClientConnection) -> tuple[list[Any], int | None, str | None]:
    """The events up to the end, its code and its reason."""
    events = []
    with pytest.raises(ConnectionClosed):
        while True:
            events.append(await heard(socket))
    return events, socket.close_code, socket.close_reason


def item(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


async def line_of(gateway: Any, model: str) -> str:
    line: str = await gateway.logged(f"gen_ai.request.model={model}")
    gateway.access.remove(line)
    return line


async def test_the_sdk_has_a_session_of_several_turns(gateway: Any, vendor: Vendor) -> None:
    client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=CLIENT)
    async with client.realtime.connect(model="plain", extra_headers={"OpenAI-Beta": "realtime=v1"}) as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session={"type": "realtime", "instructions": "be kind"})
        assert (await connection.recv()).type == "session.updated"
        for turn in range(3):
            await connection.send(
                {"type": "response.create", "response": {"pieces": ["a", "b"], "usage": (7 + turn, 3, 1)}}
            )  # type: ignore[typeddict-unknown-key]
            kinds = []
            while not kinds or kinds[-1] != "response.done":
                kinds.append((await connection.recv()).type)
            assert kinds.count("response.output_text.delta") == 2
    await client.close()
    assert vendor.headers["authorization"] == f"Bearer {OPERATOR}"
    assert vendor.headers["openai-beta"] == "realtime=v1"
    assert vendor.requests[-1].path == "/v1/realtime?model=plain"
    line = await line_of(gateway, "plain")
    assert "http.status=101" in line and "gen_ai.operation.name=realtime" in line and "error=" not in line
    assert "gen_ai.usage.input_tokens=24 gen_ai.usage.output_tokens=9" in line
    assert "gen_ai.usage.cache_read.input_tokens=3" in line
    assert "gen_ai.response.model=gpt-realtime-2025" in line


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("azure", "/openai/v1/realtime?model=my-deployment"),
        ("azure-preview", "/openai/v1/realtime?api-version=preview&model=my-deployment"),
        ("azure-dated", "/openai/realtime?api-version=2025-04-01-preview&deployment=my-deployment"),
        ("azure-foundry", "/openai/v1/realtime?model=my-deployment"),
        ("azure-foundry-preview", "/openai/v1/realtime?api-version=preview&model=my-deployment"),
    ],
)
@pytest.mark.parametrize("sdk", ["openai", "azure"])
async def test_a_session_at_azure(gateway: Any, vendor: Vendor, model: str, target: str, sdk: str) -> None:
    """https://learn.microsoft.com/azure/ai-foundry/openai/how-to/realtime-audio-websockets; clients of Azure's dated
    versions name a deployment, which is a model here."""
    client: openai.AsyncOpenAI
    if sdk == "azure":
        socket = f"{gateway.url.replace('http', 'ws', 1)}/openai"  # else it asks over TLS
        where = {"azure_endpoint": gateway.url, "websocket_base_url": socket}
        client = openai.AsyncAzureOpenAI(**where, api_key=CLIENT, api_version="2025-04-01-preview")
    else:
        client = openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key=CLIENT)
    async with client.realtime.connect(model=model) as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(
            session={"type": "realtime", "instructions": "my secret-1 word", "model": model}
        )
        assert (await connection.recv()).type == "session.updated"
        await connection.send({"type": "response.create", "response": {"pieces": ["a secret-2", " b"]}})  # type: ignore[typeddict-unknown-key]
        said = ""
        while (event := await connection.recv()).type != "response.done":
            said += event.delta if event.type == "response.output_text.delta" else ""
        assert said == "a <masked> b"
    await client.close()
    assert vendor.requests[-1].path == target
    assert vendor.headers["api-key"] == OPERATOR
    assert vendor.headers.get("authorization") is None
    assert vendor.heard[0]["session"]["instructions"] == "my <masked> word"
    assert vendor.heard[0]["session"]["model"] == "my-deployment"
    line = await line_of(gateway, model)
    assert "gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=5" in line and CLIENT not in line


async def test_a_key_in_a_subprotocol_goes_nowhere(gateway: Any, vendor: Vendor) -> None:
    offered = ["realtime", f"openai-insecure-api-key.{CLIENT}", "openai-organization.org-1"]
    async with session(gateway, "plain", subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"
    assert vendor.headers["sec-websocket-protocol"] == "realtime"
    assert CLIENT not in str(vendor.requests[-1])
    assert "http.status=101" in await line_of(gateway, "plain")
    assert CLIENT not in gateway.log + "".join(gateway.access)


async def test_where_no_key_is_configured_it_is_the_clients_own(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "own-key", subprotocols=["realtime", f"openai-insecure-api-key.{CLIENT}"]):
        assert vendor.headers["authorization"] == f"Bearer {CLIENT}"
    assert CLIENT not in await line_of(gateway, "own-key")


async def test_frames_may_be_cut_at_any_byte(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "split") as socket:
        await say(socket, "session.update", session={"instructions": "ö" * 300})
        assert (await heard(socket))["session"]["instructions"] == "ö" * 300
        await say(socket, "response.create", response={"pieces": ["x" * 200, "y"]})
        assert len(await until(socket, "response.done")) == 5
    assert "gen_ai.usage.input_tokens=10" in await line_of(gateway, "split")


async def test_messages_may_come_in_fragments(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "plain") as socket:
        await socket.send(['{"type": "session.up', 'date", "session": {"instructions": "ä', 'ö"}}'])
        assert (await heard(socket))["session"]["instructions"] == "äö"
        await say(socket, "test.fragments")
        assert (await heard(socket)) == {"type": "fragmented", "text": "ä" * 10}
        await socket.send(b"\x00\xff")
        assert await socket.recv() == b"\x00\xff"
    await line_of(gateway, "plain")


async def test_a_slow_reader_slows_the_vendor(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "plain", max_queue=1, ping_interval=None) as socket:
        await say(socket, "test.flood", count=1000)
        sent = -1
        while sent != vendor.sent:
            sent = vendor.sent
            await asyncio.sleep(0.3)
        assert 0 < sent < 1000
        before = gateway.memory()
        assert len(await until(socket, "test.flooded")) == 1001
        assert gateway.memory() < before + 32 * 2**20
    await line_of(gateway, "plain")


async def test_a_close_goes_on_with_its_code(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "plain") as socket:
        await socket.close(4321, "had enough")
    assert await vendor.left() == (4321, "had enough")
    assert "error=" not in await line_of(gateway, "plain")
    vendor.forget()
    async with session(gateway, "plain") as socket:
        await say(socket, "test.close", code=4001, reason="too long")
        assert await rest(socket) == ([], 4001, "too long")
    assert "error=" not in await line_of(gateway, "plain")


async def test_a_client_that_leaves_ends_the_vendors_session(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "plain") as socket:
        socket.transport.abort()
        assert (await vendor.left())[0] == 1001
    assert "reason=ClientDisconnected" in await line_of(gateway, "plain")


async def test_a_vendor_that_dies_is_told_to_the_client(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "plain") as socket:
        await say(socket, "response.create", response={"pieces": ["a"], "usage": (4, 2, 0)})
        await until(socket, "response.done")
        await say(socket, "test.die")
        events, code, _ = await rest(socket)
        assert [event["type"] for event in events] == ["error"] and code == 1011
    line = await line_of(gateway, "plain")
    assert "reason=UpstreamFailure" in line and "gen_ai.usage.input_tokens=4" in line


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("refused-401", 401, "some_code"),
        ("refused-429", 429, "some_code"),
        ("unreachable", 503, "upstream_unreachable"),
        ("anthropic", 404, "unsupported_operation"),
        ("nobody", 404, "model_not_found"),
    ],
)
async def test_a_refusal_is_the_handshakes_answer(
    gateway: Any, vendor: Vendor, model: str, status: int, code: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address(gateway, model)):
            pass
    answer = refused.value.response
    assert answer.status_code == status
    assert json.loads(answer.body or b"")["error"]["code"] == code or model == "nobody"
    if model == "refused-429":
        assert answer.headers["retry-after"] == "7"


async def test_what_is_no_upgrade_is_told_so(gateway: Any, client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{gateway.url}/v1/realtime?model=plain", json={})).status_code == 426


@pytest.mark.parametrize("query", ["", "&model=other", "&call_id=rtc_1"])
async def test_the_query_names_one_model_and_no_call(gateway: Any, vendor: Vendor, query: str) -> None:
    url = address(gateway, "plain", query) if query else address(gateway, "")
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url):
            pass
    assert refused.value.response.status_code in (400, 404)
    assert not vendor.requests


async def test_the_model_is_the_one_that_was_allowed(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "renamed") as socket:
        assert vendor.requests[-1].path == "/v1/realtime?model=gpt-realtime"
        await say(socket, "session.update", session={"type": "realtime", "model": "renamed"})
        assert (await heard(socket))["session"]["model"] == "gpt-realtime"
        await say(socket, "session.update", session={"type": "realtime", "model": "dearer"})
        events, code, _ = await rest(socket)
        assert events[0]["error"]["code"] == "model_change" and code == 1008
    assert "reason=InvalidRequest" in await line_of(gateway, "renamed")
    assert len(vendor.heard) == 1


@pytest.mark.parametrize("text", ['{"type": "a", "type": "b"}', "[1]", "{"])
async def test_what_two_could_read_differently_is_refused(gateway: Any, vendor: Vendor, text: str) -> None:
    async with session(gateway, "plain") as socket:
        await socket.send(text)
        events, code, _ = await rest(socket)
        assert events[0]["type"] == "error" and code == 1008
    assert not vendor.heard
    await line_of(gateway, "plain")


async def test_a_message_has_a_bound(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "plain") as socket:
        await say(socket, "session.update", session={"instructions": "x" * (3 * 2**20)})
        assert (await rest(socket))[1] == 1009
    assert (await vendor.left())[0] == 1009
    assert not vendor.heard
    await line_of(gateway, "plain")


# --- guards ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        {"type": "conversation.item.create", "item": item("a forbidden word")},
        {"type": "session.update", "session": {"instructions": "forbidden things"}},
        {"type": "response.create", "response": {"instructions": "forbidden things", "pieces": []}},
        {"type": "conversation.item.create", "item": {"type": "function_call_output", "output": "rm -rf /"}},
    ],
    ids=["message", "session", "response", "tool output"],
)
async def test_a_refused_text_of_the_client_ends_the_session(gateway: Any, vendor: Vendor, event: Any) -> None:
    async with session(gateway, "guarded") as socket:
        await socket.send(json.dumps(event))
        events, code, _ = await rest(socket)
        assert [event["type"] for event in events] == ["error"] and code == 1008
        assert events[0]["error"]["code"] == "guardrail_intervention"
    assert not vendor.heard
    assert (await vendor.left())[0] == 1000
    assert "reason=Guardrail" in await line_of(gateway, "guarded")


async def test_a_text_of_the_client_is_masked(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "guarded") as socket:
        await say(socket, "conversation.item.create", item=item("my secret-123 is"))
        await heard(socket)
    assert vendor.heard[0]["item"]["content"][0]["text"] == "my <masked> is"
    await line_of(gateway, "guarded")


@pytest.mark.parametrize("kind", ["output_text", "output_audio_transcript", "function_call_arguments"])
async def test_a_refused_text_of_the_model_never_leaves(gateway: Any, vendor: Vendor, kind: str) -> None:
    word = "rm -rf" if kind == "function_call_arguments" else "forbidden fruit"
    async with session(gateway, "guarded") as socket:
        await say(socket, "response.create", response={"kind": kind, "pieces": ["see ", *word, " here"]})
        events, code, _ = await rest(socket)
        assert code == 1008 and events[-1]["error"]["code"] == "guardrail_intervention"
        assert [event["type"] for event in events] == ["response.created", "error"]
    assert "reason=Guardrail" in await line_of(gateway, "guarded")


async def test_a_text_of_the_model_is_masked_in_its_pieces_and_in_whole(gateway: Any, vendor: Vendor) -> None:
    async with session(gateway, "guarded") as socket:
        for _ in range(2):
            pieces = ["it is sec", "ret-4", "2 .", *[" and so on"] * 100]
            await say(socket, "response.create", response={"pieces": pieces})
            events = await until(socket, "response.done")
            said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
            assert said == "it is <masked> ." + " and so on" * 100
            assert "ret-4" not in json.dumps(events)
            assert events[-1]["response"]["output"][0]["content"][0]["text"] == said
    assert "gen_ai.usage.input_tokens=20" in await line_of(gateway, "guarded")


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_tokens_are_charged_as_they_are_used(serve_all: Any, started: tuple[Vendor, int]) -> None:
    limit = {"maxTokens": 100, "tokensPerFill": 1, "fillInterval": "10h", "type": "tokens"}
    params = {"baseUrl": f"http://127.0.0.1:{started[1]}/v1", "apiKey": OPERATOR}
    models = [{"name": "limited", "provider": "openAI", "params": params}]
    llm = {"port": 0, "models": models, "policies": {"localRateLimit": [limit]}}
    gateway = await serve_all(f"llm: {json.dumps(llm)}\n")
    async with session(gateway, "limited") as socket, session(gateway, "limited") as other:
        for one in (socket, other):
            await say(one, "response.create", response={"pieces": ["a"], "usage": (30, 15, 0)})
            await until(one, "response.done")
        await say(socket, "response.create", response={"pieces": ["a"], "usage": (30, 15, 0)})
        events, code, _ = await rest(socket)
        assert [event["type"] for event in events][-2:] == ["response.done", "error"] and code == 1008
        assert events[-1]["error"]["code"] == "rate_limit_exceeded"
        with pytest.raises(InvalidStatus) as refused:
            async with connect(address(gateway, "limited")):
                pass
        assert refused.value.response.status_code == 429
    assert "gen_ai.usage.input_tokens=60" in await line_of(gateway, "limited")


# --- other routes, and the end ---------------------------------------------------------------------------------------


async def test_a_host_is_relayed_as_it_is(serve_all: Any, started: tuple[Vendor, int]) -> None:
    vendor, port = started
    route = {"backends": [{"host": f"127.0.0.1:{port}"}]}
    gateway = await serve_all(f"binds: {json.dumps([{'port': 0, 'listeners': [{'routes': [route]}]}])}\n")
    vendor.forget()
    async with session(gateway, "anything", additional_headers={"authorization": "Bearer mine"}) as socket:
        assert vendor.headers["authorization"] == "Bearer mine"
        await socket.send(b"bytes")
        assert await socket.recv() == b"bytes"
        await socket.close(4000, "done")
    assert await vendor.left() == (4000, "done")
    assert "http.status=101" in await gateway.logged("/v1/realtime")
    with pytest.raises(InvalidStatus) as refused:
        async with connect(address(gateway, "refused-401")):
            pass
    assert refused.value.response.status_code == 401


async def test_sessions_are_sent_away_at_the_end_of_the_drain(serve_all: Any, started: tuple[Vendor, int]) -> None:
    vendor, port = started
    models = [{"name": "plain", "provider": "openAI", "params": {"baseUrl": f"http://127.0.0.1:{port}/v1"}}]
    off = {"adminAddr": "off", "statsAddr": "off", "readinessAddr": "off"}
    config = json.dumps({**off, "connectionTerminationDeadline": "1s"})
    gateway = await serve_all(f"config: {config}\nllm: {json.dumps({'port': 0, 'models': models})}\n")
    vendor.forget()
    async with session(gateway, "plain") as socket:
        stopping = asyncio.create_task(gateway.stop())
        await say(socket, "response.create", response={"pieces": ["a"]})
        await until(socket, "response.done")
        assert (await rest(socket))[1] == 1001
        assert await stopping == 0
    assert (await vendor.left())[0] == 1001
    line = await gateway.logged("gen_ai.request.model=plain")
    assert "reason=Drained" in line and "gen_ai.usage.input_tokens=10" in line
