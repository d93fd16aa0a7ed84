"""The dialect matrix: every dialect a client may speak × every provider × what calls are about × whole or streamed.

A client sends the `request` of its dialect's transcript, the vendor answers with the `reply` or `stream` of its own.
What the vendor was asked and what the client saw are read by the published formats and compared with the same facts,
whatever the pair. Another dialect is one file in `matrix/`, its transcripts in `golden/`, and one row of `SPEAKERS`;
another provider is one row of `VENDORS`; another matter is one row of `CASES`.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream

from .matrix import completions, converse, gemini, messages, responses
from .matrix.cases import CASES, Case
from .matrix.facts import Asked, Counts, Json, Seen, Speaker
from .matrix.transcripts import END, pieces, played, section, streamed, up_to, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEY = "sk-of-the-operator"
CORE = ("openAI", "anthropic", "custom-completions", "custom-messages", "simulator-completions", "simulator-messages")
SPEAKERS: dict[str, Speaker] = {
    one.name: one
    for one in (completions.SPEAKER, converse.SPEAKER, gemini.SPEAKER, messages.SPEAKER, responses.SPEAKER)
}


@dataclass(frozen=True)
class Vendor:
    """A provider as the configuration names it, and what its upstream expects.

    `folders` are those of its transcripts, the first that has one counts; `head` are fields that its requests must
    have, None those they must not have; `answers` is the model of its transcripts, if they name one. `place` is the
    path for a model and whether it streams, where that is not the dialect's own; `wrapping` the fields that take the
    place of the model's name in a call then. `thinks` and `signs` say whether thoughts are shown, and signed; `clients`
    who gets this row, where the provider speaks several dialects.
    """

    name: str
    provider: Json
    speaks: str
    folders: tuple[str, ...]
    head: tuple[tuple[str, str | None], ...]
    model: str = "gpt-5.1"
    answers: str = "gpt-5.1-2025-11-13"
    thinks: bool = True
    signs: bool = True
    clients: tuple[str, ...] = ()
    place: Callable[[str, bool], str] | None = None
    wrapping: Json | None = None

    @property
    def simulated(self) -> bool:
        return not self.folders

    @property
    def dialect(self) -> Speaker:
        return SPEAKERS[self.speaks]

    def target(self, stream: bool) -> str:
        return (self.place or self.dialect.target)(self.model, stream)

    def naming(self, stream: bool) -> Json:
        """The fields of a call that name its model and ask for a stream."""
        if self.wrapping is None:
            return self.dialect.naming(self.model, stream)
        return self.wrapping | (self.dialect.streaming if stream else {})


def custom(dialect: str) -> Json:
    return {"custom": {"formats": [{"type": dialect}]}}


def simulator(dialect: str) -> Vendor:
    return Vendor(
        f"simulator-{dialect}", {"simulator": {"dialects": [dialect]}}, dialect, (), (), "simulate:", "simulate:"
    )


BEARER = (("authorization", f"Bearer {KEY}"), ("x-api-key", None))
OPENAI = (*BEARER, ("anthropic-version", None), ("anthropic-beta", None))
ANTHROPIC = (
    *(("x-api-key", KEY), ("authorization", None)),
    *(("anthropic-version", "2023-06-01"), ("openai-organization", None)),
)
GOOGLE = (*OPENAI, ("x-goog-api-key", None), ("openai-organization", None))
AMAZON = (*GOOGLE, ("x-amz-security-token", None), ("x-amz-date", None))
AZURE = (("api-key", KEY), ("authorization", None), ("x-api-key", None), ("openai-organization", None))
CLAUDE = ("claude-haiku-4-5", "claude-haiku-4-5-20251001")
GEMINI = ("gemini-3-pro", "gemini-3-pro-preview")
BEDROCK = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
OTHERS = ("completions", "converse", "gemini", "messages")
OPENAIS = ("completions", "responses")
"""Dialects whose errors are the same, word for word."""
COMPATIBLE = ("completions-compatible", "completions")
VERTEX = {"vertex": {"projectId": "mine", "region": "europe-west4"}}
PUBLISHERS = "/v1/projects/mine/locations/europe-west4/publishers"
FOUNDRY = {"azure": {"resourceName": "mine", "resourceType": "foundry"}}


def google(model: str, stream: bool) -> str:
    return f"{PUBLISHERS}/google/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def claude(model: str, stream: bool) -> str:
    return f"{PUBLISHERS}/anthropic/models/{model}:{'streamRawPredict' if stream else 'rawPredict'}"


def at(path: str) -> Callable[[str, bool], str]:
    return lambda model, stream: path


VENDORS = [
    Vendor("openAI", {"openAI": {}}, "completions", ("completions",), OPENAI, thinks=False, clients=OTHERS),
    Vendor(
        "openAI-responses",
        *({"openAI": {}}, "responses", ("responses",), OPENAI),
        signs=False,
        clients=("responses",),
    ),
    Vendor("anthropic", {"anthropic": {}}, "messages", ("messages",), ANTHROPIC, *CLAUDE),
    Vendor("custom-completions", custom("completions"), "completions", COMPATIBLE, BEARER, signs=False),
    Vendor("custom-messages", custom("messages"), "messages", ("messages",), BEARER, *CLAUDE),
    Vendor("custom-responses", custom("responses"), "responses", ("responses",), BEARER, signs=False),
    Vendor("gemini", {"gemini": {}}, "gemini", ("gemini",), GOOGLE, *GEMINI),
    Vendor("custom-gemini", custom("generateContent"), "gemini", ("gemini",), BEARER, *GEMINI),
    Vendor("bedrock", {"bedrock": {"region": "eu-west-1"}}, "converse", ("converse",), AMAZON, BEDROCK, ""),
    Vendor("vertex-gemini", VERTEX, "gemini", ("gemini",), GOOGLE, *GEMINI, place=google),
    Vendor(
        *("vertex-claude", VERTEX, "messages", ("messages",), BEARER, *CLAUDE),
        place=claude,
        wrapping={"anthropic_version": "vertex-2023-10-16"},
    ),
    Vendor(
        *("azure", {"azure": {"resourceName": "mine"}}, "completions", ("completions",), AZURE),
        thinks=False,
        clients=OTHERS,
        place=at("/openai/v1/chat/completions"),
    ),
    Vendor(
        *("azure-responses", {"azure": {"resourceName": "mine"}}, "responses", ("responses",), AZURE),
        signs=False,
        clients=("responses",),
        place=at("/openai/v1/responses"),
    ),
    Vendor(
        *("azure-claude", FOUNDRY, "messages", ("messages",), AZURE, *CLAUDE),
        place=at("/anthropic/v1/messages"),
    ),
    simulator("completions"),
    simulator("messages"),
]
BEFORE_A_STREAM = ("error", "rate-limit")
"""Cases that vendors answer with a status and no stream, also when one was asked for."""
MIDWAY = ("overloaded", "disconnect")
"""Cases in which a stream has begun before it fails."""


@dataclass(frozen=True)
class Call:
    """One cell of the matrix."""

    speaker: Speaker
    vendor: Vendor
    name: str
    stream: bool

    @property
    def case(self) -> Case:
        return CASES[self.name]

    @property
    def translated(self) -> bool:
        return self.speaker.name != self.vendor.speaks

    @property
    def stops(self) -> bool:
        """Whether both have a word for stop sequences; a call with one is refused where the vendor has none."""
        return bool(self.speaker.stop and self.vendor.dialect.stop)

    @property
    def links(self) -> bool:
        """The same for pictures that lie elsewhere."""
        return self.speaker.links and self.vendor.dialect.links

    @property
    def asked(self) -> Asked:
        """What both have words for."""
        asked = self.case.asked if self.stops else replace(self.case.asked, stop=())
        if not self.links:
            asked = replace(asked, turns=tuple(turn for turn in asked.turns if not turn[-1].startswith("https:")))
        if not (self.speaker.names and self.vendor.dialect.names):
            asked = replace(asked, turns=tuple(map(without_dots, asked.turns)))
        parallel = self.speaker.parallel and self.vendor.dialect.parallel
        return asked if parallel else replace(asked, parallel=None)

    @property
    def busy(self) -> int:
        return self.vendor.dialect.busy

    @property
    def fails(self) -> bool:
        """Whether the client gets a status in place of an answer."""
        return self.name in BEFORE_A_STREAM or (self.name in MIDWAY and not self.stream)

    def document(self) -> Json:
        title = "request" if self.links or self.name != "image" or not self.speaker.links else "request without links"
        document = json.loads(section((self.speaker.name,), self.case.request or self.name, title))
        document.pop("model", None)
        if not self.stops:
            *holders, field = self.speaker.stop.split(".")
            reduce(dict.__getitem__, holders, document).pop(field, None)
        return document | self.speaker.naming(self.asks, self.stream)

    @property
    def asks(self) -> str:
        """The model that the client names."""
        return f"{self.vendor.name}/{self.name}"

    def answer(self) -> tuple[list[bytes], bytes]:
        """What the vendor puts on the wire, and the body in it."""
        folders, name = self.vendor.folders, "text" if self.name == "disconnect" else self.name
        if self.fails or not self.stream:
            head, body = whole(folders, name)
            return ([head, body[:-50], END] if self.name == "disconnect" else [head, body]), body
        head, events = streamed(folders, name)
        if self.name != "disconnect":
            return pieces(head, events), events
        events = up_to(events, b" Ada")
        return pieces(head, events, END), events

    @property
    def counted(self) -> Counts | None:
        """What the vendor says that it cost."""
        simulated = self.case.counted if self.links else self.case.unlinked or self.case.counted
        return said_by(self.vendor.dialect, simulated if self.vendor.simulated else self.case.seen.usage)

    def expected(self) -> Seen:
        case, vendor = self.case, self.vendor
        seen = replace(case.seen, usage=said_by(self.speaker, self.counted))
        if vendor.simulated:
            text = seen.text if case.spoken is None else case.spoken
            error = f"simulated error {self.busy}" if self.name == "overloaded" else seen.error
            return replace(seen, text=text, error=error)
        thinking = seen.thinking if vendor.thinks else ""
        return replace(seen, thinking=thinking, signature=seen.signature if vendor.thinks and vendor.signs else "")

    @property
    def with_both_faces(self) -> bool:
        """Whether it is tried with the twin, too: the dialects and providers that the core began with."""
        ours = {"completions", "messages"}
        return self.speaker.name in ours and self.vendor.speaks in ours and self.vendor.name in CORE

    def __str__(self) -> str:
        return f"{self.speaker.name}-{self.vendor.name}-{self.name}-{'streamed' if self.stream else 'whole'}"


def said_by(dialect: Speaker, counts: Counts | None) -> Counts | None:
    """What of it a dialect has words for."""
    if counts is not None and not dialect.caches:
        counts = replace(counts, written=0)
    return counts if counts is None or dialect.thoughts else replace(counts, reasoning=0)


def without_dots(turn: tuple[str, ...]) -> tuple[str, ...]:
    return (turn[0], turn[1].replace(".", " "), *turn[2:]) if turn[0] == "document" else turn


CALLS = [
    Call(speaker, vendor, name, stream)
    for speaker, vendor, name, stream in product(SPEAKERS.values(), VENDORS, CASES, (False, True))
    if speaker.name in (vendor.clients or SPEAKERS)
]


@dataclass(frozen=True)
class Stage:
    """A gateway in front of one upstream, which plays whatever vendor is wanted."""

    gateway: Any
    upstream: Upstream
    client: httpx.AsyncClient

    async def ask(self, call: Call) -> httpx.Response:
        self.upstream.received.clear()
        if not call.vendor.simulated:
            said, _ = call.answer()
            self.upstream.answer = lambda request: played(said)
        headers = {**call.speaker.headers, "x-case": str(call)}
        target = call.speaker.target(call.asks, call.stream)
        return await self.client.post(self.gateway.url + target, json=call.document(), headers=headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(serve_all: Callable[..., Any]) -> AsyncIterator[Stage]:
    async with Upstream(b"") as upstream, httpx.AsyncClient(timeout=20) as client:
        yield Stage(await serve_all(configuration(upstream.address)), upstream, client)


def configuration(address: str) -> str:
    """One model for each provider and case."""
    models = [model(vendor, name, case, address) for vendor in VENDORS for name, case in CASES.items()]
    return f"""
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
frontendPolicies: {{accessLog: {{add: {{case: 'request.headers["x-case"]'}}}}}}
llm: {json.dumps({"gateways": "default", "models": models})}
"""


def model(vendor: Vendor, name: str, case: Case, address: str) -> Json:
    """The simulator is no upstream: what it has to do stands in its configuration."""
    provider, params = vendor.provider, {"apiKey": KEY, "hostOverride": address, "model": vendor.model}
    if vendor.simulated:
        ((kind, settings),) = provider.items()
        directive = case.directive.format(busy=vendor.dialect.busy)
        provider = {kind: settings | {"reply": case.seen.text + case.further}}
        params = {"model": vendor.model + directive}
    return {"name": f"{vendor.name}/{name}", "provider": provider, "params": params}


@pytest.mark.parametrize("call", CALLS, ids=str)
async def test_every_client_reaches_every_provider(stage: Stage, call: Call) -> None:
    response = await stage.ask(call)
    if not call.vendor.simulated:
        (received,) = stage.upstream.received
        check_received(received, call)
    if call.fails:
        check_error(response, call)
    else:
        check_answer(response, call)
    if not call.vendor.simulated and not call.translated and call.name != "disconnect":
        assert response.content == call.answer()[1]


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
    assert vendor.dialect.asked(without(document, vendor.wrapping or ())) == call.asked
    if not call.translated:
        assert document == without(call.document(), ("model",)) | named


def without(document: Json, fields: Iterable[str]) -> Json:
    return {key: value for key, value in document.items() if key not in fields}


def check_answer(response: httpx.Response, call: Call) -> None:
    """What the client saw: an answer in its own dialect, with every fact of the vendor's."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith(call.speaker.streams if call.stream else "application/json")
    seen = call.speaker.heard(response.content) if call.stream else call.speaker.seen(response.json())
    expected = call.expected()
    if call.vendor.simulated and expected.signature:
        expected = replace(expected, signature=seen.signature or "missing")
    if expected.error:  # what a vendor had counted before it failed is its own affair
        expected = replace(expected, usage=seen.usage)
    assert seen == expected
    assert seen.model.startswith(call.vendor.answers) or not call.speaker.names


def check_error(response: httpx.Response, call: Call) -> None:
    """A status, an error in the client's dialect that keeps the vendor's words, and when to come back."""
    status = {"error": 400, "rate-limit": 429, "overloaded": call.busy, "disconnect": 502}[call.name]
    own = call.name == "disconnect"
    failed = call.speaker.failed(response.json())
    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers.get("retry-after") == ("7" if call.name == "rate-limit" else None)
    assert failed.message == (
        f"simulated error {status}" if call.vendor.simulated and not own else call.case.seen.error
    )
    if own or (call.translated and not {call.speaker.name, call.vendor.speaks} <= set(OPENAIS)):
        assert failed.kind == call.speaker.kinds[status]


async def test_what_every_call_cost_is_logged(stage: Stage) -> None:
    calls = [call for call in CALLS if call.name in ("text", "reasoning")]
    for call in calls:
        await stage.ask(call)
    for call in calls:
        line = await stage.gateway.logged(f"case={call}")
        logged = dict(pair.partition("=")[::2] for pair in line.split())
        expected = call.counted
        assert expected is not None
        assert logged["gen_ai.usage.input_tokens"] == str(expected.input)
        assert logged["gen_ai.usage.output_tokens"] == str(expected.output)
        assert logged.get("gen_ai.usage.cache_read.input_tokens", "0") == str(expected.read)
        assert logged.get("gen_ai.usage.reasoning_tokens", "0") == str(expected.reasoning)
        assert logged.get("gen_ai.response.model", "").strip('"').startswith(call.vendor.answers)
        assert "gen_ai.usage.estimated" not in logged and "error" not in logged
