"""The official SDK's `AzureOpenAI` as a client, and Azure, Copilot and a preset as vendors."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream

from .matrix.transcripts import pieces, played, streamed, whole
from .sdks import UNREAD, closed, collected, connect, events, result

__all__ = ["collected"]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
HELLO = "Hello Ada ☕, schön dich zu sehen."
USER: Any = [{"role": "user", "content": "Say hello to Ada."}]
VERSION = "2024-10-21"
ENDINGS = {
    "/chat/completions": ("completions",),
    "/responses": ("responses",),
    "/messages": ("messages",),
}
KEY, JWT = "sk-of-the-operator", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJ4In0.c2ln"


@dataclass
class Front:
    """A gateway in front of one upstream, which plays every vendor by the end of the path."""

    url: str = ""
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    plays: str = "text"

    def answer(self, request: Received) -> Any:
        path = request.target.partition("?")[0]
        folders = next(folders for ending, folders in ENDINGS.items() if path.endswith(ending))
        if request.json().get("stream") and self.plays != "rate-limit":
            return played(pieces(*streamed(folders, self.plays)))
        return b"".join(whole(folders, self.plays))

    @property
    def received(self) -> Received:
        (only,) = self.upstream.received
        return only


def azure(**config: str) -> dict[str, Any]:
    return {"azure": {"resourceName": "mine", **config}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Callable[..., Any]) -> AsyncIterator[Front]:
    front = Front()
    async with front.upstream as upstream:
        upstream.answer = front.answer
        address = {"hostOverride": upstream.address}
        params = address | {"apiKey": KEY}
        models = [
            {"name": "gpt-v1", "provider": azure(), "params": params},
            {"name": "gpt-dated", "provider": azure(apiVersion=VERSION), "params": params | {"model": "my deployment"}},
            {
                "name": "gpt-foundry",
                "provider": "azure",
                "params": params
                | {"azureResourceName": "mine", "azureResourceType": "foundry", "azureProjectName": "ours"},
            },
            {"name": "claude-*", "provider": azure(resourceType="foundry"), "params": params},
            {"name": "gpt-entra", "provider": azure(), "params": address | {"apiKey": JWT}},
            {"name": "copilot/*", "provider": "copilot", "params": address},
            {"name": "copilot-codex", "provider": {"copilot": {"model": "gpt-5-codex"}}, "params": address},
            {"name": "copilot-claude", "provider": {"copilot": {"model": "claude-sonnet-4.5"}}, "params": address},
            {"name": "llama", "provider": "groq", "params": params},
        ]
        gateways = {"default": {"port": 0, "address": "127.0.0.1"}}
        gateway = await serve_all(
            f"gateways: {json.dumps(gateways)}\nllm: {json.dumps({'gateways': 'default', 'models': models})}\n",
            env={"COPILOT_GITHUB_TOKEN": "gho_operator"},
        )
        front.url = gateway.url
        yield front


@pytest_asyncio.fixture(loop_scope="module", params=[openai.AzureOpenAI, openai.AsyncAzureOpenAI])
async def client(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Any]:
    front.plays = "text"
    front.upstream.received.clear()
    made = request.param(
        azure_endpoint=front.url,
        api_key="sk-of-the-client",
        api_version="2025-04-01-preview",
        max_retries=0,
        timeout=20,
    )
    yield made
    await closed(made)


CHAT = [
    ("gpt-v1", "/openai/v1/chat/completions", {"api-key": KEY}),
    ("gpt-dated", f"/openai/deployments/my%20deployment/chat/completions?api-version={VERSION}", {"api-key": KEY}),
    ("gpt-foundry", "/api/projects/ours/openai/v1/chat/completions", {"api-key": KEY}),
    ("claude-haiku-4-5", "/anthropic/v1/messages", {"api-key": KEY, "anthropic-version": "2023-06-01"}),
    ("gpt-entra", "/openai/v1/chat/completions", {"authorization": f"Bearer {JWT}"}),
    ("copilot/gpt-4.1", "/chat/completions", {"authorization": "Bearer gho_operator"}),
    ("copilot-claude", "/chat/completions", {"authorization": "Bearer gho_operator"}),
    ("copilot-codex", "/responses", {"authorization": "Bearer gho_operator"}),
    ("llama", "/openai/v1/chat/completions", {"authorization": f"Bearer {KEY}"}),
]
RESPONSES = [
    ("gpt-v1", "/openai/v1/responses"),
    ("gpt-dated", f"/openai/responses?api-version={VERSION}"),
    ("gpt-foundry", "/api/projects/ours/openai/v1/responses"),
    ("claude-haiku-4-5", "/anthropic/v1/messages"),
    ("copilot-codex", "/responses"),
    ("copilot-claude", "/v1/messages"),
    ("llama", "/openai/v1/responses"),
]


@pytest.mark.parametrize(("model", "target", "headers"), CHAT, ids=lambda one: one if isinstance(one, str) else "")
async def test_chat(front: Front, client: Any, model: str, target: str, headers: dict[str, str]) -> None:
    answer = await result(client, lambda: client.chat.completions.create(model=model, messages=USER, max_tokens=300))
    assert answer.choices[0].message.content == HELLO
    received = front.received
    assert received.target == target
    assert {name: received.headers.get(name) for name in headers} == headers
    assert "sk-of-the-client" not in str(received.headers)
    assert not {"api-key", "authorization", "x-api-key"} - set(headers) & set(received.headers)
    limits = {"max_tokens", "max_completion_tokens", "max_output_tokens"} & set(received.json())
    assert len(limits) == 1


@pytest.mark.parametrize("model", [model for model, _, _ in CHAT])
async def test_streamed_chat(front: Front, client: Any, model: str) -> None:
    chunks = await events(client, lambda: client.chat.completions.create(model=model, messages=USER, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == HELLO


@pytest.mark.parametrize(("model", "target"), RESPONSES)
async def test_responses(front: Front, client: Any, model: str, target: str) -> None:
    answer = await result(client, lambda: client.responses.create(model=model, input="Say hello to Ada."))
    assert answer.output_text == HELLO
    assert front.received.target == target


@pytest.mark.parametrize("model", [model for model, _ in RESPONSES])
async def test_streamed_responses(front: Front, client: Any, model: str) -> None:
    heard = await events(client, lambda: client.responses.create(model=model, input="Hello", stream=True))
    assert "".join(event.delta for event in heard if event.type == "response.output_text.delta") == HELLO
    assert heard[-1].response.output_text == HELLO


@pytest.mark.parametrize("model", ["gpt-v1", "claude-haiku-4-5", "copilot-codex"])
async def test_errors_are_the_sdks_exceptions(front: Front, client: Any, model: str) -> None:
    front.plays = "rate-limit"
    with pytest.raises(openai.RateLimitError):
        await result(client, lambda: client.chat.completions.create(model=model, messages=USER))


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gpt-v1", "/openai/v1/chat/completions"),
        ("claude-haiku-4-5", "/anthropic/v1/messages"),
        ("copilot-claude", "/v1/messages"),
        ("copilot-codex", "/responses"),
        ("llama", "/openai/v1/chat/completions"),
    ],
)
async def test_anthropics_client(front: Front, model: str, target: str) -> None:
    front.plays = "text"
    front.upstream.received.clear()
    ant = connect(anthropic.AsyncAnthropic, front.url)
    answer = await ant.messages.create(model=model, max_tokens=300, messages=USER)
    assert "".join(block.text for block in answer.content) == HELLO
    assert front.received.target == target
    await closed(ant)
