"""The official OpenAI SDK's `responses` through the gateway, to vendors of every dialect."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

from .matrix.transcripts import END, pieces, played, streamed, whole
from .sdks import OPENAI, UNREAD, closed, collected, connect, events, result, told

__all__ = ["collected"]
pytestmark = [pytest.mark.asyncio(loop_scope="module"), UNREAD]
HELLO = "Hello Ada ☕, schön dich zu sehen."
FOLDERS = {
    "/v1/responses": ("responses",),
    "/v1/chat/completions": ("completions-compatible", "completions"),
    "/v1/messages": ("messages",),
}
VENDORS = ["gpt-5.1", "local-gpt", "claude-haiku-4-5"]
"""One that speaks responses itself, one of chat completions, one of messages."""
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS: list[Any] = [
    {"type": "function", "name": "get_weather", "description": "Weather", "parameters": SCHEMA, "strict": False},
    {"type": "function", "name": "get_time", "parameters": {"type": "object"}, "strict": None},
]
ARGUMENTS = [("get_weather", {"city": "Paris", "days": 3}), ("get_time", {"zone": "Europe/Paris"})]
CARD = "4111 1111 1111 1111"


@dataclass
class Front:
    """A gateway in front of one upstream, which plays every vendor: the path says which, `plays` what."""

    url: str = ""
    gateway: Any = None
    upstream: Upstream = field(default_factory=lambda: Upstream(b""))
    plays: str = "text"

    def answer(self, request: Received) -> Any:
        folders = FOLDERS[request.target]
        if request.json().get("stream") and self.plays not in ("error", "rate-limit"):
            return played(pieces(*streamed(folders, self.plays)))
        return b"".join(whole(folders, self.plays))

    def play(self, what: str | Callable[[Received], Any]) -> None:
        self.upstream.received.clear()
        self.plays = what if isinstance(what, str) else ""
        self.upstream.answer = self.answer if isinstance(what, str) else what

    @property
    def received(self) -> Received:
        (only,) = self.upstream.received
        return only


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(serve_all: Any) -> AsyncIterator[Front]:
    front = Front()
    async with front.upstream as upstream:
        params = {"hostOverride": upstream.address, "apiKey": "sk-of-the-operator"}
        masks = {"response": [{"regex": {"rules": [{"builtin": "creditCard"}], "action": "mask"}}]}
        models = [
            {"name": "gpt-*", "provider": "openAI", "params": params},
            {"name": "local-*", "provider": {"custom": {"formats": [{"type": "completions"}]}}, "params": params},
            {"name": "claude-*", "provider": "anthropic", "params": params},
            {"name": "guarded-gpt", "provider": "openAI", "params": params, "guardrails": masks},
            {"name": "guarded-claude", "provider": "anthropic", "params": params, "guardrails": masks},
        ]
        gateways = {"default": {"port": 0, "address": "127.0.0.1"}}
        front.gateway = await serve_all(
            f"gateways: {json.dumps(gateways)}\nllm: {json.dumps({'gateways': 'default', 'models': models})}\n"
        )
        front.url = front.gateway.url
        yield front


@pytest_asyncio.fixture(loop_scope="module", params=OPENAI, ids=lambda sdk: sdk.__name__)
async def oai(request: pytest.FixtureRequest, front: Front) -> AsyncIterator[Any]:
    front.play("text")
    client = connect(request.param, front.url)
    yield client
    await closed(client)


every_vendor = pytest.mark.parametrize("model", VENDORS)


class Person(BaseModel):
    name: str
    age: int


@every_vendor
async def test_a_response(front: Front, oai: Any, model: str) -> None:
    answer = await result(oai, lambda: oai.responses.create(model=model, instructions="Be brief.", input="Hello"))
    assert (answer.object, answer.status, answer.output_text) == ("response", "completed", HELLO)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (120, 9, 129)
    assert answer.usage.input_tokens_details.cached_tokens == 64
    assert front.received.headers.get("authorization") != "Bearer sk-of-the-client"


@every_vendor
async def test_a_raw_stream(front: Front, oai: Any, model: str) -> None:
    heard = await events(oai, lambda: oai.responses.create(model=model, input="Hello", stream=True))
    assert [event.sequence_number for event in heard] == list(range(len(heard)))
    assert [event.type for event in heard[:4]] == [
        *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added")
    ]
    deltas = [event.delta for event in heard if event.type == "response.output_text.delta"]
    assert "".join(deltas) == HELLO and len(deltas) > 1
    assert heard[-1].type == "response.completed"
    assert heard[-1].response.output_text == HELLO
    assert heard[-1].response.usage.output_tokens == 9


@every_vendor
async def test_the_stream_helper(front: Front, oai: Any, model: str) -> None:
    heard, final = await told(oai, lambda: oai.responses.stream(model=model, input="Hello"), "get_final_response")
    assert [event.text for event in heard if event.type == "response.output_text.done"] == [HELLO]
    assert (final.output_text, final.status, final.usage.total_tokens) == (HELLO, "completed", 129)


@every_vendor
async def test_tools_and_their_answers(front: Front, oai: Any, model: str) -> None:
    """What the client keeps of an answer is what it sends back: all its items."""
    front.play("parallel-tools")
    answer = await result(oai, lambda: oai.responses.create(model=model, input="Weather?", tools=TOOLS))
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == ARGUMENTS
    assert answer.output_text == "I ask both."
    front.play("text")
    history = [
        {"role": "user", "content": "Weather?"},
        *answer.output,
        *({"type": "function_call_output", "call_id": call.call_id, "output": "fine"} for call in calls),
    ]
    after = await result(oai, lambda: oai.responses.create(model=model, input=history, tools=TOOLS))
    assert after.output_text == HELLO
    assert all(call.call_id in front.received.body.decode() for call in calls)


@every_vendor
async def test_streamed_arguments(front: Front, oai: Any, model: str) -> None:
    front.play("parallel-tools")
    heard, final = await told(
        oai, lambda: oai.responses.stream(model=model, input="Weather?", tools=TOOLS), "get_final_response"
    )
    done = [event for event in heard if event.type == "response.function_call_arguments.done"]
    assert [json.loads(event.arguments) for event in done] == [arguments for _, arguments in ARGUMENTS]
    calls = [item for item in final.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == ARGUMENTS


@every_vendor
async def test_structured_output(front: Front, oai: Any, model: str) -> None:
    front.play("structured-output")
    answer = await result(oai, lambda: oai.responses.parse(model=model, input="Who?", text_format=Person))
    assert answer.output_parsed == Person(name="Ada", age=36)


@every_vendor
async def test_thoughts(front: Front, oai: Any, model: str) -> None:
    front.play("reasoning")
    asked: Any = {"model": model, "reasoning": {"effort": "medium"}, "max_output_tokens": 8000}
    answer = await result(oai, lambda: oai.responses.create(input="What?", **asked))
    thought, message = answer.output
    assert thought.summary[0].text == "The user wrote 4 words. I shall answer."
    assert message.content[0].text == "42, of course."
    assert answer.usage.output_tokens_details.reasoning_tokens == 22
    front.play("text")
    history = [{"role": "user", "content": "What?"}, *answer.output, {"role": "user", "content": "Why?"}]
    await result(oai, lambda: oai.responses.create(input=history, **asked))
    if model.startswith("claude"):
        block, _ = front.received.json()["messages"][1]["content"]
        assert block["signature"].startswith("EqQB")


@every_vendor
async def test_an_answer_that_was_too_long(front: Front, oai: Any, model: str) -> None:
    front.play("length")
    answer = await result(oai, lambda: oai.responses.create(model=model, input="A story", max_output_tokens=16))
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@every_vendor
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "error"), [("error", openai.BadRequestError), ("rate-limit", openai.RateLimitError)])
async def test_errors_are_the_sdks_exceptions(
    front: Front, oai: Any, model: str, name: str, error: Any, stream: bool
) -> None:
    front.play(name)
    with pytest.raises(error) as caught:
        await result(oai, lambda: oai.responses.create(model=model, input="Hello", stream=stream))
    assert caught.value.body["message"]


@every_vendor
async def test_a_stream_that_breaks_is_the_sdks_exception(front: Front, oai: Any, model: str) -> None:
    front.play("overloaded")
    with pytest.raises(openai.APIError) as caught:
        await events(oai, lambda: oai.responses.create(model=model, input="Hello", stream=True))
    assert "overloaded" in str(caught.value).lower()


@every_vendor
async def test_a_vendor_that_dies_is_the_sdks_exception(front: Front, oai: Any, model: str) -> None:
    def answer(request: Received) -> Any:
        head, told = streamed(FOLDERS[request.target], "text")
        return played(pieces(head, told[: told.index(b"\n\n", told.index(b" Ada")) + 2], END))

    front.play(answer)
    with pytest.raises(openai.APIError) as caught:
        await events(oai, lambda: oai.responses.create(model=model, input="Hello", stream=True))
    assert "cut short" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"background": True}, "background"),
    ],
)
@pytest.mark.parametrize("model", ["claude-haiku-4-5", "local-gpt"])
async def test_what_another_vendor_does_not_have_is_refused_by_name(
    front: Front, oai: Any, model: str, asked: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await result(oai, lambda: oai.responses.create(model=model, input="Hello", **asked))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", param)
    assert front.upstream.received == []


async def test_its_own_vendor_gets_all_of_it_to_the_byte(front: Front, oai: Any) -> None:
    said = b'{"id": "r", "object":"response","created_at":1, "output": [], "news": {"b":1, "a": 1.50}}'
    front.play(lambda request: reply(200, said))
    asked: Any = {"previous_response_id": "resp_1", "tools": [{"type": "web_search"}]}
    raw = await result(oai, lambda: oai.responses.with_raw_response.create(model="gpt-9", input="Hello", **asked))
    assert front.received.body == raw.http_request.content
    assert raw.content == said


@pytest.mark.parametrize("model", ["guarded-gpt", "guarded-claude"])
async def test_a_mask_holds_in_every_telling(front: Front, oai: Any, model: str) -> None:
    def answer(request: Received) -> Any:
        folders = FOLDERS[request.target]
        if request.json().get("stream"):
            head, told = streamed(folders, "text")
            return played(pieces(head, told.replace(b"zu sehen", f"zu sehen {CARD}".encode())))
        head, body = whole(folders, "text")
        return reply(200, body.replace(b"zu sehen", f"zu sehen {CARD}".encode()))

    front.play(answer)
    heard = await events(oai, lambda: oai.responses.create(model=model, input="Hello", stream=True))
    answered = await result(oai, lambda: oai.responses.create(model=model, input="Hello"))
    assert CARD not in "".join(event.model_dump_json() for event in (*heard, answered))
    deltas = "".join(event.delta for event in heard if event.type == "response.output_text.delta")
    assert "<CREDIT_CARD>" in deltas
    (done,) = [event.text for event in heard if event.type == "response.output_text.done"]
    assert deltas == done == heard[-1].response.output_text == answered.output_text


async def test_another_question_about_responses_is_nobodys(front: Front, oai: Any) -> None:
    with pytest.raises(openai.NotFoundError):
        await result(oai, lambda: oai.responses.retrieve("resp_1"))
