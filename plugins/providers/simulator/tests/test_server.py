"""The standalone simulator, on raw sockets."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import pytest
from agentgateway_simulator.config import SimulatorConfig
from agentgateway_simulator.server import Server
from pydantic_core import from_json, to_json

KEY = "sk-simulated-key"
COMPLETIONS = "/v1/chat/completions"
CALL = {"model": "gpt-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}


async def talk(server: Server, *pieces: bytes) -> bytes:
    """Send pieces, end the sending side, read everything that comes."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def request(path: str, body: Any = CALL, method: str = "POST", **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else to_json(body)
    fields = {"host": "x", "content-length": str(len(data)), "authorization": f"Bearer {KEY}"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


def answers(data: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each buffered answer."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append((int(head.split(b" ")[1]), rest[:length]))
        data = rest[length:]
    return found


async def test_one_connection_serves_several_calls(server: Server) -> None:
    served = answers(await talk(server, request(COMPLETIONS) * 3))
    assert [status for status, _ in served] == [200, 200, 200]
    assert served[0] == served[1] == served[2]


async def test_a_chunked_body_is_read(server: Server) -> None:
    body = to_json(CALL)
    chunked = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (10, body[:10], len(body) - 10, body[10:])
    head = request(COMPLETIONS, b"", content_length="", transfer_encoding="chunked")
    assert answers(await talk(server, head, chunked))[0][0] == 200


async def test_a_client_that_waits_for_leave_gets_it(server: Server) -> None:
    told = await talk(server, request(COMPLETIONS, expect="100-continue"))
    assert told.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


async def test_the_version_is_required_where_the_vendor_requires_it(server: Server) -> None:
    ((status, body),) = answers(await talk(server, request("/v1/messages")))
    assert status == 400
    assert from_json(body)["error"]["message"] == "anthropic-version: header is required"
    assert answers(await talk(server, request("/v1/messages", anthropic_version="2023-06-01")))[0][0] == 200


@pytest.mark.parametrize("field", ["authorization", "x_api_key"])
async def test_anthropics_key_may_stand_in_either_header(server: Server, field: str) -> None:
    value = f"Bearer {KEY}" if field == "authorization" else KEY
    fields = {"authorization": "", "anthropic_version": "2023-06-01", field: value}
    assert answers(await talk(server, request("/v1/messages", **fields)))[0][0] == 200


@pytest.mark.parametrize(
    ("path", "fields", "kind"),
    [
        (COMPLETIONS, {"authorization": ""}, "invalid_request_error"),
        (COMPLETIONS, {"authorization": "", "x_api_key": KEY}, "invalid_request_error"),
        ("/v1/messages", {"authorization": "", "anthropic_version": "2023-06-01"}, "authentication_error"),
        ("/v1/messages", {"authorization": "Basic eDp5", "anthropic_version": "2023-06-01"}, "authentication_error"),
    ],
)
async def test_a_missing_key_is_refused_in_the_vendors_format(
    server: Server, path: str, fields: dict[str, str], kind: str
) -> None:
    ((status, body),) = answers(await talk(server, request(path, **fields)))
    assert (status, from_json(body)["error"]["type"]) == (401, kind)


async def test_without_a_key_of_its_own_it_takes_any() -> None:
    async with Server() as server:
        assert answers(await talk(server, request(COMPLETIONS, authorization="")))[0][0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request(COMPLETIONS, b"{"), 400),
        (request(COMPLETIONS, b"[]"), 400),
        (request(COMPLETIONS, {"model": "gpt-5"}), 400),
        (request("/v1/nothing"), 404),
        (request(COMPLETIONS, method="GET"), 404),
        (b"nonsense\r\n\r\n", 400),
        (request(COMPLETIONS, content_length="-1"), 400),
        (request(COMPLETIONS, content_length="99999999999"), 400),
        (request(COMPLETIONS, content_length="x"), 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nshort", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", 400),
    ],
)
async def test_bad_requests_get_an_answer_and_the_server_lives(server: Server, sent: bytes, status: int) -> None:
    assert answers(await talk(server, sent))[0][0] == status
    assert answers(await talk(server, request(COMPLETIONS)))[0][0] == 200


async def test_a_client_that_says_nothing_is_no_trouble(server: Server) -> None:
    assert await talk(server) == b""


async def test_a_whole_reply_that_breaks_ends_before_its_length(server: Server) -> None:
    call = {**CALL, "messages": [{"role": "user", "content": "[[simulate disconnect]]"}]}
    data = await talk(server, request(COMPLETIONS, call))
    assert data.startswith(b"HTTP/1.1 200") and not data.endswith(b"0\r\n\r\n")


async def test_clients_that_leave_are_forgotten() -> None:
    async with Server(SimulatorConfig.model_validate({"tokens": 100_000, "pace": "1ms"})) as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request(COMPLETIONS, {**CALL, "max_tokens": 100_000, "stream": True}))
        await reader.readuntil(b"data: ")
        writer.close()
        await writer.wait_closed()
        for _ in range(1000):
            if not server.connections:
                break
            await asyncio.sleep(0.01)
        assert server.connections == 0


async def test_the_command_says_where_it_serves_and_ends_at_a_signal() -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agentgateway_simulator", "--port", "0", "--reply", "ready"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    url = (await program.stdout.readline()).decode().strip()
    server = Server()
    server.url = url
    ((status, body),) = answers(await talk(server, request(COMPLETIONS)))
    assert (status, from_json(body)["choices"][0]["message"]["content"]) == (200, "ready")
    program.send_signal(signal.SIGTERM)
    assert await program.wait() == 0
