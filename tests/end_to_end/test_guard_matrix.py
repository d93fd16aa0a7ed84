"""The guard matrix: every guard × every dialect × whole or streamed a byte at a time × what comes of it, for requests
and for replies, for messages, arguments of tool calls and results of tools, and for realtime sessions, on one gateway.

Another dialect is one row of `DIALECTS`; another guard that asks somebody is one row of `SERVICES`. What a guard must
not let pass has a canary in it, which may reach neither the model, nor the client, nor the log.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

from .guard_matrix.dialects import DIALECTS, Dialect, Json, asked_in, said
from .guard_matrix.realtime import REALTIME, asking_for, heard_by_vendor, held, said_by_client, spoken
from .guard_matrix.realtime import vendor as realtime_vendor
from .guard_matrix.services import MASKED, SERVICES, judge, judging, model_armor, saying_nothing, silent
from .guard_matrix.tools import TOOLS

pytestmark = pytest.mark.asyncio(loop_scope="module")
MASK, BLOCK = "canarymask7f3a", "canaryblock7f3a"
TEXTS = {
    fate: f"Dear Ada ☕, the word is {word}, and nobody else's."
    for fate, word in {"pass": "falcon", "mask": MASK, "block": BLOCK}.items()
}
REGEX = [
    {"regex": {"rules": [{"pattern": f"{MASK}\\b"}]}},
    {"regex": {"action": "reject", "rules": [{"pattern": f"{BLOCK}\\b"}]}},
]
FAILURES = ("down", "slow", "malformed")
OPEN = "open"
"""A guard that is down, where the file says that messages pass then."""
NONSENSE = {"action": {"decision": "allow"}, "results": "none", "categoriesAnalysis": {}, "jailbreakAnalysis": True}


@pytest.fixture(scope="module")
def face() -> str:
    """Guards know nothing of the client's side."""
    return "edge"


@dataclass(frozen=True)
class Cell:
    guard: str
    phase: str
    dialect: Dialect
    stream: bool
    fate: str
    place: str = "text"
    """Where the text is that the guard is to look at: in a message, a tool call's `arguments`, or its `result`."""

    @property
    def model(self) -> str:
        vendor = f"{self.dialect.name}-" if self.dialect.name in ("gemini", "realtime") else ""
        return f"{vendor}{named(self.guard, self.phase, self.fate, self.place)}"

    def call(self) -> Json:
        text = self.text if self.phase == "request" else f"say={self.says} in={self.place}"
        if self.place == "text" or self.phase == "response":
            return self.dialect.call(self.model, text, self.stream)
        given, found = (text, "fine") if self.place == "arguments" else ("fine", text)
        return TOOLS[self.dialect.name].put(self.dialect.call(self.model, "note it", self.stream), given, found)

    def shown_whole(self, body: bytes) -> str:
        """What a whole answer says."""
        if self.in_arguments:
            return noted(TOOLS[self.dialect.name].called(json.loads(body)))
        return self.dialect.text(json.loads(body))

    def shown_streamed(self, body: bytes) -> tuple[str, bool]:
        """What a streamed answer says, and whether an error was told."""
        if not self.in_arguments:
            return said(self.dialect, body)
        documents = list(self.dialect.read(body))
        text = "".join(map(TOOLS[self.dialect.name].piece, documents))
        return noted(text) if text else "", any(map(self.dialect.failed, documents))

    @property
    def in_arguments(self) -> bool:
        """Whether the guarded answer is a call of a tool."""
        return self.phase == "response" and self.place == "arguments"

    @property
    def text(self) -> str:
        """What the guard is to look at."""
        return TEXTS[self.says]

    @property
    def says(self) -> str:
        return {**dict.fromkeys(FAILURES, "block"), OPEN: "pass"}.get(self.fate, self.fate)

    @property
    def passes(self) -> bool:
        return self.fate in ("pass", "mask", OPEN)

    @property
    def shown(self) -> str:
        """What the other side reads."""
        return self.text.replace(MASK, MASKED_BY.get(self.guard, MASKED))

    def __str__(self) -> str:
        way = "streamed" if self.stream else "whole"
        place = "" if self.place == "text" else f"-{self.place}"
        return f"{self.guard}-{self.phase}{place}-{self.dialect.name}-{way}-{self.fate}"


def noted(arguments: str) -> str:
    """The text inside a tool call's arguments."""
    return str(json.loads(arguments)["note"])


def named(guard: str, phase: str, fate: str, place: str) -> str:
    tools = "" if place == "text" else "-tools"
    return f"{guard}-{phase}{tools}-{'judge' if fate in TEXTS else fate}"


MASKED_BY = {"regex": "<masked>"}
WAYS = list(product(DIALECTS.values(), (False, True)))
GUARDS = ("regex", *SERVICES)
PLACES = (("request", "text"), ("response", "text"))
IN_TOOLS = (("request", "arguments"), ("request", "result"), ("response", "arguments"))


def possible(guard: str, fate: str) -> bool:
    """Only guards that mask can mask, and only those that ask somebody can be without an answer."""
    if fate == "mask":
        return guard == "regex" or SERVICES[guard].masks
    return guard != "regex" or fate in TEXTS


CELLS = [
    Cell(guard, phase, *way, fate, place)
    for places, fates in ((PLACES, (*TEXTS, *FAILURES, OPEN)), (IN_TOOLS, (*TEXTS, "down")))
    for guard, (phase, place), way, fate in product(GUARDS, places, WAYS, fates)
    if possible(guard, fate)
]
SESSIONS = [
    Cell(guard, phase, REALTIME, True, fate, place)
    for places, fates in ((PLACES, (*TEXTS, *FAILURES, OPEN)), (IN_TOOLS, (*TEXTS, "down")))
    for guard, (phase, place), fate in product(GUARDS, places, fates)
    if possible(guard, fate)
]


def model(request: Received) -> Any:
    """The vendor: says the text of the fate that the call names, a byte at a time when a stream was asked for."""
    dialect = asked_in(request.target)
    asked = request.body.decode()
    text = next((text for fate, text in TEXTS.items() if f"say={fate}" in asked), "Well.")
    says = TOOLS[dialect.name] if "in=arguments" in asked else dialect
    if request.json().get("stream") or "stream" in request.target:
        return bytewise(dialect, says.events(text))
    return reply(200, says.reply(text))


async def bytewise(dialect: Dialect, documents: list[Json]) -> AsyncIterator[bytes]:
    yield stream_head()
    events = [json.dumps(document, ensure_ascii=False) for document in documents]
    named = [f"event: {json.loads(event)['type']}\n" if '"type"' in event[:9] else "" for event in events]
    done = "data: [DONE]\n\n" if dialect.name in ("completions", "converse") else ""
    body = "".join(f"{name}data: {event}\n\n" for name, event in zip(named, events, strict=True)) + done
    for byte in body.encode():
        yield chunk(bytes((byte,)))
    yield LAST


@dataclass
class Stage:
    gateway: Any
    client: httpx.AsyncClient
    model: Upstream
    judge: Upstream
    armor: list[str]
    heard: list[str]
    """What the vendor of realtime sessions was told."""

    @property
    def judged(self) -> int:
        """How often a service was asked."""
        return len(self.judge.received) + len(self.armor)

    async def ask(self, cell: Cell) -> tuple[int, bytes]:
        url = self.gateway.url + cell.dialect.path(cell.model, cell.stream)
        answer = await self.client.post(url, json=cell.call(), headers={"anthropic-version": "2023-06-01"})
        return answer.status_code, answer.content


SCOPES: dict[str, Json] = {"text": {}, "tools": {"scope": ["toolInput", "toolOutput"]}}
SPECIAL = {"slow": {"timeout": "50ms"}, OPEN: {"failureMode": "failOpen"}}


def configuration(vendor: str, sessions: str, addresses: dict[str, str], armor: dict[str, str]) -> str:
    """Models for each guard, phase, scope and service; slow ones are given up soon, and none is left alone for
    failing."""
    formats = [{"type": one} for one in ("completions", "messages", "responses")]
    realtime = {"custom": {"formats": [{"type": "realtime"}]}}
    providers: dict[str, tuple[Any, str]] = {
        "": ({"custom": {"formats": formats}}, vendor),
        "gemini-": ("gemini", vendor),
        "realtime-": (realtime, sessions),
    }
    models = []

    def add(name: str, phase: str, guards: list[Any]) -> None:
        for prefix, (provider, address) in providers.items():
            params = {"hostOverride": address, "apiKey": "sk-x"}
            model = {"name": prefix + name, "provider": provider, "params": params, "guardrails": {phase: guards}}
            models.append(model)

    for phase, (place, scope) in product(("request", "response"), SCOPES.items()):
        add(named("regex", phase, "pass", place), phase, [{"regex": one["regex"] | scope} for one in REGEX])
        for service, kind in product(SERVICES.values(), addresses):
            url = (armor if service.answer is None else addresses)[kind]
            config = service.config(url) | scope
            entry: dict[str, Any] = {service.name: config, "circuitBreaker": {"failures": 10**6}}
            add(
                named(service.name, phase, "pass" if kind == "judge" else kind, place),
                phase,
                [entry | SPECIAL.get(kind, {})],
            )
    return f"llm: {json.dumps({'port': 0, 'models': models})}\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(serve_all: Any) -> AsyncIterator[Stage]:
    over = asyncio.Event()
    armored: list[str] = []
    heard: list[str] = []
    nowhere = "http://127.0.0.1:1"

    async def never(_: Received) -> AsyncIterator[bytes]:
        await over.wait()
        yield b""

    async with (
        Upstream(model) as vendor,
        Upstream(judge(MASK, BLOCK)) as judged,
        Upstream(never) as slow,
        Upstream(reply(200, NONSENSE)) as malformed,
        model_armor(judging(BLOCK, armored)) as armor_judge,
        realtime_vendor(heard) as sessions,
        model_armor(silent) as armor_slow,
        model_armor(saying_nothing) as armor_malformed,
        httpx.AsyncClient(timeout=20) as client,
    ):
        urls = {"judge": judged.url, "slow": slow.url, "malformed": malformed.url, "down": nowhere, OPEN: nowhere}
        armor = {"judge": armor_judge, "slow": armor_slow, "malformed": armor_malformed, "down": nowhere, OPEN: nowhere}
        gateway = await serve_all(configuration(vendor.address, sessions, urls, armor))
        yield Stage(gateway, client, vendor, judged, armored, heard)
        over.set()


@pytest.mark.parametrize("cell", CELLS, ids=str)
async def test_a_guard_keeps_its_promise(stage: Stage, cell: Cell) -> None:
    sent, asked = len(stage.model.received), stage.judged
    status, body = await stage.ask(cell)
    received = stage.model.received[sent:]
    assert not any(b"canary" in one.body for one in received)
    if cell.guard != "regex" and cell.fate in TEXTS:
        assert stage.judged > asked, "the guard was not asked"
    if cell.phase == "request":
        assert len(received) == cell.passes
        assert not received or cell.shown in json.dumps(received[0].json(), ensure_ascii=False)
    if cell.passes:
        heard = "Well." if cell.phase == "request" else cell.shown
    if cell.stream and (cell.passes or cell.phase == "response"):
        assert status == 200
        assert cell.shown_streamed(body) == ((heard, False) if cell.passes else ("", True))
    elif cell.passes:
        assert status == 200 and cell.shown_whole(body) == heard
    else:
        assert status == (403 if cell.fate == "block" else 503)
        assert "canary" not in body.decode()
    assert b"canary" not in body


@pytest.mark.parametrize("cell", SESSIONS, ids=str)
async def test_a_guard_keeps_its_promise_in_a_session(stage: Stage, cell: Cell) -> None:
    sent, asked = len(stage.heard), stage.judged
    event = said_by_client(cell.place, cell.text) if cell.phase == "request" else asking_for(cell.place, cell.text)
    told, ended = await held(stage.gateway.url, cell.model, event)
    received = stage.heard[sent:]
    if cell.guard != "regex" and cell.fate in TEXTS:
        assert stage.judged > asked, "the guard was not asked"
    assert (ended, told[-1]["type"] == "error") == (not cell.passes, not cell.passes)
    assert "canary" not in json.dumps(told)
    if cell.phase == "request":
        assert [heard_by_vendor(cell.place, one) for one in received] == [cell.shown] * cell.passes
        assert "canary" not in str(received)
    else:
        assert spoken(told, cell.place) == (cell.shown if cell.passes else "")


async def test_the_log_says_what_happened_and_quotes_nothing(stage: Stage) -> None:
    await stage.ask(Cell("webhook", "response", DIALECTS["completions"], True, "malformed"))
    await stage.gateway.logged("webhook-response-malformed")
    await stage.ask(Cell("webhook", "response", DIALECTS["completions"], False, OPEN))
    await stage.gateway.told("a message passed unseen: webhook")
    assert "canary" not in stage.gateway.log + "".join(stage.gateway.access)
    assert "key-of-the-operator" not in stage.gateway.log + "".join(stage.gateway.access)
