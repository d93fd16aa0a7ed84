"""What a client sees when an upstream misbehaves, and who was asked: the table of `docs/failover.md`.

`UPDATE_DOCS=1` writes the page anew; otherwise it must say what is measured here.
"""

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGE = Path(__file__).parents[2] / "docs" / "failover.md"


def completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    document = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return {**document, "usage": usage}


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    document = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(document).encode() + b"\n\n"


HEAD = stream_head()
STREAM = event({"role": "assistant", "content": ""}) + event({"content": "well"}) + event({}, "stop")


def good(request: Received) -> bytes:
    if json.loads(request.body).get("stream"):
        return HEAD + chunk(STREAM + b"data: [DONE]\n\n") + LAST
    return reply(200, completion("well"))


def failing(status: int, **fields: str) -> Callable[[Received], bytes]:
    document = {"error": {"message": f"vendor says {status}", "type": "error", "code": None}}
    return lambda request: reply(
        status, document, headers={name.replace("_", "-"): text for name, text in fields.items()}
    )


async def hang_up(after: bytes = b"") -> AsyncIterator[bytes]:
    yield after
    raise ConnectionResetError


async def never() -> AsyncIterator[bytes]:
    await asyncio.sleep(4)
    yield b""


@dataclass(frozen=True)
class Trouble:
    """What the first upstream does; None refuses connections."""

    name: str
    answer: Callable[[Received], Any] | None
    stream: bool = False


FIRST_EVENT = HEAD + chunk(event({"role": "assistant", "content": ""}))
TROUBLES = [
    Trouble("connection refused", None),
    Trouble("400", failing(400)),
    Trouble("401", failing(401)),
    Trouble("429, `Retry-After: 7`", failing(429, retry_after="7")),
    Trouble("500", failing(500)),
    Trouble("503", failing(503)),
    Trouble("no head in time", lambda request: never()),
    Trouble("dies before its head", lambda request: hang_up()),
    Trouble("dies after its head", lambda request: hang_up(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")),
    Trouble("stream: dies after its head", lambda request: hang_up(HEAD), stream=True),
    Trouble("stream: dies before the first token", lambda request: hang_up(FIRST_EVENT), stream=True),
    Trouble(
        "stream: dies after the first token",
        lambda request: hang_up(FIRST_EVENT + chunk(event({"content": "half"}))),
        stream=True,
    ),
    Trouble("malformed body", lambda request: reply(200, b"<html>oops</html>")),
    Trouble("malformed stream", lambda request: HEAD + chunk(b"data: {oops\n\n") + LAST, stream=True),
    Trouble("stream: an error event first", lambda request: HEAD + chunk(ERROR_EVENT) + LAST, stream=True),
]
ERROR_EVENT = b'data: {"error": {"message": "overloaded", "type": "server_error", "code": null}}\n\n'

WAYS: dict[str, Callable[[str], dict[str, Any]] | None] = {
    "single": None,
    "weighted": lambda bad: {"weighted": {"targets": [{"model": bad, "weight": 10**9}, {"model": "good"}]}},
    "priority groups": lambda bad: {
        "failover": {"targets": [{"model": bad, "priority": 0}, {"model": "good", "priority": 1}]}
    },
}


@dataclass
class Cell:
    """A trouble and a way to have a second target, with an upstream of their own."""

    number: int
    trouble: Trouble
    routing: Callable[[str], dict[str, Any]] | None
    bad: Upstream
    address: str = ""

    @property
    def asked(self) -> str:
        """The model that a client names."""
        return f"asked-{self.number}" if self.routing else f"bad-{self.number}"

    def model(self) -> dict[str, Any]:
        params = {"apiKey": "k", "hostOverride": self.address, "model": "m"}
        return {"name": f"bad-{self.number}", "provider": "openAI", "params": params}


@dataclass
class Table:
    """One gateway in front of all upstreams that misbehave, and the one that does not."""

    cells: list[Cell]
    well: Upstream
    gateway: Any = None

    def config(self) -> str:
        good = {"name": "good", "provider": "openAI", "params": {"apiKey": "k", "hostOverride": self.well.address}}
        llm = {
            "port": 0,
            "policies": {"timeout": {"backendRequestTimeout": "2s"}},
            "models": [good, *(cell.model() for cell in self.cells)],
            "virtualModels": [
                {"name": cell.asked, "routing": cell.routing(f"bad-{cell.number}")}
                for cell in self.cells
                if cell.routing
            ],
        }
        return f"llm: {json.dumps(llm)}\n"

    async def measured(self, cell: Cell, client: httpx.AsyncClient) -> str:
        """What the client got, who was asked, what the access log says."""
        self.well.received.clear()
        call = {"model": cell.asked, "stream": cell.trouble.stream, "messages": [{"role": "user", "content": "hi"}]}
        answer = await client.post(self.gateway.url + "/v1/chat/completions", json=call)
        line = await self.gateway.logged(f"gen_ai.request.model={cell.asked} ")
        times = len(cell.bad.received) if cell.trouble.answer else 1
        asked = "A" * times + "B" * len(self.well.received)
        seen = f"{answer.status_code}{' ' + outcome(answer) if outcome(answer) else ''}"
        return f"{seen}; asked {asked}; {logged(line)}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def table(serve_all: Callable[..., Any]) -> AsyncIterator[Table]:
    async with AsyncExitStack() as opened:
        refusing = opened.enter_context(socket.socket())  # it is taken, so that nobody else comes to listen there
        refusing.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{refusing.getsockname()[1]}"
        cells = []
        for trouble in TROUBLES:
            for routing in WAYS.values():
                bad = await opened.enter_async_context(Upstream(trouble.answer or b""))
                cells.append(Cell(len(cells), trouble, routing, bad, bad.address if trouble.answer else nobody))
        table = Table(cells, await opened.enter_async_context(Upstream(good)))
        table.gateway = await serve_all(table.config())
        yield table


def outcome(answer: httpx.Response) -> str:
    if answer.status_code >= 400:
        document = answer.json()["error"]
        return f"“{document['message']}”"
    text = answer.text
    if "well" in text:
        return "whole"
    return "“half”, then an error event" if "half" in text and "error" in text else "an error event" * ("error" in text)


def logged(line: str) -> str:
    fields = [found[0] for found in re.finditer(r"(reason|retry\.attempt)=\S+", line)]
    return "`" + " ".join(sorted(fields)) + "`" if fields else "no reason"


HEADING = """# When an upstream fails

What a client gets when the first upstream (A) misbehaves, with one model, with two by weight (A is drawn first), and
with two by priority (A before B). Another target is asked whenever that can help and nothing of an answer has left;
each is asked once. The same holds for `groups` of an `ai` backend. Without a second target, `retry` decides.
`tests/end_to_end/test_failover.py` measures this table with a real gateway and writes it.

A cell: what the client got; who was asked, in order; what the access log says beside the status. Whole calls, unless a
row says stream; the limit for a head (`timeout.backendRequestTimeout`) is 2 s.

| A | single | weighted | priority groups |
|---|---|---|---|
"""


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
async def test_the_page_says_what_happens(table: Table, face: str, trouble: Trouble) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        cells = [await table.measured(cell, client) for cell in table.cells if cell.trouble is trouble]
    row = f"| {trouble.name} | {' | '.join(cells)} |\n"
    if os.environ.get("UPDATE_DOCS") and face == "edge":
        write(trouble.name, row)
    assert row in PAGE.read_text()


def write(name: str, row: str) -> None:
    """Put a row into the page, in the order of the troubles."""
    rows = {line.split(" | ")[0][2:]: line + "\n" for line in text_of_page().splitlines() if line.startswith("| ")}
    rows[name] = row
    PAGE.write_text(HEADING + "".join(rows[one.name] for one in TROUBLES if one.name in rows))


def text_of_page() -> str:
    return PAGE.read_text().partition("|---|---|---|---|\n")[2] if PAGE.exists() else ""
