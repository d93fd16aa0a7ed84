"""What vendors keep for an account, by the official SDKs through a real gateway: files, batches, stored responses."""

import io
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from email.parser import BytesParser
from typing import Any

import anthropic
import httpx
import openai
import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

KEY, OTHER_KEY = "canary-operator-77aa", "canary-anthropic-88bb"
LINES = b'{"custom_id": "one", "method": "POST", "url": "/v1/chat/completions", "body": {}}\n' * 3000
FILE = {"id": "file-1", "object": "file", "bytes": len(LINES), "created_at": 1, "filename": "b.jsonl"}
FILE |= {"purpose": "batch", "status": "processed"}
BATCH = {"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions", "status": "validating"}
BATCH |= {"input_file_id": "file-1", "completion_window": "24h", "created_at": int(time.time())}
MESSAGE = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "shorter"}]}
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5", "status": "completed"}
RESPONSE |= {"output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
RESPONSE |= {"usage": {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}}


def page(*rows: Any) -> bytes:
    return reply(200, {"object": "list", "data": list(rows), "has_more": False, "first_id": None, "last_id": None})


def of_openai(request: Received) -> Any:
    """What OpenAI's pages say such requests are answered with."""
    assert request.headers["authorization"] == f"Bearer {KEY}"
    path, _, query = request.target.partition("?")
    match request.method, path:
        case "POST", "/v1/files":
            head = b"content-type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
            parts = BytesParser().parsebytes(head + request.body).get_payload()
            assert [part.get_param("name", header="content-disposition") for part in parts] == ["purpose", "file"]
            assert parts[1].get_payload(decode=True) == LINES
            return reply(200, FILE)
        case "GET", "/v1/files":
            assert query in ("", "limit=2&purpose=batch", "purpose=batch&limit=2")
            return page(FILE)
        case "GET", "/v1/files/file-1/content":
            return b"HTTP/1.1 200 OK\r\ncontent-type: application/binary\r\ncontent-length: %d\r\n\r\n%b" % (
                len(LINES),
                LINES,
            )
        case "GET", "/v1/files/file-1":
            return reply(200, FILE)
        case "DELETE", "/v1/files/file-1":
            return reply(200, {"id": "file-1", "object": "file", "deleted": True})
        case "POST", "/v1/batches":
            assert request.headers["content-type"] == "application/json"
            assert request.json()["input_file_id"] == "file-1"
            return reply(200, BATCH)
        case "GET", "/v1/batches":
            return page(BATCH)
        case "GET", "/v1/batches/batch_2":
            return reply(200, {**BATCH, "id": "batch_2", "status": "completed", "usage": RESPONSE["usage"]})
        case "GET", "/v1/batches/batch_1":
            return reply(200, BATCH)
        case "POST", "/v1/batches/batch_1/cancel":
            return reply(200, {**BATCH, "status": "cancelling"})
        case "POST", "/v1/responses":
            return reply(200, {**RESPONSE, "status": "queued", "background": True, "usage": None})
        case "GET", "/v1/responses/resp_1" if query == "stream=true":
            return watched()
        case "GET", "/v1/responses/resp_1":
            return reply(200, RESPONSE)
        case "DELETE", "/v1/responses/resp_1":
            return reply(200, {"id": "resp_1", "object": "response", "deleted": True})
        case "POST", "/v1/responses/resp_1/cancel":
            return reply(200, {**RESPONSE, "status": "cancelled"})
        case "GET", "/v1/responses/resp_1/input_items":
            return page({"id": "msg_1", "type": "message", "role": "user", "content": []})
        case "POST", "/v1/responses/compact":
            assert request.json()["model"] == "gpt-5"
            item = {"id": "cmp_1", "type": "compaction", "encrypted_content": "x"}
            document = {"id": "resp_2", "object": "response.compaction", "created_at": 1, "output": [item]}
            return reply(200, {**document, "usage": RESPONSE["usage"]})
    message = f"no {request.method} {request.target}, by {request.headers['authorization']}"
    return reply(404, {"error": {"message": message, "type": "invalid_request_error"}})


async def watched() -> AsyncIterator[bytes]:
    yield stream_head()
    done = {"type": "response.completed", "sequence_number": 1, "response": RESPONSE}
    yield chunk(f"event: response.completed\ndata: {json.dumps(done)}\n\n".encode())
    yield LAST


MESSAGE_BATCH = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended"}
MESSAGE_BATCH |= {"created_at": "2024-08-20T18:37:24Z", "expires_at": "2024-08-21T18:37:24Z"}
MESSAGE_BATCH |= {"results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"}
MESSAGE_BATCH |= {
    "request_counts": {"processing": 0, "succeeded": 1, "errored": 0, "canceled": 0, "expired": 0},
}
RESULT = {"custom_id": "one", "result": {"type": "canceled"}}
KEPT = {"id": "file_1", "type": "file", "filename": "a.txt", "mime_type": "text/plain", "size_bytes": 5}
KEPT |= {"created_at": "2024-08-20T18:37:24Z", "downloadable": False}


def of_anthropic(request: Received) -> Any:
    """What Anthropic's pages say such requests are answered with."""
    assert request.headers["x-api-key"] == OTHER_KEY
    assert request.headers["anthropic-version"] == "2023-06-01"
    match request.method, request.target.partition("?")[0]:
        case "POST", "/v1/messages/batches":
            assert request.json()["requests"][0]["custom_id"] == "one"
            return reply(200, MESSAGE_BATCH)
        case "GET", "/v1/messages/batches":
            return page(MESSAGE_BATCH)
        case "GET", "/v1/messages/batches/msgbatch_1":
            return reply(200, MESSAGE_BATCH)
        case "POST", "/v1/messages/batches/msgbatch_1/cancel":
            return reply(200, {**MESSAGE_BATCH, "processing_status": "canceling"})
        case "DELETE", "/v1/messages/batches/msgbatch_1":
            return reply(200, {"id": "msgbatch_1", "type": "message_batch_deleted"})
        case "GET", "/v1/messages/batches/msgbatch_1/results":
            body = json.dumps(RESULT).encode() + b"\n"
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/x-jsonl\r\ncontent-length: {len(body)}\r\n\r\n"
            return head.encode() + body
        case "GET", "/v1/files":
            return page(KEPT)
        case "POST", "/v1/files":
            assert request.headers["content-type"].startswith("multipart/form-data")
            return reply(200, KEPT)
    error = {"type": "not_found_error", "message": f"no {request.target}"}
    return reply(404, {"type": "error", "error": error})


CONFIG = """
llm:
  port: 0
  policies: {policies}
  models:
  - name: "gpt-*"
    provider: openAI
    params: {{apiKey: {key}, hostOverride: "{openai}"}}
    resources: [files, batches, stored_responses]
    overrides: {{user: house}}
  - name: "claude*"
    provider: anthropic
    params: {{apiKey: {other}, hostOverride: "{anthropic}"}}
    resources: [message_batches, message_files]
  - {{name: "*", provider: openAI, params: {{apiKey: wrong, hostOverride: "{openai}"}}}}
"""


class World:
    """A gateway in front of both vendors, and their SDKs in front of it."""

    def __init__(self, gateway: Any, first: Upstream, second: Upstream) -> None:
        self.gateway, self.first, self.second = gateway, first, second
        self.openai = openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="k-all", max_retries=0)
        self.anthropic = anthropic.AsyncAnthropic(base_url=gateway.url, api_key="k-all", max_retries=0)


@pytest.fixture
async def world(serve):
    async with Upstream(of_openai) as first, Upstream(of_anthropic) as second, AsyncExitStack() as clients:

        async def start(policies: str = "{}", config: str = CONFIG) -> World:
            names = {"openai": first.address, "anthropic": second.address, "key": KEY, "other": OTHER_KEY}
            made = World(await serve(config.format(policies=policies, **names)), first, second)
            await clients.enter_async_context(made.openai)
            await clients.enter_async_context(made.anthropic)
            return made

        yield start


async def test_files(world):
    served = await world()
    files = served.openai.files
    assert (await files.create(file=("b.jsonl", io.BytesIO(LINES)), purpose="batch")).id == "file-1"
    assert [one.id async for one in files.list(purpose="batch", limit=2)] == ["file-1"]
    assert (await files.retrieve("file-1")).bytes == len(LINES)
    assert (await files.content("file-1")).content == LINES
    assert (await files.delete("file-1")).deleted
    line = await served.gateway.logged("http.path=/v1/files/file-1/content")
    assert "gen_ai.operation.name=files gen_ai.provider.name=openai" in line
    assert "gen_ai.request.model" not in line


async def test_batches(world):
    served = await world()
    batches = served.openai.batches
    made = await batches.create(completion_window="24h", endpoint="/v1/chat/completions", input_file_id="file-1")
    assert made.id == (await batches.retrieve("batch_1")).id == "batch_1"
    assert [one.id async for one in batches.list()] == ["batch_1"]
    assert (await batches.cancel("batch_1")).status == "cancelling"
    assert json.loads(served.first.received[0].body).keys() == {"completion_window", "endpoint", "input_file_id"}


async def test_stored_responses(world):
    responses = (await world()).openai.responses
    assert (await responses.create(model="gpt-5", input="hi", background=True)).status == "queued"
    assert (await responses.retrieve("resp_1")).status == "completed"
    assert (await responses.cancel("resp_1")).status == "cancelled"
    assert [item.id async for item in responses.input_items.list("resp_1")] == ["msg_1"]
    assert [event.type async for event in await responses.retrieve("resp_1", stream=True)] == ["response.completed"]
    await responses.delete("resp_1")


async def test_compacting_names_a_model(world):
    served = await world()
    made = await served.openai.responses.compact(model="gpt-5", input="a long talk")
    assert made.output[0].type == "compaction"
    line = await served.gateway.logged("http.path=/v1/responses/compact")
    assert "gen_ai.operation.name=compact gen_ai.request.model=gpt-5" in line
    assert "gen_ai.usage.output_tokens=6" in line


async def test_batches_of_messages(world):
    served = await world()
    batches = served.anthropic.messages.batches
    call = {"model": "claude-x", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    made = await batches.create(requests=[{"custom_id": "one", "params": call}])
    assert made.id == (await batches.retrieve("msgbatch_1")).id
    assert [one.id async for one in batches.list()] == ["msgbatch_1"]
    assert (await batches.cancel("msgbatch_1")).processing_status == "canceling"
    assert (await batches.delete("msgbatch_1")).id == "msgbatch_1"
    assert "gen_ai.operation.name=batches" in await served.gateway.logged("http.path=/v1/messages/batches")


async def test_results_of_a_batch_come_from_here_too(world):
    """The vendor names its own address; a client that went there would show it our keys."""
    batches = (await world()).anthropic.messages.batches
    assert (await batches.retrieve("msgbatch_1")).results_url == "/v1/messages/batches/msgbatch_1/results"
    assert [one.custom_id async for one in await batches.results("msgbatch_1")] == ["one"]


async def test_the_clients_own_header_tells_two_vendors_files_apart(world):
    served = await world()
    assert [one.id async for one in served.anthropic.beta.files.list()] == ["file_1"]
    assert (await served.anthropic.beta.files.upload(file=("a.txt", b"hello", "text/plain"))).id == "file_1"
    assert [one.id async for one in served.openai.files.list()] == ["file-1"]


NO_RESOURCES = """
llm:
  port: 0
  policies: {policies}
  models: [{{name: "*", provider: openAI, params: {{apiKey: {key}, hostOverride: "{openai}"}}}}]
"""


async def test_nothing_of_an_account_is_served_unasked(world):
    served = await world(config=NO_RESOURCES)
    with pytest.raises(openai.NotFoundError, match="no model here takes `files`"):
        await served.openai.files.list()
    with pytest.raises(openai.NotFoundError, match="no model here takes `stored_responses`"):
        await served.openai.responses.retrieve("resp_1")
    with pytest.raises(anthropic.NotFoundError, match="no model here takes `message_batches`"):
        await served.anthropic.messages.batches.retrieve("msgbatch_1")
    assert not served.first.received


ROUTE = """
gateways: {{default: {{port: 0}}}}
routes:
- backends:
  - ai: {{provider: {{openAI: {{}}}}, hostOverride: "{openai}", resources: [files]}}
    policies: {{backendAuth: {{key: {key}}}}}
"""


async def test_a_route_of_its_own_serves_what_it_says(world):
    served = await world(config=ROUTE)
    assert (await served.openai.files.retrieve("file-1")).id == "file-1"
    with pytest.raises(openai.NotFoundError, match="`batches` are not served here"):
        await served.openai.batches.retrieve("batch_1")


async def test_strangers_and_callers_kept_to_some_models_are_refused(world):
    keys = "[{key: k-all}, {key: k-some, allowedModels: [gpt-5]}]"
    served = await world(f"{{apiKey: {{mode: strict, keys: {keys}}}}}")
    assert (await served.openai.files.retrieve("file-1")).id == "file-1"
    with pytest.raises(openai.PermissionDeniedError):
        await served.openai.with_options(api_key="k-some").files.list()
    with pytest.raises(openai.AuthenticationError):
        await served.openai.with_options(api_key="k-none").files.list()
    assert len(served.first.received) == 1


async def test_limits_count_them(world):
    served = await world("{localRateLimit: [{maxTokens: 1, tokensPerFill: 1, fillInterval: 60s}]}")
    await served.openai.files.retrieve("file-1")
    with pytest.raises(openai.RateLimitError):
        await served.openai.files.retrieve("file-1")


async def test_limits_take_what_a_batch_used_from_who_sees_its_end_first(world):
    served = await world("{localRateLimit: [{type: tokens, maxTokens: 5, tokensPerFill: 1, fillInterval: 1h}]}")
    assert (await served.openai.batches.retrieve("batch_2")).usage.output_tokens == 6
    line = await served.gateway.logged("http.path=/v1/batches/batch_2")
    assert "gen_ai.usage.input_tokens=5 gen_ai.usage.output_tokens=6" in line
    with pytest.raises(openai.RateLimitError):
        await served.openai.batches.retrieve("batch_2")


async def test_an_error_that_quotes_the_key_is_told_without_it(world):
    with pytest.raises(openai.NotFoundError) as told:
        await (await world()).openai.files.retrieve("file-2")
    assert "no GET /v1/files/file-2" in str(told.value) and KEY not in str(told.value)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/files/..%2fbatches"),
        ("GET", "/v1/files/a%2e%2e"),
        ("GET", "/v1/files/file-1/content/more"),
        ("GET", "/v1/files/"),
        ("PUT", "/v1/files/file-1"),
        ("POST", "/v1/files/file-1"),
        ("GET", "/x/v1/files"),
        ("DELETE", "/v1/responses"),
        ("GET", "/v1/uploads/u-1"),
    ],
)
async def test_no_other_path_gets_through(world, client: httpx.AsyncClient, method, path):
    served = await world()
    answered = await client.request(method, served.gateway.url + path)
    assert answered.status_code in (400, 404, 405)
    assert not served.first.received
