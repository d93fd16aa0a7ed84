"""The dialect matrix: every dialect a client may speak × every provider × what calls are about × whole or streamed.

A client sends the `request` of its dialect's transcript, the vendor answers with the `reply` or `stream` of its own.
What the vendor was asked and what the client saw are read by the published formats and compared with the same facts,
whatever the pair. Another dialect is one file in `matrix/`, its transcripts in `golden/`, and one row of `SPEAKERS`;
another provider is one row of `VENDORS`; another matter is one row of `CASES`. One test is a client and a provider:
what is wrong with any of their calls is told together, each with its name.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from typing import Any

import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream

from .matrix.calls import COUNTED, PAIRS, Call, Pair
from .matrix.cases import CASES
from .matrix.client import Answer, Client
from .matrix.facts import Json
from .matrix.served import collected, configuration
from .matrix.transcripts import played
from .matrix.vendors import SPEAKERS, VENDORS

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Stage:
    """A gateway in front of one upstream, which plays whatever vendor is wanted. `answered` are the calls whose lines
    in the access log are looked at in the end: lines come some time after their requests, and together."""

    gateway: Any
    upstream: Upstream
    client: Client
    answered: list[Call] = field(default_factory=list)

    async def ask(self, call: Call) -> Answer:
        self.upstream.received.clear()
        if not call.vendor.simulated:
            said, _ = call.answer()
            self.upstream.answer = lambda request: played(said)
        headers = {**call.speaker.headers, "x-case": str(call)}
        async with asyncio.timeout(20):
            return await self.client.post(call.speaker.target(call.asks, call.stream), call.document(), headers)

    async def costs(self) -> None:
        """Check what the log says of every call that was answered."""
        if self.answered:
            await self.gateway.logged(f"case={self.answered[-1]}")
        lines = [dict(pair.partition("=")[::2] for pair in line.split()) for line in self.gateway.access]
        logged = {fields["case"]: fields for fields in lines}
        with collected("the access log") as attempt:
            for call in self.answered:
                with attempt(call):
                    check_cost(logged[str(call)], call)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(serve_all: Callable[..., Any]) -> AsyncIterator[Stage]:
    async with Upstream(b"") as upstream:
        gateway = await serve_all(configuration(upstream.address))
        async with Client(gateway.url) as client:
            stage = Stage(gateway, upstream, client)
            yield stage
        await stage.costs()


@pytest.mark.parametrize("pair", PAIRS, ids=str)
async def test_every_client_reaches_every_provider(stage: Stage, pair: Pair) -> None:
    with collected(str(pair)) as attempt:
        for call in pair.calls:
            with attempt(call):
                await check(stage, call)
                if call.name in COUNTED:
                    stage.answered.append(call)


async def check(stage: Stage, call: Call) -> None:
    answer = await stage.ask(call)
    if not call.vendor.simulated:
        (received,) = stage.upstream.received
        check_received(received, call)
    if call.fails:
        check_error(answer, call)
    else:
        check_answer(answer, call)
    if not call.vendor.simulated and not call.translated and call.name != "disconnect":
        assert answer.content == call.answer()[1]


def check_received(received: Received, call: Call) -> None:
    """What the vendor was asked: where, with which credential, and every fact of the call."""
    vendor, document = call.vendor, received.json()
    named = vendor.naming(call.stream)
    assert (received.method, received.target) == ("POST", vendor.target(call.stream))
    assert {name: received.headers.get(name) for name, _ in vendor.head} == dict(vendor.head)
    assert received.headers["content-type"] == "application/json"
    assert "sk-of-the-client" not in str(received.headers)
    assert named.items() <= document.items()
    assert document.get("stream", False) == bool(named.get("stream"))
    assert ("model" in document) == ("model" in named)
    assert document == vendor.worded(document)
    assert vendor.dialect.asked(without(document, vendor.wrapping or ())) == call.asked
    if not call.translated:
        assert document == vendor.worded(without(call.document(), ("model",))) | named


def without(document: Json, fields: Iterable[str]) -> Json:
    return {key: value for key, value in document.items() if key not in fields}


def check_answer(answer: Answer, call: Call) -> None:
    """What the client saw: an answer in its own dialect, with every fact of the vendor's."""
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"].startswith(call.speaker.streams if call.stream else "application/json")
    seen = call.speaker.heard(answer.content) if call.stream else call.speaker.seen(answer.json())
    expected = call.expected()
    if call.vendor.simulated and expected.signature:
        expected = replace(expected, signature=seen.signature or "missing")
    if expected.error:  # what a vendor had counted before it failed is its own affair
        expected = replace(expected, usage=seen.usage)
    assert seen == expected
    assert seen.model.startswith(call.vendor.answers) or not call.speaker.names


def check_error(answer: Answer, call: Call) -> None:
    """A status, an error in the client's dialect that keeps the vendor's words, and when to come back."""
    status = {"error": 400, "rate-limit": 429, "overloaded": call.busy, "disconnect": 502}[call.name]
    own = call.name == "disconnect"
    failed = call.speaker.failed(answer.json())
    assert answer.status == status
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.headers.get("retry-after") == ("7" if call.name == "rate-limit" else None)
    assert failed.message == (
        f"simulated error {status}" if call.vendor.simulated and not own else call.case.seen.error
    )
    if own or call.reworded:
        assert failed.kind == call.speaker.kinds[status]


def check_cost(logged: dict[str, str], call: Call) -> None:
    """What the access log says of the tokens."""
    expected = call.counted
    assert expected is not None
    assert logged["gen_ai.usage.input_tokens"] == str(expected.input)
    assert logged["gen_ai.usage.output_tokens"] == str(expected.output)
    assert logged.get("gen_ai.usage.cache_read.input_tokens", "0") == str(expected.read)
    assert logged.get("gen_ai.usage.reasoning_tokens", "0") == str(expected.reasoning)
    assert logged.get("gen_ai.response.model", "").strip('"').startswith(call.vendor.answers)
    assert "gen_ai.usage.estimated" not in logged and "error" not in logged


async def test_no_provider_is_left_out() -> None:
    """One that has two names is in the matrix under one of them."""
    installed = entry_points(group="agentgateway.providers")
    tried = {name for vendor in VENDORS for name in vendor.provider}
    assert {installed[name].value for name in tried} == {point.value for point in installed}


async def test_presets_together_meet_every_case_with_every_client() -> None:
    tried = {
        (pair.speaker.name, name)
        for pair in PAIRS
        if pair.vendor.quarter is not None
        for name in pair.vendor.cases(pair.speaker.name)
    }
    assert tried == {(client, name) for client in SPEAKERS for name in CASES}
    clients = {(name, pair.speaker.name) for pair in PAIRS for name in pair.vendor.provider}
    assert clients == {(name, client) for vendor in VENDORS for name in vendor.provider for client in SPEAKERS}
