"""Google on both sides of the gateway: its official SDK as a client of any vendor, and the Gemini API as the vendor of
any SDK.

The vendor is a fake one on loopback that holds what it is asked against the SDK's own types, and answers as Google's
documentation shows.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx
import openai
import pytest
import pytest_asyncio
from google.genai import errors, types

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

from .googles import CALLED, HEAD, HELLO, SIGNED, Google, Json, Sdk, called, joined
from .matrix.cases import PIXEL, WEATHER
from .matrix.transcripts import pieces, played, streamed, whole
from .sdks import UNREAD, closed, collected, connect, events, result

__all__ = ["collected"]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
OPERATOR = "AIzaSyCanaryOfTheOperator"
FOLDERS = {"/v1/chat/completions": ("completions-compatible", "completions"), "/v1/messages": ("messages",)}
USER: list[Any] = [{"role": "user", "content": "Say hello to Ada."}]
FUNCTION = types.FunctionDeclaration(name=WEATHER[0], description=WEATHER[1], parameters_json_schema=WEATHER[2])
TOOL = types.Tool(function_declarations=[FUNCTION])
VENDORS = ("gpt-5.1", "claude-haiku-4-5")


@dataclass
class Front:
    """A gateway in front of one upstream, which plays all vendors: the path says which."""

    url: str = ""
    gateway: Any = None
    google: Google = field(default_factory=Google)
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    plays: str = "text"

    def answer(self, request: Received) -> Any:
        if request.target not in FOLDERS:
            return self.google(request)
        folders = FOLDERS[request.target]
        if request.json().get("stream"):
            return played(pieces(*streamed(folders, self.plays)))
        return b"".join(whole(folders, self.plays))

    def play(self, what: str | Google) -> None:
        self.upstream.received.clear()
        self.upstream.gone.clear()
        self.plays, self.google = (what, Google()) if isinstance(what, str) else ("text", what)

    @property
    def received(self) -> Received:
        (only,) = self.upstream.received
        return only


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Any) -> AsyncIterator[Front]:
    front = Front()
    front.upstream.answer = front.answer
    async with front.upstream as upstream:
        address = {"hostOverride": upstream.address}
        models = [
            {"name": "gemini-*", "provider": "gemini", "params": address},
            {"name": "keyed", "provider": "gemini", "params": {**address, "apiKey": OPERATOR, "model": "gemini-3-pro"}},
            {"name": "gpt-*", "provider": "openAI", "params": address},
            {"name": "claude-*", "provider": "anthropic", "params": address},
            {
                "name": "guarded",
                "provider": "gemini",
                "params": {**address, "model": "gemini-2.5-flash"},
                "guardrails": {
                    "response": [{"regex": {"rules": [{"pattern": "Ada|Paris"}], "scope": ["messages", "toolInput"]}}]
                },
            },
            {"name": "demo", "provider": "simulator"},
        ]
        gateways = {"default": {"port": 0, "address": "127.0.0.1"}}
        front.gateway = await serve_all(
            f"gateways: {json.dumps(gateways)}\nllm: {json.dumps({'gateways': 'default', 'models': models})}\n"
        )
        front.url = front.gateway.url
        yield front


@pytest_asyncio.fixture(loop_scope="module", params=[(None, True), ("v1beta", False)], ids=["v1-async", "v1beta-sync"])
async def sdk(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Sdk]:
    front.play("text")
    made = Sdk(front.url, *request.param)
    yield made
    await made.close()


# --- Google's client and the Gemini API ------------------------------------------------------------------------------


async def test_google_to_google_passes_through(front: Front, sdk: Sdk) -> None:
    answer = await sdk.generate(model="gemini-2.5-flash")
    assert answer.text == HELLO
    assert (answer.model_version, answer.response_id) == (HEAD["modelVersion"], HEAD["responseId"])
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.thoughts_token_count == 22
    assert front.received.target == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert front.received.headers["x-goog-api-key"] == "AIza-of-the-client"


async def test_google_to_google_streamed(front: Front, sdk: Sdk) -> None:
    answers = await sdk.stream(model="gemini-2.5-flash")
    assert joined(answers) == HELLO
    assert answers[-1].candidates is not None
    assert answers[-1].candidates[0].finish_reason == types.FinishReason.STOP


async def test_the_operators_key_takes_the_clients_place(front: Front, sdk: Sdk) -> None:
    await sdk.generate(model="keyed")
    assert front.received.target == "/v1beta/models/gemini-3-pro:generateContent"
    assert front.received.headers["x-goog-api-key"] == OPERATOR
    assert "authorization" not in front.received.headers


async def test_usage_of_a_stream_is_logged(front: Front) -> None:
    front.play("text")
    async with httpx.AsyncClient(timeout=20) as client:
        url = f"{front.url}/v1beta/models/gemini-2.5-logged:streamGenerateContent?alt=sse"
        response = await client.post(url, json={"contents": [{"parts": [{"text": "hi"}]}]})
    assert response.headers["content-type"] == "text/event-stream"
    line = await front.gateway.logged("gemini-2.5-logged")
    assert "gen_ai.usage.input_tokens=120" in line
    assert "gen_ai.usage.output_tokens=31" in line
    assert "gen_ai.usage.reasoning_tokens=22" in line
    assert "gen_ai.usage.cache_read.input_tokens=64" in line
    assert "gen_ai.response.model=gemini-2.5-flash-001" in line
    assert "estimated" not in line
    assert OPERATOR not in front.gateway.log


# --- Google's client and other vendors -------------------------------------------------------------------------------

either_vendor = pytest.mark.parametrize("model", VENDORS)


@either_vendor
async def test_google_to_others(front: Front, sdk: Sdk, model: str) -> None:
    config = types.GenerateContentConfig(
        system_instruction="Be brief.", temperature=0.5, max_output_tokens=300, stop_sequences=["END"]
    )
    answer = await sdk.generate(model=model, config=config)
    assert answer.text == HELLO
    assert (answer.model_version or "").startswith(model)
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata.prompt_token_count, answer.usage_metadata.total_token_count) == (120, 129)
    assert answer.usage_metadata.cached_content_token_count == 64
    assert front.received.json()["model"] == model


@either_vendor
async def test_google_to_others_streamed(front: Front, sdk: Sdk, model: str) -> None:
    answers = await sdk.stream(model=model)
    assert joined(answers) == HELLO
    assert answers[-1].usage_metadata is not None
    assert answers[-1].usage_metadata.total_token_count == 129
    assert front.received.json()["stream"] is True


@either_vendor
@pytest.mark.parametrize("streams", [False, True])
async def test_tools_and_back_again(front: Front, sdk: Sdk, model: str, streams: bool) -> None:
    front.play("parallel-tools")
    asked = {"model": model, "config": types.GenerateContentConfig(tools=[TOOL])}
    answers = await sdk.stream(**asked) if streams else [await sdk.generate(**asked)]
    calls = called(answers)
    assert [(call.name, call.args) for call in calls] == [
        ("get_weather", {"city": "Paris", "days": 3}),
        ("get_time", {"zone": "Europe/Paris"}),
    ]
    said = [part for one in answers for part in one.candidates[0].content.parts]  # type: ignore[index, union-attr]
    history: list[Any] = [
        types.Content(role="user", parts=[types.Part(text="Weather?")]),
        types.Content(role="model", parts=said),
        types.Content(
            role="user",
            parts=[
                types.Part(
                    function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "x"})
                )
                for call in calls
            ],
        ),
    ]
    front.play("text")
    assert (await sdk.generate(model=model, contents=history)).text == HELLO
    sent = front.received.json()["messages"]
    ids = [call.id for call in calls]
    if model.startswith("gpt"):
        assert [one["id"] for one in sent[1]["tool_calls"]] == ids
        assert [one["tool_call_id"] for one in sent[2:]] == ids
    else:
        assert [one["id"] for one in sent[1]["content"] if one["type"] == "tool_use"] == ids
        assert [one["tool_use_id"] for one in sent[2]["content"]] == ids


@pytest.mark.parametrize("streams", [False, True])
async def test_thoughts_keep_their_signature(front: Front, sdk: Sdk, streams: bool) -> None:
    front.play("reasoning")
    asked = {
        "model": "claude-haiku-4-5",
        "config": types.GenerateContentConfig(
            thinking_config=types.ThinkingConfig(thinking_budget=2048), max_output_tokens=6000
        ),
    }
    answers = await sdk.stream(**asked) if streams else [await sdk.generate(**asked)]
    said = [part for one in answers for part in one.candidates[0].content.parts]  # type: ignore[index, union-attr]
    assert "".join(part.text for part in said if part.thought) == "The user wrote 4 words. I shall answer."
    assert front.received.json()["thinking"] == {"type": "enabled", "budget_tokens": 2048}
    front.play("text")
    await sdk.generate(model="claude-haiku-4-5", contents=[types.Content(role="model", parts=said)])
    assert front.received.json()["messages"][0]["content"] == [
        {
            "type": "thinking",
            "thinking": "The user wrote 4 words. I shall answer.",
            "signature": "EqQBCkYIBxgCKkBnYXRld2F5LW1hdHJpeC1zaWduYXR1cmU=",
        },
        {"type": "text", "text": "42, of course."},
    ]


@either_vendor
async def test_pictures_and_schemas(front: Front, sdk: Sdk, model: str) -> None:
    import base64

    front.play("structured-output")
    answer = await sdk.generate(
        model=model,
        contents=[types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png"), "Who?"],
        config=types.GenerateContentConfig(
            response_mime_type="application/json",
            response_schema=types.Schema(
                type=types.Type.OBJECT, properties={"name": types.Schema(type=types.Type.STRING)}
            ),
        ),
    )
    assert json.loads(answer.text or "") == {"name": "Ada", "age": 36}
    sent = front.received.json()
    assert PIXEL in json.dumps(sent["messages"])
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    told = sent.get("response_format", {}).get("json_schema") or sent["output_config"]["format"]
    assert told["schema"] == schema


@either_vendor
@pytest.mark.parametrize(
    ("case", "status", "word"), [("error", 400, "INVALID_ARGUMENT"), ("rate-limit", 429, "RESOURCE_EXHAUSTED")]
)
@pytest.mark.parametrize("streams", [False, True])
async def test_errors_of_others_are_googles(
    front: Front, sdk: Sdk, model: str, case: str, status: int, word: str, streams: bool
) -> None:
    front.upstream.answer = lambda request: b"".join(whole(FOLDERS[request.target], case))
    try:
        with pytest.raises(errors.ClientError) as caught:
            await (sdk.stream(model=model) if streams else sdk.generate(model=model))
    finally:
        front.upstream.answer = front.answer
    assert (caught.value.code, caught.value.status) == (status, word)
    assert caught.value.message


@either_vendor
async def test_a_stream_that_breaks_ends_with_googles_error(front: Front, sdk: Sdk, model: str) -> None:
    front.play("overloaded")
    with pytest.raises(errors.ServerError) as caught:
        await sdk.stream(model=model)
    assert caught.value.status == "UNAVAILABLE"
    assert "overloaded" in str(caught.value.message)


async def test_the_gateways_own_errors_are_googles(front: Front, sdk: Sdk) -> None:
    with pytest.raises(errors.ClientError) as caught:
        await sdk.generate(model="nobody-knows-it")
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    with pytest.raises(errors.ClientError) as caught:
        search = types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())])
        await sdk.generate(model="gpt-5.1", config=search)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert caught.value.details["error"]["details"][0]["fieldViolations"][0]["field"] == "tools[0].googleSearch"


async def test_models_are_listed_as_google_does(front: Front, sdk: Sdk) -> None:
    import asyncio

    listed = await asyncio.to_thread(lambda: list(sdk.client.models.list()))
    assert {one.name for one in listed} == {"models/keyed", "models/guarded", "models/demo"}
    one = await asyncio.to_thread(lambda: sdk.client.models.get(model="demo"))
    assert one.name == "models/demo"
    async with httpx.AsyncClient(timeout=20) as client:  # by its path alone
        assert (await client.get(f"{front.url}/v1beta/models/demo")).json()["name"] == "models/demo"


async def test_a_stream_that_is_no_event_stream_is_refused(front: Front) -> None:
    async with httpx.AsyncClient(timeout=20) as client:
        url = f"{front.url}/v1beta/models/gpt-5.1:streamGenerateContent"
        response = await client.post(url, json={"contents": []}, headers={"x-goog-api-key": "k"})
    assert response.status_code == 400
    assert response.json()["error"]["status"] == "INVALID_ARGUMENT"
    assert "alt=sse" in response.json()["error"]["message"]


@pytest.mark.parametrize("method", ["predict", "batchGenerateContent"])
async def test_other_methods_are_nobodys_chat(front: Front, method: str) -> None:
    front.play("text")
    async with httpx.AsyncClient(timeout=20) as client:
        for version in ("v1", "v1beta", "v1beta1"):
            url = f"{front.url}/{version}/models/gpt-5.1:{method}"
            response = await client.post(url, json={"contents": [], "messages": [], "model": "gpt-5.1"})
            assert response.status_code == 404
    assert not front.upstream.received


async def test_the_simulator_speaks_to_googles_client(front: Front, sdk: Sdk) -> None:
    assert (await sdk.generate(model="demo")).text
    assert joined(await sdk.stream(model="demo"))


# --- other clients and the Gemini API --------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module", params=[openai.OpenAI, openai.AsyncOpenAI], ids=lambda sdk: sdk.__name__)
async def oai(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Any]:
    client = connect(request.param, front.url)
    front.play(Google())
    yield client
    await closed(client)


@pytest_asyncio.fixture(
    loop_scope="module", params=[anthropic.Anthropic, anthropic.AsyncAnthropic], ids=lambda sdk: sdk.__name__
)
async def ant(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Any]:
    client = connect(request.param, front.url)
    front.play(Google())
    yield client
    await closed(client)


async def test_openai_to_google(front: Front, oai: Any) -> None:
    answer = await result(oai, lambda: oai.chat.completions.create(model="keyed", messages=USER, max_tokens=300))
    assert answer.choices[0].message.content == HELLO
    assert answer.choices[0].message.reasoning_content == "Say "
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.id, answer.model) == (HEAD["responseId"], HEAD["modelVersion"])
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (120, 31, 151)
    assert usage.completion_tokens_details.reasoning_tokens == 22
    assert usage.prompt_tokens_details.cached_tokens == 64


@pytest.mark.parametrize("size", [1, 29, 4096])
async def test_openai_to_google_streamed(front: Front, oai: Any, size: int) -> None:
    front.play(Google(size=size))
    options = {"include_usage": True}
    chunks = await events(
        oai,
        lambda: oai.chat.completions.create(model="keyed", messages=USER, stream=True, stream_options=options),
    )
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices) == HELLO
    assert chunks[-1].usage.completion_tokens == 31


@pytest.mark.parametrize("streams", [False, True])
async def test_tools_of_openai_and_the_vendors_signatures(front: Front, oai: Any, streams: bool) -> None:
    front.play(Google(CALLED))
    tools: list[Any] = [{"type": "function", "function": {"name": WEATHER[0], "parameters": WEATHER[2]}}]
    if streams:
        deltas = await events(
            oai, lambda: oai.chat.completions.create(model="keyed", messages=USER, tools=tools, stream=True)
        )
        message = glued([one.choices[0].delta.model_dump(exclude_none=True) for one in deltas if one.choices])
    else:
        answer = await result(oai, lambda: oai.chat.completions.create(model="keyed", messages=USER, tools=tools))
        assert answer.choices[0].finish_reason == "tool_calls"
        message = answer.choices[0].message.model_dump(exclude_none=True)
    calls = message["tool_calls"]
    assert [json.loads(call["function"]["arguments"])["city"] for call in calls] == ["Paris", "Oslo"]
    assert len({call["id"] for call in calls}) == 2
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "Sun."} for call in calls]
    front.play(Google())
    history = [*USER, message, *results]
    await result(oai, lambda: oai.chat.completions.create(model="keyed", messages=history, tools=tools))
    _, said, answers = front.received.json()["contents"]
    assert [part.get("thoughtSignature") for part in said["parts"]] == [None, SIGNED, None]
    assert [part["functionResponse"]["name"] for part in answers["parts"]] == ["get_weather"] * 2


def glued(deltas: list[Json]) -> Json:
    """What a client puts together from a stream, extensions and all."""
    message: Json = {
        "role": "assistant",
        "content": "",
        "tool_calls": [],
        "thinking_blocks": [],
        "reasoning_content": "",
    }
    for delta in deltas:
        for key in ("content", "reasoning_content"):
            message[key] += delta.get(key) or ""
        message["thinking_blocks"] += delta.get("thinking_blocks", [])
        for piece in delta.get("tool_calls", ()):
            if piece["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({"id": piece["id"], "type": "function", "function": piece["function"]})
            else:
                message["tool_calls"][piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
    return message


async def test_anthropic_to_google(front: Front, ant: Any) -> None:
    answer = await result(ant, lambda: ant.messages.create(model="keyed", messages=USER, max_tokens=300))
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[1].text == HELLO
    assert (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens) == ("end_turn", 56, 31)
    assert front.received.json()["generationConfig"] == {"maxOutputTokens": 300}


async def test_anthropic_to_google_streamed(front: Front, ant: Any) -> None:
    front.play(Google(CALLED))
    seen = await events(ant, lambda: ant.messages.create(model="keyed", messages=USER, max_tokens=300, stream=True))
    starts = [one.content_block for one in seen if one.type == "content_block_start"]
    assert [block.type for block in starts] == ["thinking", "tool_use", "tool_use"]
    signatures = [
        one.delta.signature for one in seen if getattr(getattr(one, "delta", None), "type", "") == "signature_delta"
    ]
    assert signatures == [SIGNED]


@pytest.mark.parametrize("streams", [False, True])
async def test_errors_of_google_are_the_clients(front: Front, oai: Any, streams: bool) -> None:
    body = {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}
    front.play(Google(refusal=reply(429, body, headers={"retry-after": "7"})))
    with pytest.raises(openai.RateLimitError, match="Quota exceeded") as caught:
        await result(oai, lambda: oai.chat.completions.create(model="keyed", messages=USER, stream=streams))
    assert caught.value.response.headers["retry-after"] == "7"


async def test_google_dies_in_the_middle(front: Front, oai: Any, sdk: Sdk) -> None:
    front.play(Google(dies=True))
    with pytest.raises(openai.APIError, match="cut short"):
        await events(oai, lambda: oai.chat.completions.create(model="keyed", messages=USER, stream=True))
    with pytest.raises(errors.ServerError, match="cut short"):
        await sdk.stream(model="gemini-2.5-flash")


@pytest.mark.parametrize("size", [1, 4096])
async def test_a_guarded_stream_of_google(front: Front, sdk: Sdk, size: int) -> None:
    front.play(Google(size=size))
    text = joined(await sdk.stream(model="guarded"))
    assert text == HELLO.replace("Ada", "<masked>")
    front.play(Google(CALLED, size=size))
    calls = called(await sdk.stream(model="guarded"))
    assert [call.args for call in calls] == [{"city": "<masked>", "days": 3}, {"city": "Oslo", "days": 3}]
    front.play(Google())
    assert (await sdk.generate(model="guarded")).text == text
