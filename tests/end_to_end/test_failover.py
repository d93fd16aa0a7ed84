"""What a client sees when an upstream misbehaves, and who was asked: the table of `docs/failover.md`.

`UPDATE_DOCS=1` writes the page anew; otherwise it must say what is measured here.
"""

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

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
    await asyncio.sleep(60)
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

WAYS = {
    "single": "- {name: asked, provider: {reference: bad}, params: {model: m}}",
    "weighted": """
  - {name: bad, visibility: internal, provider: {reference: bad}, params: {model: m}}
  - {name: good, visibility: internal, provider: {reference: good}, params: {model: m}}
  virtualModels:
  - name: asked
    routing: {weighted: {targets: [{model: bad, weight: 1000000000}, {model: good}]}}""",
    "priority groups": """
  - {name: bad, visibility: internal, provider: {reference: bad}, params: {model: m}}
  - {name: good, visibility: internal, provider: {reference: good}, params: {model: m}}
  virtualModels:
  - name: asked
    routing: {failover: {targets: [{model: bad, priority: 0}, {model: good, priority: 1}]}}""",
}


def config(way: str, bad: str, well: str) -> str:
    return f"""
llm:
  port: 0
  policies: {{timeout: {{backendRequestTimeout: 300ms}}}}
  providers:
  - {{name: bad, provider: openAI, params: {{apiKey: k, hostOverride: "{bad}"}}}}
  - {{name: good, provider: openAI, params: {{apiKey: k, hostOverride: "{well}"}}}}
  models:
  {WAYS[way].strip()}
"""


@pytest.fixture
def refusing() -> Iterator[str]:
    """An address that refuses connections: it is taken, so that nobody else comes to listen there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def measured(serve, refusing: str, trouble: Trouble, way: str) -> str:
    """One cell: what the client got, who was asked, what the access log says."""
    async with Upstream(trouble.answer or b"") as bad, Upstream(good) as well:
        gateway = await serve(config(way, bad.address if trouble.answer else refusing, well.address))
        call = {"model": "asked", "stream": trouble.stream, "messages": [{"role": "user", "content": "hi"}]}
        async with httpx.AsyncClient(timeout=20) as client:
            answer = await client.post(gateway.url + "/v1/chat/completions", json=call)
        line = await gateway.logged("http.path=/v1/chat/completions")
        asked = "".join(["A" * max(len(bad.received), int(trouble.answer is None)), "B" * len(well.received)])
        seen = f"{answer.status_code}{' ' + outcome(answer) if outcome(answer) else ''}"
        return f"{seen}; asked {asked}; {logged(line)}"


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
row says stream; the limit for a head (`timeout.backendRequestTimeout`) is 300 ms.

| A | single | weighted | priority groups |
|---|---|---|---|
"""


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
async def test_the_page_says_what_happens(serve, face, refusing, trouble):
    cells = [await measured(serve, refusing, trouble, way) for way in WAYS]
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
