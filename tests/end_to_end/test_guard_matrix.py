"""The guard matrix: every guard × every dialect × whole or streamed a byte at a time × what comes of it, for requests
and for replies, on one gateway.

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

from .guard_matrix.dialects import DIALECTS, Dialect, asked_in, said
from .guard_matrix.services import MASKED, SERVICES, judge, judging, model_armor, saying_nothing, silent

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

    @property
    def model(self) -> str:
        vendor = "gemini-" if self.dialect.name == "gemini" else ""
        return f"{vendor}{self.guard}-{self.phase}-{'judge' if self.fate in TEXTS else self.fate}"

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
        return f"{self.guard}-{self.phase}-{self.dialect.name}-{way}-{self.fate}"


MASKED_BY = {"regex": "<masked>"}
PLACES = list(product(("request", "response"), DIALECTS.values(), (False, True)))
CELLS = [
    Cell(guard, *place, fate)
    for guard, place, fate in product(("regex", *SERVICES), PLACES, ("pass", "mask", "block"))
    if fate != "mask" or guard == "regex" or SERVICES[guard].masks
] + [Cell(guard, *place, fate) for guard, place, fate in product(SERVICES, PLACES, (*FAILURES, OPEN))]


def model(request: Received) -> Any:
    """The vendor: says the text of the fate that the call names, a byte at a time when a stream was asked for."""
    dialect = asked_in(request.target)
    asked = request.body.decode()
    text = next((text for fate, text in TEXTS.items() if f"say={fate}" in asked), "Well.")
    if request.json().get("stream") or "stream" in request.target:
        return bytewise(dialect, text)
    return reply(200, dialect.reply(text))


async def bytewise(dialect: Dialect, text: str) -> AsyncIterator[bytes]:
    yield stream_head()
    events = [json.dumps(document, ensure_ascii=False) for document in dialect.events(text)]
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

    @property
    def judged(self) -> int:
        """How often a service was asked."""
        return len(self.judge.received) + len(self.armor)

    async def ask(self, cell: Cell) -> tuple[int, bytes]:
        text = cell.text if cell.phase == "request" else f"say={cell.says}"
        call = cell.dialect.call(cell.model, text, cell.stream)
        url = self.gateway.url + cell.dialect.path(cell.model, cell.stream)
        answer = await self.client.post(url, json=call, headers={"anthropic-version": "2023-06-01"})
        return answer.status_code, answer.content


SPECIAL = {"slow": {"timeout": "50ms"}, OPEN: {"failureMode": "failOpen"}}


def configuration(vendor: str, addresses: dict[str, str], armor: dict[str, str]) -> str:
    """Models for each guard, phase and service; slow ones are given up soon, and none is left alone for failing."""
    formats = [{"type": one} for one in ("completions", "messages", "responses")]
    providers = {"": {"custom": {"formats": formats}}, "gemini-": "gemini"}
    models = []

    def add(name: str, phase: str, guards: list[Any]) -> None:
        for prefix, provider in providers.items():
            address = {"hostOverride": vendor, "apiKey": "sk-x"}
            model = {"name": prefix + name, "provider": provider, "params": address, "guardrails": {phase: guards}}
            models.append(model)

    for phase in ("request", "response"):
        add(f"regex-{phase}-judge", phase, REGEX)
        for service, kind in product(SERVICES.values(), addresses):
            url = (armor if service.answer is None else addresses)[kind]
            entry: dict[str, Any] = {service.name: service.config(url), "circuitBreaker": {"failures": 10**6}}
            add(f"{service.name}-{phase}-{kind}", phase, [entry | SPECIAL.get(kind, {})])
    return f"llm: {json.dumps({'port': 0, 'models': models})}\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(serve_all: Any) -> AsyncIterator[Stage]:
    over = asyncio.Event()
    armored: list[str] = []
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
        model_armor(silent) as armor_slow,
        model_armor(saying_nothing) as armor_malformed,
        httpx.AsyncClient(timeout=20, trust_env=False) as client,
    ):
        urls = {"judge": judged.url, "slow": slow.url, "malformed": malformed.url, "down": nowhere, OPEN: nowhere}
        armor = {"judge": armor_judge, "slow": armor_slow, "malformed": armor_malformed, "down": nowhere, OPEN: nowhere}
        yield Stage(await serve_all(configuration(vendor.address, urls, armor)), client, vendor, judged, armored)
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
        assert said(cell.dialect, body) == ((heard, False) if cell.passes else ("", True))
    elif cell.passes:
        assert status == 200 and cell.dialect.text(json.loads(body)) == heard
    else:
        assert status == (403 if cell.fate == "block" else 503)
        assert "canary" not in body.decode()
    assert b"canary" not in body


async def test_the_log_says_what_happened_and_quotes_nothing(stage: Stage) -> None:
    await stage.ask(Cell("webhook", "response", DIALECTS["completions"], True, "malformed"))
    await stage.gateway.logged("webhook-response-malformed")
    await stage.ask(Cell("webhook", "response", DIALECTS["completions"], False, OPEN))
    await stage.gateway.told("a message passed unseen: webhook")
    assert "canary" not in stage.gateway.log + "".join(stage.gateway.access)
    assert "key-of-the-operator" not in stage.gateway.log + "".join(stage.gateway.access)
