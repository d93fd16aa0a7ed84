"""Vertex AI as the vendor of every official SDK: Gemini, Claude, other publishers' models and embeddings, with tokens
that a service account logs in for.

The vendor and its login are fake ones on loopback that answer as Google's documentation shows.
"""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

from .googles import CALLED, HELLO, Google, Sdk, called, joined
from .matrix.cases import WEATHER
from .matrix.transcripts import END, pieces, played, streamed, whole
from .sdks import UNREAD, closed, collected, connect, events, result

__all__ = ["collected"]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
TOKEN, KEY = "ya29.canary-token", "AIzaSyCanaryOfTheOperator"
CANARY = "canary-of-the-login"
GLOBAL, EUROPE = "/v1/projects/mine/locations/global", "/v1/projects/mine/locations/europe-west4"
GEMINI, CLAUDE, LLAMA = "gemini-2.5-flash", "claude-haiku-4-5-20251001", "meta/llama-4"
USER: list[Any] = [{"role": "user", "content": "Say hello to Ada."}]
QUOTA = {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}
TOOL = {"name": WEATHER[0], "description": WEATHER[1], "parameters": WEATHER[2]}


def account(folder: Path, token_uri: str) -> str:
    """The file of a service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    told = {"type": "service_account", "private_key": key.private_bytes(*form).decode(), "private_key_id": CANARY}
    file = folder / "account.json"
    file.write_text(json.dumps(told | {"client_email": "gateway@mine.test", "token_uri": token_uri}))
    return str(file)


@dataclass
class Front:
    """A gateway in front of one upstream, which plays the vendor and its login."""

    url: str = ""
    gateway: Any = None
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    google: Google = field(default_factory=Google)
    refusal: bytes | None = None
    dies: bool = False
    logins: int = 0

    def answer(self, request: Received) -> Any:
        if request.target == "/token":
            self.logins += 1
            return reply(200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
        if request.target == "/refused":
            return reply(400, {"error": "invalid_grant", "error_description": CANARY})
        if self.refusal is not None:
            return self.refusal
        if request.target.endswith((":countTokens", "/count-tokens:rawPredict")):
            return self.counts(request)
        if ":predict" in request.target:
            return self.embeddings(request)
        if "/publishers/google/" in request.target:
            return self.google(request)
        return self.claude(request) if "/anthropic/" in request.target else self.llama(request)

    def claude(self, request: Received) -> Any:
        """https://docs.anthropic.com/en/api/claude-on-vertex-ai"""
        document = request.json()
        assert document["anthropic_version"] == "vertex-2023-10-16"
        assert "model" not in document
        assert "anthropic-version" not in request.headers
        assert document.get("stream", False) == request.target.endswith(":streamRawPredict")
        return self.transcript(("messages",), document)

    def llama(self, request: Received) -> Any:
        assert request.target == f"{GLOBAL}/endpoints/openapi/chat/completions"
        assert request.json()["model"] == LLAMA
        return self.transcript(("completions-compatible", "completions"), request.json())

    def transcript(self, folders: tuple[str, ...], document: Any) -> Any:
        if not document.get("stream"):
            return b"".join(whole(folders, "text"))
        head, said = streamed(folders, "text")
        if self.dies:
            return played(pieces(head, said[: said.index(b"\n\n", said.index(b" Ada")) + 2], END))
        return played(pieces(head, said))

    def embeddings(self, request: Received) -> bytes:
        """https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api"""
        document = request.json()
        assert document["parameters"] == {"outputDimensionality": 2}
        predictions = [
            {"embeddings": {"values": [len(one["content"]), 0.5], "statistics": {"token_count": 3.0}}}
            for one in document["instances"]
        ]
        return reply(200, {"predictions": predictions, "metadata": {"billableCharacterCount": 7}})

    def counts(self, request: Received) -> bytes:
        """https://cloud.google.com/vertex-ai/docs/reference/rest: `publishers.models.countTokens`, and
        https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude/count-tokens"""
        document = request.json()
        if request.target == f"{GLOBAL}/publishers/google/models/{GEMINI}:countTokens":
            assert document["contents"] and document.keys() <= {"contents", "systemInstruction", "tools"}
            return reply(200, {"totalTokens": 6, "totalBillableCharacters": 14})
        assert request.target == f"{EUROPE}/publishers/anthropic/models/count-tokens:rawPredict"
        assert document["model"] == "claude-haiku-4-5@20251001"
        assert document["anthropic_version"] == "vertex-2023-10-16" and "max_tokens" not in document
        return reply(200, {"input_tokens": 14})

    def play(self, google: Google | None = None, refusal: bytes | None = None, *, dies: bool = False) -> None:
        self.google, self.refusal, self.dies = google or Google(), refusal, dies
        self.upstream.received.clear()
        self.upstream.gone.clear()

    @property
    def received(self) -> Received:
        (only,) = (one for one in self.upstream.received if one.target.startswith("/v1/"))
        return only


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    front = Front()
    front.upstream.answer = front.answer
    async with front.upstream as upstream:
        address = {"hostOverride": upstream.address}
        global_ = {"vertex": {"projectId": "mine"}}
        europe = {**address, "vertexProject": "mine", "vertexRegion": "europe-west4"}
        folder = tmp_path_factory.mktemp("google")
        refused = account(folder, f"http://{upstream.address}/refused")
        credential = json.loads(Path(refused).read_text())
        models = [
            {"name": "gemini-*", "provider": global_, "params": address},
            {"name": "claude-*", "provider": "vertex", "params": europe},
            {"name": "meta/*", "provider": global_, "params": address},
            {"name": "keyed", "provider": global_, "params": {**address, "apiKey": KEY, "model": "gemini-3-pro"}},
            {
                "name": "refused",
                "provider": global_,
                "params": {**address, "model": GEMINI},
                "auth": {"gcp": {"credential": json.dumps(credential)}},
            },
        ]
        gateways = {"default": {"port": 0, "address": "127.0.0.1"}}
        front.gateway = await serve_all(
            f"gateways: {json.dumps(gateways)}\nllm: {json.dumps({'gateways': 'default', 'models': models})}\n",
            env={"GOOGLE_APPLICATION_CREDENTIALS": account(folder, f"http://{upstream.address}/token")},
        )
        front.url = front.gateway.url
        yield front


@pytest_asyncio.fixture(loop_scope="module", params=[(None, True), ("v1beta", False)], ids=["v1-async", "v1beta-sync"])
async def sdk(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Sdk]:
    front.play()
    made = Sdk(front.url, *request.param)
    yield made
    await made.close()


@pytest_asyncio.fixture(loop_scope="module", params=[openai.OpenAI, openai.AsyncOpenAI], ids=lambda sdk: sdk.__name__)
async def oai(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Any]:
    front.play()
    client = connect(request.param, front.url)
    yield client
    await closed(client)


@pytest_asyncio.fixture(
    loop_scope="module", params=[anthropic.Anthropic, anthropic.AsyncAnthropic], ids=lambda sdk: sdk.__name__
)
async def ant(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Any]:
    front.play()
    client = connect(request.param, front.url)
    yield client
    await closed(client)


def shows_the_token(request: Received) -> None:
    """And nothing of the client's."""
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert not {"x-api-key", "x-goog-api-key", "api-key"} & request.headers.keys()


def target(model: str, *, stream: bool) -> str:
    if model == GEMINI:
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"{GLOBAL}/publishers/google/models/{GEMINI}:{method}"
    if model == LLAMA:
        return f"{GLOBAL}/endpoints/openapi/chat/completions"
    name = "claude-haiku-4-5@20251001"
    return f"{EUROPE}/publishers/anthropic/models/{name}:{'streamRawPredict' if stream else 'rawPredict'}"


every_model = pytest.mark.parametrize("model", [GEMINI, CLAUDE, LLAMA])


@every_model
async def test_googles_client(front: Front, sdk: Sdk, model: str) -> None:
    assert (await sdk.generate(model=model)).text == HELLO
    shows_the_token(front.received)
    assert front.received.target == target(model, stream=False)


@every_model
async def test_googles_client_streamed(front: Front, sdk: Sdk, model: str) -> None:
    answers = await sdk.stream(model=model)
    assert joined(answers) == HELLO
    assert answers[-1].usage_metadata is not None
    shows_the_token(front.received)
    assert front.received.target == target(model, stream=True)


@every_model
async def test_openais_client(front: Front, oai: Any, model: str) -> None:
    answer = await result(oai, lambda: oai.chat.completions.create(model=model, messages=USER, max_tokens=300))
    assert answer.choices[0].message.content == HELLO
    assert answer.usage.prompt_tokens == 120
    shows_the_token(front.received)
    assert front.received.target == target(model, stream=False)


@every_model
async def test_openais_client_streamed(front: Front, oai: Any, model: str) -> None:
    chunks = await events(
        oai, lambda: oai.chat.completions.create(model=model, messages=USER, stream=True, max_tokens=300)
    )
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == HELLO
    shows_the_token(front.received)
    assert front.received.target == target(model, stream=True)


@every_model
async def test_anthropics_client(front: Front, ant: Any, model: str) -> None:
    answer = await result(ant, lambda: ant.messages.create(model=model, messages=USER, max_tokens=300))
    assert answer.content[-1].text == HELLO
    assert answer.stop_reason == "end_turn"
    shows_the_token(front.received)
    assert front.received.target == target(model, stream=False)


@every_model
async def test_anthropics_client_streamed(front: Front, ant: Any, model: str) -> None:
    seen = await events(ant, lambda: ant.messages.create(model=model, messages=USER, max_tokens=300, stream=True))
    assert "".join(one.delta.text for one in seen if getattr(getattr(one, "delta", 0), "type", "") == "text_delta") == (
        HELLO
    )
    shows_the_token(front.received)


async def test_claude_passes_through(front: Front, ant: Any) -> None:
    """All of the client's fields, but for the model and the version."""
    more = {"betas": ["context-1m-2025-08-07"], "extra_body": {"of_next_year": {"a": 1}}}
    answer = await result(
        ant,
        lambda: ant.beta.messages.create(
            model=CLAUDE, messages=USER, max_tokens=300, metadata={"user_id": "u"}, **more
        ),
    )
    assert answer.content[0].text == HELLO
    assert front.received.json() == {
        "messages": USER,
        "max_tokens": 300,
        "metadata": {"user_id": "u"},
        "of_next_year": {"a": 1},
        "anthropic_version": "vertex-2023-10-16",
    }
    assert "context-1m-2025-08-07" in front.received.headers["anthropic-beta"]


@pytest.mark.parametrize("model", [GEMINI, CLAUDE])
async def test_googles_client_of_vertex(front: Front, model: str) -> None:
    front.play()
    client = genai.Client(
        vertexai=True,
        project="theirs",
        location="us-east5",
        credentials=Credentials("of-the-client"),
        http_options=types.HttpOptions(base_url=front.url, timeout=20_000),
    )
    assert (await client.aio.models.generate_content(model=model, contents="hi")).text == HELLO
    shows_the_token(front.received)
    assert front.received.target == target(model, stream=False)
    front.play()
    stream = await client.aio.models.generate_content_stream(model=model, contents="hi")
    assert joined([one async for one in stream]) == HELLO
    assert front.received.target == target(model, stream=True)
    await client.aio.aclose()
    client.close()


@pytest_asyncio.fixture(loop_scope="module")
async def vertex_client(front: Front) -> AsyncIterator[anthropic.AsyncAnthropicVertex]:
    """Anthropic's own client of Vertex AI, as if the gateway were that."""
    front.play()
    named = {"project_id": "theirs", "region": "us-east5", "access_token": "of-the-client"}
    async with anthropic.AsyncAnthropicVertex(base_url=f"{front.url}/v1", max_retries=0, timeout=20, **named) as client:
        yield client


@pytest.mark.parametrize("model", [GEMINI, CLAUDE])
async def test_anthropics_client_of_vertex(front: Front, vertex_client: Any, model: str) -> None:
    answer = await vertex_client.messages.create(model=model, messages=USER, max_tokens=300)
    assert answer.content[-1].text == HELLO
    shows_the_token(front.received)
    assert front.received.target == target(model, stream=False)
    front.play()
    seen = [
        one
        async for one in await vertex_client.messages.create(model=model, messages=USER, max_tokens=300, stream=True)
    ]
    assert seen[-1].type == "message_stop"
    assert front.received.target == target(model, stream=True)


async def test_anthropics_client_of_vertex_gets_anthropics_errors(front: Front, vertex_client: Any) -> None:
    front.play(refusal=reply(429, QUOTA))
    with pytest.raises(anthropic.RateLimitError, match="Quota exceeded"):
        await vertex_client.messages.create(model=GEMINI, messages=USER, max_tokens=300)
    with pytest.raises(anthropic.NotFoundError):
        await vertex_client.messages.create(model="nobody", messages=USER, max_tokens=300)


@pytest.mark.parametrize("streams", [False, True])
async def test_tools_of_gemini(front: Front, oai: Any, streams: bool) -> None:
    front.play(Google(CALLED))
    asked = {"model": GEMINI, "messages": USER, "tools": [{"type": "function", "function": TOOL}], "stream": streams}
    if not streams:
        answer = await result(oai, lambda: oai.chat.completions.create(**asked))
        found = [json.loads(call.function.arguments)["city"] for call in answer.choices[0].message.tool_calls]
    else:
        chunks = await events(oai, lambda: oai.chat.completions.create(**asked))
        pieces_ = [call for one in chunks if one.choices for call in one.choices[0].delta.tool_calls or ()]
        whole_: dict[int, str] = {}
        for piece in pieces_:
            whole_[piece.index] = whole_.get(piece.index, "") + (piece.function.arguments or "")
        found = [json.loads(text)["city"] for text in whole_.values()]
    assert found == ["Paris", "Oslo"]


async def test_tools_of_gemini_for_googles_client(front: Front, sdk: Sdk) -> None:
    front.play(Google(CALLED))
    assert [call.args for call in called(await sdk.stream(model=GEMINI))] == [
        {"city": "Paris", "days": 3},
        {"city": "Oslo", "days": 3},
    ]


async def test_an_api_key_goes_where_google_looks(front: Front, oai: Any) -> None:
    await result(oai, lambda: oai.chat.completions.create(model="keyed", messages=USER))
    assert front.received.headers["x-goog-api-key"] == KEY
    assert "authorization" not in front.received.headers


async def test_embeddings(front: Front, oai: Any) -> None:
    texts = ["a", "four"]
    for encoding in ("float", "base64"):
        front.play()
        answer = await result(
            oai,
            lambda encoding=encoding: oai.embeddings.create(
                model="gemini-embedding-001", input=texts, dimensions=2, encoding_format=encoding
            ),
        )
        vectors = [row.embedding for row in answer.data]
        assert len(vectors) == 2 and (encoding == "base64" or vectors == [[1.0, 0.5], [4.0, 0.5]])
        assert (answer.model, answer.usage.total_tokens) == ("gemini-embedding-001", 6)
        assert front.received.target == f"{GLOBAL}/publishers/google/models/gemini-embedding-001:predict"


@every_model
@pytest.mark.parametrize("streams", [False, True])
async def test_errors_are_openais(front: Front, oai: Any, model: str, streams: bool) -> None:
    front.play(refusal=reply(429, QUOTA, headers={"retry-after": "7"}))
    with pytest.raises(openai.RateLimitError, match="Quota exceeded") as caught:
        await result(oai, lambda: oai.chat.completions.create(model=model, messages=USER, stream=streams))
    assert caught.value.response.headers["retry-after"] == "7"


@every_model
async def test_errors_are_anthropics_and_googles(front: Front, ant: Any, sdk: Sdk, model: str) -> None:
    front.play(refusal=reply(429, QUOTA))
    with pytest.raises(anthropic.RateLimitError, match="Quota exceeded"):
        await result(ant, lambda: ant.messages.create(model=model, messages=USER, max_tokens=300))
    with pytest.raises(errors.ClientError, match="Quota exceeded") as caught:
        await sdk.generate(model=model)
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


async def test_the_vendor_dies_in_the_middle(front: Front, oai: Any, ant: Any, sdk: Sdk) -> None:
    front.play(Google(dies=True), dies=True)
    for model in (GEMINI, CLAUDE):
        with pytest.raises(openai.APIError, match="cut short"):
            await events(oai, lambda model=model: oai.chat.completions.create(model=model, messages=USER, stream=True))
        with pytest.raises(anthropic.APIError, match="cut short"):
            await events(
                ant,
                lambda model=model: ant.messages.create(model=model, messages=USER, max_tokens=9, stream=True),
            )
        with pytest.raises(errors.ServerError, match="cut short"):
            await sdk.stream(model=model)


async def test_each_model_logs_in_once(front: Front, oai: Any) -> None:
    for _ in range(3):
        front.play()
        await result(oai, lambda: oai.chat.completions.create(model=GEMINI, messages=USER))
    assert front.logins <= 3  # for each of the models that have no other credential


async def test_a_login_that_fails_is_told_to_nobody(front: Front) -> None:
    front.play()
    async with httpx.AsyncClient(timeout=20) as client:
        url = f"{front.url}/v1/chat/completions"
        response = await client.post(url, json={"model": "refused", "messages": USER})
    assert response.status_code == 500
    assert response.json()["error"]["message"] == "internal error"
    assert "refused" in await front.gateway.logged("no Google token: RefreshError")
    assert [one.target for one in front.upstream.received] == ["/refused"]
    said = front.gateway.log + "".join(front.gateway.access) + response.text
    assert CANARY not in said and TOKEN not in said and KEY not in said


async def test_usage_is_logged(front: Front) -> None:
    front.play()
    async with httpx.AsyncClient(timeout=20) as client:
        url = f"{front.url}/v1beta/models/gemini-2.5-logged:streamGenerateContent?alt=sse"
        await client.post(url, json={"contents": [{"parts": [{"text": "hi"}]}]})
    line = await front.gateway.logged("gemini-2.5-logged")
    assert "gen_ai.usage.input_tokens=120" in line and "gen_ai.usage.output_tokens=31" in line
    assert "gcp.vertex_ai" in line


@pytest.mark.parametrize(("model", "tokens"), [(GEMINI, 6), (CLAUDE, 14)])
async def test_tokens_are_counted_where_the_model_is(
    front: Front, ant: Any, sdk: Sdk, vertex_client: Any, model: str, tokens: int
) -> None:
    counted = await result(ant, lambda: ant.messages.count_tokens(model=model, messages=USER, system="Be kind."))
    assert counted.input_tokens == tokens
    shows_the_token(front.received)
    assert (await vertex_client.messages.count_tokens(model=model, messages=USER)).input_tokens == tokens
    found = await sdk.client.aio.models.count_tokens(model=model, contents="Say hello to Ada.")
    assert found.total_tokens == tokens


async def test_tokens_of_others_are_estimated(front: Front, ant: Any) -> None:
    counted = await result(ant, lambda: ant.messages.count_tokens(model=LLAMA, messages=USER))
    assert 3 < counted.input_tokens < 15
    assert not front.upstream.received
