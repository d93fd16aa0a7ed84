"""Bad days: clients that leave or dawdle, upstreams that die, reloads and ends under load. One real process each."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}
COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


@pytest.fixture(scope="module")
def zygote() -> None:
    """Each gateway is the executable itself: the life of a process is what these tests are about."""


def delta(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return (
        b"data: "
        + json.dumps({"id": "c1", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice]}).encode()
        + b"\n\n"
    )


USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
DONE = b"data: [DONE]\n\n"


def config(upstream: Upstream, more: str = "") -> str:
    return f"""
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
llm:
  gateways: default
  models:
    - name: m
      provider: openAI
      params: {{apiKey: sk-upstream, hostOverride: "{upstream.address}"}}
{more}"""


def patient(go: asyncio.Event) -> Callable[[Received], AsyncIterator[bytes]]:
    """An upstream that says a, and b when it is told to go; to who says `forever`, not within any deadline."""

    async def answer(request: Received) -> AsyncIterator[bytes]:
        yield stream_head() + chunk(delta("a"))
        if b"forever" in request.body:
            await asyncio.sleep(60)
        await go.wait()
        yield chunk(delta("b") + USAGE + DONE) + LAST

    return answer


def request_bytes(document: object, path: str = "/v1/chat/completions") -> bytes:
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: g\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


# --- streams ---------------------------------------------------------------------------------------------------------


async def test_two_thousand_idle_streams_are_held_and_all_end_well(serve):
    go = asyncio.Event()
    async with Upstream(patient(go)) as upstream:
        gateway = await serve(
            "config: {adminAddr: 'off', statsAddr: 'off', readinessAddr: 'off', backend: {poolMaxSize: 4000}}"
            + config(upstream)
        )
        before = gateway.memory()

        async def one() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(request_bytes(STREAM))
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n")[0]
            seen = await reader.readuntil(b'"a"')
            opened.append(1)
            if len(opened) == 2000:
                everybody.set()
            rest = await reader.readuntil(b"[DONE]")
            writer.close()
            return seen + rest

        opened: list[int] = []
        everybody = asyncio.Event()
        tasks = []
        for _ in range(40):
            tasks.extend(asyncio.create_task(one()) for _ in range(50))
            await asyncio.sleep(0.02)
        async with asyncio.timeout(60):
            await everybody.wait()
        per_stream = (gateway.memory() - before) / 2000
        go.set()
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*tasks)
        assert all(b'"b"' in answer for answer in answers)
        assert per_stream < 200_000, f"{per_stream:.0f} bytes a stream"
        assert await gateway.stop() == 0


async def test_a_slow_reader_does_not_grow_memory(serve, client):
    sent = 0

    async def flood(request: Received) -> AsyncIterator[bytes]:
        nonlocal sent
        yield stream_head()
        piece = chunk(delta("x" * 60_000))
        for _ in range(2 if b"short" in request.body else 2000):
            yield piece
            sent += len(piece)
        yield chunk(DONE) + LAST

    async with Upstream(flood) as upstream:
        gateway = await serve(config(upstream))
        short = {**STREAM, "messages": [{"role": "user", "content": "short"}]}
        for _ in range(3):  # what a first stream imports, and what the allocator keeps, is not what this is about
            assert (await client.post(gateway.url + "/v1/chat/completions", json=short)).text.endswith("[DONE]\n\n")
        before, sent = gateway.memory(), 0
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**16)
        try:
            writer.write(request_bytes(STREAM))
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            counts = [-1]
            while not sent or counts[-5:] != [sent] * 5:  # until nothing goes on
                counts.append(sent)
                await asyncio.sleep(0.1)
            assert sent < 60_000_000
            assert gateway.memory() - before < 20_000_000
        finally:
            writer.transport.abort()
        async with asyncio.timeout(30):
            await upstream.gone.wait()


async def test_a_client_that_leaves_closes_the_upstream_and_is_logged_with_what_it_cost(serve):
    async def endless(request: Received) -> AsyncIterator[bytes]:
        yield stream_head()
        while True:
            yield chunk(delta("word "))
            await asyncio.sleep(0.01)

    async with Upstream(endless) as upstream:
        gateway = await serve(config(upstream))
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(STREAM))
        await reader.readuntil(b"word ")
        writer.transport.abort()
        async with asyncio.timeout(5):
            await upstream.gone.wait()
        line = await gateway.logged("client disconnected")
        assert "gen_ai.usage.estimated=True" in line
        assert "gen_ai.usage.output_tokens=" in line


async def test_a_client_that_leaves_before_the_head_closes_the_upstream(serve):
    got = asyncio.Event()

    async def silent(request: Received) -> AsyncIterator[bytes]:
        got.set()
        for _ in range(100):
            await asyncio.sleep(0.05)
            yield b"HTTP/1.1 100 Continue\r\n\r\n"

    async with Upstream(silent) as upstream:
        gateway = await serve(config(upstream))
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(CHAT))
        await got.wait()
        writer.transport.abort()
        async with asyncio.timeout(5):
            await upstream.gone.wait()
        assert "http.status=499" in await gateway.logged("client disconnected")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_an_upstream_that_dies_in_a_stream_is_told_in_the_clients_own_words(serve, client, path):
    seen = asyncio.Event()

    async def dies(request: Received) -> AsyncIterator[bytes]:
        yield stream_head() + chunk(delta("half"))
        await seen.wait()
        yield b"zz\r\n"

    async with Upstream(dies) as upstream:
        gateway = await serve(config(upstream))
        text = ""
        async with client.stream("POST", gateway.url + path, json={**STREAM, "max_tokens": 50}) as answered:
            async for piece in answered.aiter_text():
                text += piece
                if "half" in text:
                    seen.set()
        assert "half" in text
        assert '"error"' in text
        assert "[DONE]" not in text
        assert "message_stop" not in text


async def test_an_upstream_that_dies_before_it_answers_is_a_502_in_the_clients_dialect(serve, client):
    async with Upstream(b"") as upstream:
        upstream.answer = lambda request: _hang_up()
        gateway = await serve(config(upstream))
        answered = await client.post(gateway.url + "/v1/messages", json={**CHAT, "max_tokens": 9})
        assert answered.status_code in (502, 503)
        assert answered.json()["type"] == "error"


async def _hang_up() -> AsyncIterator[bytes]:
    raise ConnectionResetError
    yield b""


async def test_nobody_there_is_a_503(serve, client):
    async with Upstream(b"") as upstream:
        address = upstream.address
    closed = Upstream(b"")
    closed.url = f"http://{address}"
    gateway = await serve(config(closed))
    answered = await client.post(gateway.url + "/v1/chat/completions", json=CHAT)
    assert answered.status_code == 503
    assert answered.json()["error"]["code"] == "upstream_unreachable"
    assert address.rpartition(":")[2] not in answered.text


async def test_a_failover_asks_the_next_provider_for_its_own_model_and_no_leftovers_of_the_first(serve, client):
    async with Upstream(b"") as dead, Upstream(reply(200, COMPLETION)) as alive:
        dead.answer = lambda request: _hang_up()
        gateway = await serve(f"""
            gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
            routes:
              - policies: {{retry: {{attempts: 1, codes: [502]}}}}
                backends:
                  - ai:
                      groups:
                        - providers: [{{provider: {{openAI: {{model: first}}}}, hostOverride: "{dead.address}"}}]
                        - providers:
                            - provider: {{custom: {{formats: [{{type: completions}}]}}}}
                              hostOverride: "{alive.address}"
        """)
        asked = {**CHAT, "max_tokens": 7}
        assert (await client.post(gateway.url + "/v1/chat/completions", json=asked)).status_code == 200
        assert dead.received[0].json() == {**CHAT, "model": "first", "max_completion_tokens": 7}
        assert alive.received[0].json() == asked
        assert alive.received[0].headers["x-retry-attempt"] == "1"


async def test_upstream_connections_are_reused(serve, client):
    async with Upstream(reply(200, COMPLETION)) as upstream:
        gateway = await serve(config(upstream))
        for _ in range(20):
            assert (await client.post(gateway.url + "/v1/chat/completions", json=CHAT)).status_code == 200
        assert len(upstream.received) == 20
        assert upstream.connections == 1


# --- reload ----------------------------------------------------------------------------------------------------------


async def test_reloads_under_load_fail_no_request(serve, load):
    async with Upstream(reply(200, COMPLETION)) as upstream:
        gateway = await serve(config(upstream))
        clients = load(gateway.url, clients=8, calls=40)
        running = asyncio.create_task(clients.run())
        for round_ in range(5):
            await clients.reached(40 * round_)
            gateway.rewrite(gateway_text(gateway.file.read_text(), round_))
            await gateway_reloads(gateway, round_ + 1)
        clients.over.set()
        await running
        assert (clients.answered, clients.failures) == (8 * 40, [])


def gateway_text(text: str, round_: int) -> str:
    kept = text.partition("  policies:")[0].rstrip()
    return kept + f"\n  policies: {{timeout: {{requestTimeout: {round_ + 10}s}}}}\n"


async def gateway_reloads(gateway, count: int) -> None:
    async with asyncio.timeout(10):
        while gateway.log.count("configuration reloaded") < count:
            await asyncio.sleep(0.02)


async def test_a_broken_configuration_is_refused_and_traffic_goes_on(serve, client):
    async with Upstream(reply(200, COMPLETION)) as upstream:
        gateway = await serve(config(upstream))
        gateway.rewrite(gateway.file.read_text() + "  nonsense: 1\n")
        await gateway.told("the previous one stays in use")
        assert f"{gateway.file}:" in gateway.log
        assert (await client.post(gateway.url + "/v1/chat/completions", json=CHAT)).status_code == 200


async def test_a_reload_that_wants_a_port_it_cannot_have_is_refused_whole(serve, client):
    async with Upstream(reply(200, COMPLETION)) as upstream:
        gateway = await serve(config(upstream))
        taken = upstream.address.rpartition(":")[2]
        gateway.rewrite(
            gateway.file.read_text().replace(
                "{default: {port: 0, address: 127.0.0.1}}",
                f"""
  default: {{port: 0, address: 127.0.0.1}}
  other: {{port: {taken}, address: 127.0.0.1}}""",
            )
        )
        await gateway.told("the previous one stays in use")
        assert f"cannot listen on 127.0.0.1:{taken}" in gateway.log
        assert (await client.post(gateway.url + "/v1/chat/completions", json=CHAT)).status_code == 200


async def test_a_stream_that_began_before_a_reload_ends_by_the_configuration_it_began_with(serve):
    go = asyncio.Event()
    async with Upstream(patient(go)) as upstream:
        gateway = await serve(config(upstream))
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(STREAM))
        await reader.readuntil(b'"a"')
        gateway.rewrite(gateway.file.read_text().replace("name: m", "name: other"))
        await gateway.told("configuration reloaded")
        go.set()
        assert b'"b"' in await reader.readuntil(b"[DONE]")
        writer.close()


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_sigterm_under_load_answers_what_it_took_and_exits_with_0(serve):
    async with Upstream(reply(200, COMPLETION)) as upstream:
        gateway = await serve(config(upstream))
        answers: list[int] = []
        enough = asyncio.Event()

        async def until_refused() -> None:
            async with httpx.AsyncClient(timeout=20) as client:
                # or a kept connection is closed while the client writes on it again (RFC 9112 section 9.6)
                with pytest.raises((httpx.ConnectError, httpx.ReadError)):
                    while True:
                        answered = await client.post(gateway.url + "/v1/chat/completions", json=CHAT)
                        answers.append(answered.status_code)
                        if len(answers) == 40:
                            enough.set()

        clients = [asyncio.create_task(until_refused()) for _ in range(8)]
        await enough.wait()
        assert await gateway.stop(signal.SIGTERM) == 0
        await asyncio.gather(*clients)
        assert set(answers) == {200}


async def test_a_stream_in_flight_ends_well_when_it_can_and_is_cut_at_the_deadline_when_it_cannot(serve):
    go = asyncio.Event()
    async with Upstream(patient(go)) as upstream:
        head = "config: {adminAddr: 'off', statsAddr: 'off', readinessAddr: 'off', connectionTerminationDeadline: 1s}"
        gateway = await serve(head + config(upstream))
        streams = []
        for word in ("short", "forever"):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(request_bytes({**STREAM, "messages": [{"role": "user", "content": word}]}))
            await reader.readuntil(b'"a"')
            streams.append((reader, writer))
        ending = asyncio.create_task(gateway.stop(signal.SIGTERM))
        await asyncio.sleep(0.2)
        go.set()
        assert b"[DONE]" in await streams[0][0].readuntil(b"[DONE]")
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await streams[1][0].readuntil(b"[DONE]")
        assert await ending == 0
        assert "reason=Drained" in await gateway.logged("cut by the gateway's drain")
        for _, writer in streams:
            writer.close()
