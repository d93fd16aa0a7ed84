"""How streams of either dialect end when their vendors do not end them well."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Upstream
from agentgateway.testing.upstreams import LAST, chunk, stream_head

from .matrix import completions, messages
from .matrix.facts import Speaker
from .matrix.transcripts import END, pieces, played, streamed

pytestmark = pytest.mark.asyncio(loop_scope="module")
SPEAKERS = (completions.SPEAKER, messages.SPEAKER)
MODELS = {"completions": "gpt-5.1", "messages": "claude-haiku-4-5"}
PAIRS = [
    pytest.param(client, vendor.name, id=f"{client.name}-{vendor.name}") for client in SPEAKERS for vendor in SPEAKERS
]
every_pair = pytest.mark.parametrize(("client", "vendor"), PAIRS)


@dataclass
class Front:
    gateway: Any
    upstream: Upstream
    http: httpx.AsyncClient

    async def hear(self, client: Speaker, vendor: str, case: str, said: list[bytes]) -> tuple[bytes, bool]:
        """What the client gets of a stream, and whether that came to an end of its own."""
        self.upstream.answer = lambda request: played(said)
        document = {"model": MODELS[vendor], "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        got, headers = b"", {**client.headers, "x-case": case}
        url = self.gateway.url + client.path
        async with self.http.stream("POST", url, json=document | client.streaming, headers=headers) as response:
            assert response.status_code == 200
            try:
                async for data in response.aiter_bytes():
                    got += data
            except httpx.RemoteProtocolError:
                return got, False
        return got, True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Any) -> AsyncIterator[Front]:
    async with Upstream(b"") as upstream, httpx.AsyncClient(timeout=20) as client:
        address = {"hostOverride": upstream.address}
        models = [
            {"name": MODELS["completions"], "provider": "openAI", "params": address},
            {"name": MODELS["messages"], "provider": "anthropic", "params": address},
        ]
        gateway = await serve_all(f"""
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
frontendPolicies: {{accessLog: {{add: {{case: 'request.headers["x-case"]'}}}}}}
llm: {json.dumps({"gateways": "default", "models": models})}
""")
        yield Front(gateway, upstream, client)


def case_of(client: Speaker, vendor: str, what: str) -> str:
    return f"{what}-{client.name}-{vendor}"


@every_pair
async def test_a_vendor_that_dies_after_its_last_word_is_forgiven(front: Front, client: Speaker, vendor: str) -> None:
    case = case_of(client, vendor, "last-word")
    got, ended = await front.hear(client, vendor, case, pieces(*streamed((vendor,), "text"), END))
    seen = client.heard(got)
    assert ended and (seen.stop, seen.error) == ("stop", "")
    line = await front.gateway.logged(f"case={case}")
    assert "gen_ai.usage.output_tokens=9" in line and "error=" not in line


@every_pair
async def test_a_stream_that_breaks_inside_an_event(front: Front, client: Speaker, vendor: str) -> None:
    """In the same dialect the piece of an event is out already, and nothing can follow it: the stream is cut."""
    case = case_of(client, vendor, "broken-event")
    head, events = streamed((vendor,), "text")
    got, ended = await front.hear(client, vendor, case, pieces(head, events[: events.index(b" Ada") + 2], END))
    if client.name == vendor:
        assert not ended and got.endswith(b" A")
    else:
        seen = client.heard(got)
        assert ended and (seen.text, seen.error) == ("Hello", "the upstream's answer was cut short")
    assert "the upstream's answer was cut short" in await front.gateway.logged(f"case={case}")


@every_pair
async def test_a_stream_that_ends_too_early_is_no_answer(front: Front, client: Speaker, vendor: str) -> None:
    case = case_of(client, vendor, "early-end")
    head, events = streamed((vendor,), "text")
    events = events[: events.index(b"\n\n", events.index(b" Ada")) + 2]
    got, ended = await front.hear(client, vendor, case, pieces(head, events))
    seen = client.heard(got)
    assert ended and (seen.text, seen.stop) == ("Hello Ada", None)
    assert seen.error == "the upstream's stream ended before its answer was complete"
    assert seen.error in await front.gateway.logged(f"case={case}")


@pytest.mark.parametrize(("client", "vendor"), [pair for pair in PAIRS if pair.values[0].name != pair.values[1]])
async def test_an_event_that_nobody_can_hold_is_an_error_and_frees_the_vendor(
    front: Front, client: Speaker, vendor: str
) -> None:
    case = case_of(client, vendor, "huge-event")
    head, events = streamed((vendor,), "text")
    begun = events[: events.index(b"\n\n", events.index(b"Hello")) + 2]
    huge = [chunk(b"x" * 65536)] * 20
    front.upstream.gone.clear()
    got, ended = await front.hear(client, vendor, case, [head, chunk(begun), chunk(b"data: "), *huge, LAST])
    seen = client.heard(got)
    assert ended and seen.text == "Hello" and seen.error
    assert seen.error in await front.gateway.logged(f"case={case}")


@every_pair
async def test_a_stream_without_a_word_is_not_an_answer(front: Front, client: Speaker, vendor: str) -> None:
    case = case_of(client, vendor, "silent")
    got, ended = await front.hear(client, vendor, case, [stream_head(), LAST])
    assert ended and b"error" in got and b"ended before its answer was complete" in got


async def test_an_end_without_its_marker_is_an_end_once_the_answer_says_so(front: Front) -> None:
    client = next(pair.values[0] for pair in PAIRS if pair.values[0].name == "completions")
    case = case_of(client, "completions", "no-marker")
    head, events = streamed(("completions",), "text")
    whole = events.partition(b"data: [DONE]")[0]
    got, ended = await front.hear(client, "completions", case, pieces(head, whole))
    assert ended and b'"finish_reason"' in got and b'"error"' not in got
    assert "error=" not in await front.gateway.logged(f"case={case}")


async def test_an_error_that_the_vendor_tells_itself_is_logged_and_told_once(front: Front) -> None:
    client = next(pair.values[0] for pair in PAIRS if pair.values[0].name == "completions")
    case = case_of(client, "completions", "vendors-error")
    event = b'data: {"error": {"message": "overloaded", "type": "server_error"}}\n\n'
    got, ended = await front.hear(client, "completions", case, [stream_head(), chunk(event), LAST])
    assert ended and got == event
    line = await front.gateway.logged(f"case={case}")
    assert 'error="overloaded"' in line or "error=overloaded" in line


@every_pair
async def test_a_client_that_leaves_before_the_first_event(front: Front, client: Speaker, vendor: str) -> None:
    left = asyncio.Event()

    async def silent() -> AsyncIterator[bytes]:
        yield stream_head()
        while True:
            yield chunk(b": nothing yet\n\n")
            left.set()
            await asyncio.sleep(0.005)

    case = case_of(client, vendor, "left")
    front.upstream.gone.clear()
    front.upstream.answer = lambda request: silent()
    document = {"model": MODELS[vendor], "max_tokens": 9, "messages": [{"role": "user", "content": "hi " * 100}]}
    headers, url = {**client.headers, "x-case": case}, front.gateway.url + client.path
    async with front.http.stream("POST", url, json=document | client.streaming, headers=headers) as response:
        assert response.status_code == 200
        async with asyncio.timeout(5):
            await left.wait()
    async with asyncio.timeout(5):
        await front.upstream.gone.wait()
    line = await front.gateway.logged(f"case={case}")
    assert "gen_ai.usage.estimated=" in line and "gen_ai.usage.input_tokens=75" in line
    assert "gen_ai.usage.output_tokens=0" in line
