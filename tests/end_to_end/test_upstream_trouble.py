"""What a real gateway does with requests that may have been executed, and with proxies on the way."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

COMPLETION = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CANARY = "canary-proxy-4f1d9c"


async def hang_up() -> AsyncIterator[bytes]:
    raise ConnectionResetError
    yield b""


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "retry", "sent", "status"),
    [
        ("POST", "{attempts: 2}", 1, 502),
        ("POST", "{attempts: 2, codes: [503]}", 1, 502),
        ("POST", "{attempts: 2, condition: 'response.code == 503'}", 1, 502),
        ("PATCH", "{attempts: 2}", 1, 502),
        ("POST", "{attempts: 2, codes: [502]}", 3, 502),
        ("GET", "{attempts: 2}", 3, 502),
        ("DELETE", "{attempts: 1}", 2, 502),
    ],
)
async def test_a_request_that_may_have_been_executed_is_repeated_only_when_that_is_safe_or_asked_for(
    serve, client, method, retry, sent, status
):
    async with Upstream(lambda request: hang_up()) as upstream:
        gateway = await serve(f"""
            gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
            routes:
              - policies: {{retry: {retry}}}
                backends: [{{host: "{upstream.address}"}}]
        """)
        answered = await client.request(method, gateway.url + "/", content=b"{}" if method != "GET" else None)
        assert answered.status_code == status
        assert len(upstream.received) == sent


@pytest.mark.parametrize(("codes", "sent"), [("[]", 1), ("[504]", 2)])
async def test_an_upstream_that_is_too_slow_has_perhaps_done_the_work(serve, client, codes, sent):
    async def never(request: Received) -> AsyncIterator[bytes]:
        await asyncio.sleep(60)
        yield b""

    async with Upstream(never) as upstream:
        gateway = await serve(f"""
            gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
            routes:
              - policies: {{retry: {{attempts: 1, codes: {codes}}}, timeout: {{backendRequestTimeout: 200ms}}}}
                backends: [{{host: "{upstream.address}"}}]
        """)
        assert (await client.post(gateway.url + "/", content=b"{}")).status_code == 504
        assert len(upstream.received) == sent


async def test_a_post_that_never_left_is_sent_to_the_next_backend(serve, client):
    async with Upstream(b"") as gone:
        address = gone.address
    async with Upstream(reply(200, b"hello")) as upstream:
        gateway = await serve(f"""
            gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
            routes:
              - policies: {{retry: {{attempts: 1}}}}
                backends: [{{host: "{address}", weight: 1000}}, {{host: "{upstream.address}", weight: 1}}]
        """)
        for _ in range(5):
            assert (await client.post(gateway.url + "/", content=b"{}")).status_code == 200


# --- proxies ----------------------------------------------------------------------------------------------------------


class ForwardProxy:
    """Opens tunnels by CONNECT for whoever shows the credential."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head)
            if CANARY.encode() not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            else:
                host, _, port = head.split()[1].decode().rpartition(":")
                there, out = await asyncio.open_connection(host, int(port))
                self._open.add(out)
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(passing(reader, out), passing(there, writer))
        writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await server.wait_closed()
            await asyncio.sleep(0.01)


async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def test_models_and_hosts_are_reached_through_a_proxy_whose_credential_nobody_sees(serve, client):
    proxy = ForwardProxy()
    async with proxy.running() as address, Upstream(reply(200, COMPLETION)) as upstream:
        proxied = f'{{proxy: {{host: "{address}"}}}}'
        tunnel = f"{proxied[:-1]}, policies: {{backendAuth: {{key: {CANARY}}}}}}}"
        gateway = await serve(f"""
            gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
            routes:
              - matches: [{{path: {{pathPrefix: /plain}}}}]
                backends: [{{host: "{upstream.address}", policies: {{backendTunnel: {tunnel}}}}}]
              - matches: [{{path: {{pathPrefix: /refused}}}}]
                backends: [{{host: "{upstream.address}", policies: {{backendTunnel: {proxied}}}}}]
            llm:
              gateways: default
              models:
                - {{name: m, provider: openAI, params: {{apiKey: k, hostOverride: "{upstream.address}"}},
                   backendTunnel: {tunnel}}}
        """)
        for _ in range(2):
            assert (await client.post(gateway.url + "/v1/chat/completions", json=CHAT)).status_code == 200
            assert (await client.get(gateway.url + "/plain")).status_code == 200
        refused = await client.get(gateway.url + "/refused")
        assert refused.status_code == 503
        assert address not in refused.text
        assert [head.split(b"\r\n")[0] for head in proxy.asked] == [
            b"CONNECT %b HTTP/1.1" % upstream.address.encode()
        ] * 2, "one tunnel for both, and one that was refused"
        assert len(upstream.received) == 4
        assert CANARY not in json.dumps([[received.headers, received.target] for received in upstream.received])
        await gateway.logged("CONNECT was answered 407")
        await gateway.stop()
    assert CANARY not in gateway.log + "".join(gateway.access) + refused.text


# --- what vendors say that is not the client's to know ----------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_a_vendor_that_quotes_the_operators_key_is_not_quoted(serve, client, stream):
    def quoting(request: Received) -> bytes:
        said = f"bad credential: {request.headers['authorization']}"
        return reply(401, {"error": {"message": said, "type": "invalid_request_error", "code": "invalid_api_key"}})

    async with Upstream(quoting) as upstream:
        gateway = await serve(f"""
            llm:
              port: 0
              models:
                - name: m
                  provider: openAI
                  params: {{apiKey: {CANARY}, hostOverride: "{upstream.address}"}}
        """)
        for path, call in (("/v1/chat/completions", CHAT), ("/v1/messages", {**CHAT, "max_tokens": 5})):
            answered = await client.post(gateway.url + path, json={**call, "stream": stream})
            assert answered.status_code == 401
            assert "bad credential: Bearer ***" in answered.text and CANARY not in answered.text


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/files", "//v1/embeddingz", "/api/v1/embeddingz", "/V1/messages/count", "/v1%2fmessages%2fcount"),
        *("/v1;a/messages/count", "/x/V1Beta/models"),
    ],
)
async def test_a_path_below_a_vendors_root_that_names_no_call_is_no_call(serve, client, path):
    gateway = await serve("llm: {port: 0, models: [{name: m, provider: simulator}]}")
    assert (await client.post(gateway.url + path, json=CHAT)).status_code == 404


async def test_a_method_that_nobody_takes_is_told_which_ones_are(serve, client):
    gateway = await serve("llm: {port: 0, models: [{name: m, provider: simulator}]}")
    answered = await client.put(gateway.url + "/v1/chat/completions", json=CHAT)
    assert (answered.status_code, answered.headers["allow"]) == (405, "GET, HEAD, POST")
