"""What calls cost, to the token: each vendor's way of counting, whole and streamed, for clients of every dialect."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import genai_prices
import httpx
import pytest
import pytest_asyncio
from agentgateway_bedrock.frames import event

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

pytestmark = pytest.mark.asyncio(loop_scope="module")
EVENT_STREAM = "application/vnd.amazon.eventstream"
HELLO = [{"role": "user", "content": "Say hello to Ada."}]
AMBIENT = {
    **{"AWS_ACCESS_KEY_ID": "AKIDOPERATOR", "AWS_SECRET_ACCESS_KEY": "canary", "AWS_EC2_METADATA_DISABLED": "true"},
    **{"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"},
}

# --- vendors: 1,000 tokens in, of which a cache gave 600 and took 100 where there is such a thing; 100 out, 40 thought

USAGE: dict[str, Any] = {
    "completions": {  # cached inside the input, reasoning inside the output
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "total_tokens": 1100,
        "prompt_tokens_details": {"cached_tokens": 600, "audio_tokens": 50},
        "completion_tokens_details": {"reasoning_tokens": 40, "audio_tokens": 20},
    },
    "responses": {
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
        "input_tokens_details": {"cached_tokens": 600},
        "output_tokens_details": {"reasoning_tokens": 40},
    },
    "messages": {  # cached beside the input
        "input_tokens": 300,
        "cache_read_input_tokens": 600,
        "cache_creation_input_tokens": 100,
        "output_tokens": 100,
    },
    "gemini": {  # cached inside the input, thoughts beside the output
        "promptTokenCount": 1000,
        "cachedContentTokenCount": 600,
        "candidatesTokenCount": 60,
        "thoughtsTokenCount": 40,
        "totalTokenCount": 1100,
    },
    "converse": {  # cached beside the input
        "inputTokens": 300,
        "cacheReadInputTokens": 600,
        "cacheWriteInputTokens": 100,
        "outputTokens": 100,
        "totalTokens": 1100,
    },
}
RATES = {"input": "3", "output": "15", "cacheRead": "0.3", "cacheWrite": "3.75"}
PRICES = {
    "openai": {
        "gpt-*": {"rates": {**RATES, "reasoning": "20", "inputAudio": "40", "outputAudio": "80"}},
    },
    "anthropic": {"claude-haiku-4-5": {"rates": RATES}},
    "gcp.gemini": {"gemini-2.5-pro": {"rates": {"input": "3", "output": "15", "cacheRead": "0.3"}}},
    "aws.bedrock": {"*claude-sonnet-4-5*": {"rates": RATES}},
}
MILLION = Decimal(10**6)
COSTS = {
    "completions": (350 * 3 + 50 * 40 + 600 * Decimal("0.3") + 40 * 15 + 40 * 20 + 20 * 80) / MILLION,
    "responses": (400 * 3 + 600 * Decimal("0.3") + 60 * 15 + 40 * 20) / MILLION,
    "messages": (300 * 3 + 600 * Decimal("0.3") + 100 * Decimal("3.75") + 100 * 15) / MILLION,
    "gemini": (400 * 3 + 600 * Decimal("0.3") + 100 * 15) / MILLION,
    "converse": (300 * 3 + 600 * Decimal("0.3") + 100 * Decimal("3.75") + 100 * 15) / MILLION,
}
MODELS = {
    "completions": "gpt-5.1",
    "responses": "gpt-5.1",
    "messages": "claude-haiku-4-5",
    "gemini": "gemini-2.5-pro",
    "converse": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
SYSTEMS = {
    **{"completions": "openai", "responses": "openai", "messages": "anthropic"},
    **{"gemini": "gcp.gemini", "converse": "aws.bedrock"},
}


def spoken(vendor: str, model: str) -> Iterator[bytes]:
    """A stream of the vendor's, which ends with what it used."""
    usage = USAGE[vendor]
    match vendor:
        case "completions":
            base = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model}
            said = {"index": 0, "delta": {"role": "assistant", "content": "Hello Ada."}, "finish_reason": None}
            yield sse({**base, "choices": [said], "usage": None})
            yield sse({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": None})
            yield sse({**base, "choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"
        case "responses":
            begun = {"id": "r", "object": "response", "created_at": 1, "model": model, "output": []}
            yield named("response.created", response={**begun, "status": "in_progress", "usage": None})
            item = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
            part = {"type": "output_text", "text": "", "annotations": []}
            at = {"item_id": "m", "output_index": 0, "content_index": 0}
            yield named("response.output_item.added", output_index=0, item=item)
            yield named("response.content_part.added", **at, part=part)
            yield named("response.output_text.delta", **at, delta="Hello Ada.")
            yield named("response.output_text.done", **at, text="Hello Ada.")
            yield named("response.content_part.done", **at, part={**part, "text": "Hello Ada."})
            done = {**item, "status": "completed", "content": [{**part, "text": "Hello Ada."}]}
            yield named("response.output_item.done", output_index=0, item=done)
            yield named("response.completed", response=answered("responses", model))
        case "messages":
            message = {"id": "m", "type": "message", "role": "assistant", "model": model, "content": []}
            yield named("message_start", message={**message, "usage": {**usage, "output_tokens": 1}})
            yield named("content_block_start", index=0, content_block={"type": "text", "text": ""})
            yield named("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello Ada."})
            yield named("content_block_stop", index=0)
            stop = {"stop_reason": "end_turn", "stop_sequence": None}
            yield named("message_delta", delta=stop, usage={"output_tokens": 100})
            yield named("message_stop")
        case "gemini":
            content = {"role": "model", "parts": [{"text": "Hello Ada."}]}
            so_far = {"promptTokenCount": 1000, "totalTokenCount": 1000}
            yield sse({"candidates": [{"content": content}], "modelVersion": model, "usageMetadata": so_far})
            yield sse(answered("gemini", model))
        case _:
            yield event("messageStart", {"role": "assistant"})
            yield event("contentBlockDelta", {"delta": {"text": "Hello Ada."}, "contentBlockIndex": 0})
            yield event("contentBlockStop", {"contentBlockIndex": 0})
            yield event("messageStop", {"stopReason": "end_turn"})
            yield event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}})


def answered(vendor: str, model: str) -> dict[str, Any]:
    usage = USAGE[vendor]
    match vendor:
        case "completions":
            message = {"role": "assistant", "content": "Hello Ada."}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            base = {"id": "c", "object": "chat.completion", "created": 1, "model": model}
            return {**base, "choices": [choice], "usage": usage}
        case "responses":
            text = {"type": "output_text", "text": "Hello Ada.", "annotations": []}
            item = {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
            base = {"id": "r", "object": "response", "created_at": 1, "model": model, "status": "completed"}
            return {**base, "output": [item], "usage": usage}
        case "messages":
            base = {"id": "m", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn"}
            return {**base, "content": [{"type": "text", "text": "Hello Ada."}], "usage": usage}
        case "gemini":
            content = {"role": "model", "parts": [{"text": "Hello Ada."}]}
            said = [{"content": content, "finishReason": "STOP", "index": 0}]
            return {"candidates": said, "modelVersion": model, "usageMetadata": usage}
    message = {"role": "assistant", "content": [{"text": "Hello Ada."}]}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}


def sse(document: Any) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def named(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\n".encode() + sse({"type": kind, **fields})


def still_here(vendor: str) -> bytes:
    """What says nothing."""
    return event("contentBlockStop", {"contentBlockIndex": 0}) if vendor == "converse" else b": still here\n\n"


def vendor_of(target: str) -> str:
    for part, vendor in (
        ("chat/completions", "completions"),
        ("/responses", "responses"),
        ("/messages", "messages"),
        ("enerateContent", "gemini"),
        ("/converse", "converse"),
    ):
        if part in target:
            return vendor
    raise LookupError(target)


@dataclass
class Vendors:
    """All of them at one address. `answers` is the model they say they are; `stalls` keeps a stream from its end."""

    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    answers: str = ""
    stalls: bool = False

    def answer(self, request: Received) -> Any:
        vendor, document = vendor_of(request.target), request.json()
        model = self.answers or document.get("model") or MODELS[vendor]
        if document.get("stream") or "stream" in request.target:
            return self.stream(vendor, model)
        return reply(200, answered(vendor, model))

    async def stream(self, vendor: str, model: str) -> AsyncIterator[bytes]:
        yield stream_head(EVENT_STREAM) if vendor == "converse" else stream_head()
        for one in spoken(vendor, model):
            yield chunk(one)
            if self.stalls and b"Hello Ada." in one:
                while True:  # until nobody listens any more
                    await asyncio.sleep(0.02)
                    yield chunk(still_here(vendor))
        yield LAST


# --- clients ---------------------------------------------------------------------------------------------------------


def asked(client: str, model: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Where a client of that dialect posts, and what."""
    match client:
        case "completions":
            return "/v1/chat/completions", {"model": model, "messages": HELLO, "stream": stream}
        case "responses":
            return "/v1/responses", {"model": model, "input": "Say hello to Ada.", "stream": stream}
        case "messages":
            return "/v1/messages", {"model": model, "messages": HELLO, "max_tokens": 900, "stream": stream}
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    contents = [{"role": "user", "parts": [{"text": "Say hello to Ada."}]}]
    return f"/v1beta/models/{model}:{method}", {"contents": contents}


CLIENTS = ("completions", "responses", "messages", "gemini")
CELLS = [
    pytest.param(client, vendor, id=f"{client}-{vendor}")
    for client in CLIENTS
    for vendor in USAGE
    if not (vendor in ("completions", "responses") and client in ("completions", "responses") and client != vendor)
    and not (vendor == "responses" and client != vendor)
]
"""OpenAI is asked in the client's own dialect where it speaks that, else for chat completions."""


@dataclass
class Front:
    gateway: Any
    vendors: Vendors
    http: httpx.AsyncClient
    stats: Path
    count: int = 0

    async def call(self, client: str, model: str, *, stream: bool) -> str:
        """The line of the access log about a call."""
        self.count += 1
        path, document = asked(client, model, stream=stream)
        case = f"case-{self.count}-"
        got = await self.http.post(self.gateway.url + path, json=document, headers={"x-case": case})
        assert got.status_code == 200, got.text
        return str(await self.gateway.logged(f"case={case}"))

    async def leave(self, client: str, model: str) -> str:
        """The same of a call whose client leaves when it has heard something."""
        self.count += 1
        path, document = asked(client, model, stream=True)
        case = f"case-{self.count}-"
        url, headers = self.gateway.url + path, {"x-case": case}
        async with self.http.stream("POST", url, json=document, headers=headers) as response:
            got = b""
            async for data in response.aiter_bytes():
                got += data
                if b"Hello Ada." in got:
                    break
        return str(await self.gateway.logged(f"case={case}"))

    async def metrics(self) -> str:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(self.stats))) as scraper:
            return (await scraper.get("http://stats/metrics")).text


def value(line: str, name: str) -> Decimal:
    found = re.search(rf" {re.escape(name)}=([\d.]+)(?: |$)", line)
    assert found is not None, f"no {name} in {line}"
    return Decimal(found[1])


SHOWN = {
    "case": 'request.headers["x-case"]',
    "spent": "llm.cost.total",
    "parts": (
        "llm.cost.input + llm.cost.output + llm.cost.cacheRead + llm.cost.cacheWrite + llm.cost.reasoning"
        " + llm.cost.inputAudio + llm.cost.outputAudio"
    ),
    "micros": "uint(llm.cost.total * 1e6)",
    "inputRate": "llm.costRates.input",
    "soundRate": "llm.costRates.inputAudio",
}


def config(stats: Path, address: str, catalogue: Any, **model: Any) -> str:
    params = {"hostOverride": address, "apiKey": "sk-of-the-operator"}
    cloud = {"hostOverride": address}
    models = [
        {"name": "gpt-*", "provider": "openAI", "params": params, **model},
        {"name": "claude-*", "provider": "anthropic", "params": params},
        {"name": "gemini-*", "provider": "gemini", "params": params},
        {"name": "eu.*", "provider": {"bedrock": {"region": "eu-west-1"}}, "params": cloud},
    ]
    settings = {"adminAddr": "off", "statsAddr": f"unix:{stats}", "readinessAddr": "off", "modelCatalog": catalogue}
    return f"""
config: {json.dumps(settings)}
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
frontendPolicies: {{accessLog: {{add: {json.dumps(SHOWN)}}}}}
llm: {json.dumps({"gateways": "default", "models": models})}
"""


def inline(prices: Any) -> Any:
    return {"inline": {"providers": {name: {"models": models} for name, models in prices.items()}}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Any, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    vendors, stats = Vendors(), tmp_path_factory.mktemp("stats") / "sock"
    vendors.upstream.answer = vendors.answer
    async with vendors.upstream as upstream, httpx.AsyncClient(timeout=20) as client:
        gateway = await serve_all(config(stats, upstream.address, [inline(PRICES)]), env=AMBIENT)
        yield Front(gateway, vendors, client, stats)


@pytest.fixture(autouse=True)
def restored(front: Front) -> Iterator[None]:
    yield
    front.vendors.answers, front.vendors.stalls = "", False


# --- the cost of a call ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "vendor"), CELLS)
async def test_a_call_costs_what_the_vendor_counted(front: Front, client: str, vendor: str, stream: bool) -> None:
    line = await front.call(client, MODELS[vendor], stream=stream)
    assert value(line, "agw.ai.usage.cost.total") == COSTS[vendor]
    assert f"gen_ai.provider.name={SYSTEMS[vendor]} " in line and "estimated" not in line
    assert (value(line, "gen_ai.usage.input_tokens"), value(line, "gen_ai.usage.output_tokens")) == (1000, 100)


@pytest.mark.parametrize("vendor", USAGE)
async def test_expressions_read_the_same_cost(front: Front, vendor: str) -> None:
    client = vendor if vendor in CLIENTS else "completions"
    line = await front.call(client, MODELS[vendor], stream=True)
    assert float(value(line, "spent")) == float(COSTS[vendor])
    assert value(line, "inputRate") == 3 and ("soundRate=40.0" in line) == (SYSTEMS[vendor] == "openai")
    assert float(value(line, "parts")) == pytest.approx(float(COSTS[vendor]), rel=1e-12)
    assert int(value(line, "micros")) in (int(COSTS[vendor] * MILLION), int(COSTS[vendor] * MILLION) - 1)


@pytest.mark.parametrize(("client", "vendor"), CELLS)
async def test_a_call_that_its_client_left_costs_what_is_known_of_it(front: Front, client: str, vendor: str) -> None:
    front.vendors.stalls = True
    line = await front.leave(client, MODELS[vendor])
    assert "gen_ai.usage.estimated=" in line
    input, output = value(line, "gen_ai.usage.input_tokens"), value(line, "gen_ai.usage.output_tokens")
    assert output == 3  # ten bytes of text
    expected = {  # Anthropic tells the input at once, Gemini with each event, OpenAI at the end
        "messages": 300 * 3 + 600 * Decimal("0.3") + 100 * Decimal("3.75") + output * 15,
        "gemini": 1000 * 3 + output * 15,
    }.get(vendor, input * 3 + output * 15)
    assert value(line, "agw.ai.usage.cost.total") == expected / MILLION


async def test_the_model_that_answered_is_priced_before_the_one_that_was_asked_for(
    serve_all: Any, tmp_path: Path
) -> None:
    vendors = Vendors(answers="gpt-answers-2026-01-31")
    vendors.upstream.answer = vendors.answer
    models = {
        "gpt-asked": {"rates": {"input": "1", "output": "0"}},
        "gpt-answers": {"rates": {"input": "2", "output": "0"}},
    }
    async with vendors.upstream as upstream, httpx.AsyncClient(timeout=20) as client:
        gateway = await serve_all(config(tmp_path / "stats", upstream.address, [inline({"openai": models})]))
        front = Front(gateway, vendors, client, tmp_path / "stats")
        line = await front.call("completions", "gpt-asked", stream=False)
        assert value(line, "agw.ai.usage.cost.total") == Decimal("0.002")
        vendors.answers = "gpt-nobody-knows"
        line = await front.call("completions", "gpt-asked", stream=False)
        assert value(line, "agw.ai.usage.cost.total") == Decimal("0.001")


# --- metrics ---------------------------------------------------------------------------------------------------------

OVERRIDES = {
    "openai": {
        "gpt-5.1": {"rates": {"input": "1", "output": "2"}},
        "gpt-tiered": {
            "rates": {"input": "1", "output": "2"},
            "tiers": [
                {"contextOver": 999, "rates": {"input": "2", "cacheRead": "0.5"}},
                {"contextOver": 1000, "rates": {"input": "100"}},
            ],
        },
        "gpt-unpriced": {"rates": {"input": "1"}},
    }
}


def counted(metrics: str, name: str, **labels: str) -> Decimal | None:
    """The value of the only sample with those labels."""
    found = [
        line.rpartition(" ")[2]
        for line in metrics.splitlines()
        if line.startswith(f"agentgateway_{name}{{") and all(f'{key}="{text}"' in line for key, text in labels.items())
    ]
    assert len(found) < 2, found
    return Decimal(found[0]) if found else None


async def test_overrides_tiers_and_statuses(serve_all: Any, tmp_path: Path) -> None:
    vendors = Vendors()
    vendors.upstream.answer = vendors.answer
    (tmp_path / "prices.yaml").write_text(json.dumps({"providers": {"openai": {"models": PRICES["openai"]}}}))
    catalogue = [{"file": str(tmp_path / "prices.yaml")}, inline(OVERRIDES)]
    async with vendors.upstream as upstream, httpx.AsyncClient(timeout=20) as client:
        gateway = await serve_all(config(tmp_path / "stats", upstream.address, catalogue))
        front = Front(gateway, vendors, client, tmp_path / "stats")
        base, overridden, tiered, unpriced, missing = [
            await front.call("completions", model, stream=False)
            for model in ("gpt-other", "gpt-5.1", "gpt-tiered", "gpt-unpriced", "claude-haiku-4-5")
        ]
        shown = await front.metrics()
    assert value(base, "agw.ai.usage.cost.total") == COSTS["completions"]
    assert value(overridden, "agw.ai.usage.cost.total") == Decimal("0.0012")
    assert value(tiered, "agw.ai.usage.cost.total") == (400 * 2 + 600 * Decimal("0.5") + 100 * 2) / MILLION
    assert not [line for line in (unpriced, missing) if "agw.ai.usage.cost" in line or "spent=" in line]
    statuses = {
        "gpt-other": "Exact",
        "gpt-5.1": "Exact",
        "gpt-tiered": "Exact",
        "gpt-unpriced": "Unpriced",
        "claude-haiku-4-5": "Missing",
    }
    for model, status in statuses.items():
        assert counted(shown, "cost_catalog_lookups_total", gen_ai_request_model=model, status=status) == 1
        labels = {"gen_ai_request_model": model, "gen_ai_response_model": model, "gen_ai_operation_name": "chat"}
        spent = counted(shown, "gen_ai_client_cost_usd_total", **labels)
        assert (spent is not None) == (status == "Exact"), model
    assert counted(shown, "gen_ai_client_cost_usd_total", gen_ai_request_model="gpt-5.1", gen_ai_system="openai") == (
        Decimal("0.0012")
    )


async def test_calls_without_a_catalogue_are_counted_and_cost_nothing_that_is_known(
    serve_all: Any, tmp_path: Path
) -> None:
    vendors = Vendors()
    vendors.upstream.answer = vendors.answer
    async with vendors.upstream as upstream, httpx.AsyncClient(timeout=20) as client:
        gateway = await serve_all(config(tmp_path / "stats", upstream.address, []))
        front = Front(gateway, vendors, client, tmp_path / "stats")
        line = await front.call("completions", "gpt-5.1", stream=True)
        shown = await front.metrics()
    assert "cost" not in line and "spent=" not in line
    assert counted(shown, "cost_catalog_lookups_total", status="NoCatalog", gen_ai_request_model="gpt-5.1") == 1
    assert counted(shown, "gen_ai_client_cost_usd_total") is None


# --- the catalogue that a plugin brings ------------------------------------------------------------------------------


async def test_the_catalogue_of_genai_prices_comes_while_calls_go_on(serve_all: Any, tmp_path: Path) -> None:
    vendors = Vendors(answers="gpt-4o-2024-08-06")
    vendors.upstream.answer = vendors.answer
    mine = inline({"openai": {"gpt-mine": {"rates": {"input": "1", "output": "1"}}}})
    async with vendors.upstream as upstream, httpx.AsyncClient(timeout=20) as client:
        text = config(tmp_path / "stats", upstream.address, [{"plugin": "genai-prices"}, mine])
        gateway = await serve_all(text, env={"TMPDIR": str(tmp_path)})
        front = Front(gateway, vendors, client, tmp_path / "stats")
        await front.call("completions", "gpt-4o", stream=False)
        await gateway.told("the price catalogue `genai-prices` is there after", seconds=60)
        line = await front.call("completions", "gpt-4o", stream=True)
        used = genai_prices.Usage(input_tokens=1000, output_tokens=100, cache_read_tokens=600)
        price = genai_prices.calc_price(used, "gpt-4o-2024-08-06", provider_id="openai").total_price
        assert value(line, "agw.ai.usage.cost.total") == price
        vendors.answers = "gpt-mine"
        line = await front.call("completions", "gpt-mine", stream=True)
        assert value(line, "agw.ai.usage.cost.total") == Decimal("0.0011")


async def test_a_catalogue_that_cannot_be_had_is_told_and_changes_nothing_else(serve_all: Any, tmp_path: Path) -> None:
    vendors, package = Vendors(), tmp_path / "modules" / "genai_prices"
    vendors.upstream.answer = vendors.answer
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('half an installation')")
    mine = inline({"openai": {"gpt-mine": {"rates": {"input": "1", "output": "1"}}}})
    async with vendors.upstream as upstream, httpx.AsyncClient(timeout=20) as client:
        text = config(tmp_path / "stats", upstream.address, [{"plugin": "genai-prices"}, mine])
        environment = {"TMPDIR": str(tmp_path), "PYTHONPATH": str(package.parent)}
        gateway = await serve_all(text, env=environment)
        front = Front(gateway, vendors, client, tmp_path / "stats")
        await gateway.told("the price catalogue `genai-prices` cannot be had: RuntimeError: the export ended with 1")
        assert "ImportError: half an installation" in gateway.log
        line = await front.call("completions", "gpt-mine", stream=True)
        assert value(line, "agw.ai.usage.cost.total") == Decimal("0.0011")
        assert "agw.ai.usage.cost" not in await front.call("completions", "gpt-4o", stream=True)
        assert gateway.process.returncode is None
        shutil.rmtree(package)
        gateway.rewrite(gateway.file.read_text() + "# again\n")
        await gateway.told("the price catalogue `genai-prices` is there after", seconds=60)
        line = await front.call("completions", "gpt-4o", stream=True)
        assert value(line, "agw.ai.usage.cost.total") > 0


async def test_a_gateway_that_ends_while_prices_are_made_ends_their_process(serve_all: Any, tmp_path: Path) -> None:
    package, told = tmp_path / "modules" / "genai_prices", tmp_path / "pid"
    package.mkdir(parents=True)
    source = f"import os, time; open({str(told)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    (package / "__init__.py").write_text(source)
    text = config(tmp_path / "stats", "127.0.0.1:9", [{"plugin": "genai-prices"}])
    gateway = await serve_all(text, env={"TMPDIR": str(tmp_path), "PYTHONPATH": str(package.parent)})
    async with asyncio.timeout(20):
        while not told.exists() or not told.read_text():
            await asyncio.sleep(0.01)
    assert await gateway.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(told.read_text()), 0)


# --- reloads ---------------------------------------------------------------------------------------------------------


async def test_prices_change_with_the_configuration_and_with_a_file_it_names(serve_all: Any, tmp_path: Path) -> None:
    vendors, prices = Vendors(), tmp_path / "prices.json"
    vendors.upstream.answer = vendors.answer

    def written(rate: str) -> str:
        return json.dumps(inline({"openai": {"gpt-5.1": {"rates": {"input": rate, "output": "0"}}}})["inline"])

    prices.write_text(written("1"))
    async with vendors.upstream as upstream, httpx.AsyncClient(timeout=20) as client:
        text = config(tmp_path / "stats", upstream.address, [{"file": str(prices)}])
        gateway = await serve_all(text)
        front = Front(gateway, vendors, client, tmp_path / "stats")

        async def spent() -> Decimal:
            return value(await front.call("completions", "gpt-5.1", stream=False), "agw.ai.usage.cost.total")

        assert await spent() == Decimal("0.001")
        prices.write_text(written("2"))
        await gateway.told("configuration reloaded")
        assert await spent() == Decimal("0.002")
        prices.write_text(written("-2"))
        await gateway.told("a rate must not be negative")
        assert await spent() == Decimal("0.002")
        gateway.said.clear()
        more = inline({"openai": {"gpt-5.1": {"rates": {"input": "4", "output": "0"}}}})
        prices.write_text(written("3"))
        await gateway.told("configuration reloaded")
        gateway.said.clear()
        fresh = config(tmp_path / "stats", upstream.address, [{"file": str(prices)}, more])
        gateway.rewrite(gateway.file.read_text().replace(text.splitlines()[1][9:], fresh.splitlines()[1][9:]))
        await gateway.told("configuration reloaded")
        assert await spent() == Decimal("0.004")
        assert "needs a restart" not in gateway.log
