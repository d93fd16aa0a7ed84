"""Calls that are forms, by the official SDK through a real gateway: pictures to edit, sound to write down."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk, reply, stream_head

KEY = "canary-operator-77aa"
PICTURE = bytes(range(256)) * 300 + b"\r\n--not the boundary\r\n\r\n"
SOUND = b"RIFF" + bytes(range(255, -1, -1)) * 2000
TOKENS = {"input_tokens": 14, "output_tokens": 45, "total_tokens": 59}


def form(request: Received) -> dict[str, list[Message]]:
    """The parts of a form by name, as the standard library's own parser for mail reads them."""
    head = b"content-type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
    whole = BytesParser().parsebytes(head + request.body)
    assert whole.is_multipart() and not whole.defects
    found: dict[str, list[Message]] = {}
    for part in whole.get_payload():
        found.setdefault(part.get_param("name", header="content-disposition"), []).append(part)
    return found


def text(parts: list[Message]) -> str:
    (part,) = parts
    return part.get_payload(decode=True).decode()


def answer(request: Received) -> Any:
    """What OpenAI's pages say such calls are answered with."""
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")
    parts = form(request)
    match request.target:
        case "/v1/images/edits" if "stream" in parts:
            return pictures()
        case "/v1/images/edits" | "/v1/images/variations":
            files = parts.get("image[]") or parts["image"]
            assert all(one.get_payload(decode=True) == PICTURE for one in files)
            rows = [{"b64_json": "aGk="} for _ in files]
            return reply(200, {"created": 1, "data": rows, "usage": TOKENS, "asked": text(parts["model"])})
        case "/v1/audio/transcriptions" | "/v1/audio/translations":
            assert parts["file"][0].get_payload(decode=True) == SOUND
            return transcript(parts)
    return reply(404, {"error": {"message": f"no {request.target}", "type": "invalid_request_error"}})


def transcript(parts: dict[str, list[Message]]) -> Any:
    if "stream" in parts:
        return spoken()
    if "response_format" in parts and text(parts["response_format"]) in ("text", "srt", "vtt"):
        said = b"heard secret-1234 well\n"
        return b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said)
    usage = {"type": "tokens", **TOKENS}
    return reply(200, {"text": "heard secret-1234 well", "usage": usage, "asked": text(parts["model"])})


async def spoken() -> AsyncIterator[bytes]:
    yield stream_head()
    events: list[dict[str, Any]] = [
        {"type": "transcript.text.delta", "delta": piece} for piece in ("heard ", "secret-1234 ", "well")
    ]
    done = {"type": "transcript.text.done", "text": "heard secret-1234 well", "usage": {"type": "tokens", **TOKENS}}
    for event in (*events, done):
        yield chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
    yield LAST


async def pictures() -> AsyncIterator[bytes]:
    yield stream_head()
    partial = {"type": "image_edit.partial_image", "b64_json": "aA==", "partial_image_index": 0}
    done = {"type": "image_edit.completed", "b64_json": "aGk=", "usage": TOKENS}
    for event in (partial, done):
        yield chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    yield LAST


CONFIG = """
llm:
  port: 0
  policies: {policies}
  models:
  - {{name: "*", provider: openAI, params: {{apiKey: {key}, hostOverride: "{address}"}}}}
  - name: ears
    provider: openAI
    params: {{apiKey: {key}, hostOverride: "{address}", model: gpt-4o-transcribe}}
  - name: set
    provider: openAI
    params: {{apiKey: {key}, hostOverride: "{address}"}}
    overrides: {{temperature: 0}}
  - {{name: "claude*", provider: anthropic, params: {{apiKey: k, hostOverride: "{address}"}}}}
"""


@pytest.fixture
async def sdk(serve):
    async with Upstream(answer) as upstream, AsyncExitStack() as open_clients:

        async def start(policies: str = "{}") -> openai.AsyncOpenAI:
            gateway = await serve(CONFIG.format(policies=policies, key=KEY, address=upstream.address))
            made = openai.AsyncOpenAI(base_url=gateway.url + "/v1", api_key="mine", max_retries=0)
            await open_clients.enter_async_context(made)
            made.gateway, made.upstream = gateway, upstream
            return made

        yield start


def picture(name: str = "a.png") -> tuple[str, io.BytesIO]:
    return name, io.BytesIO(PICTURE)


def sound() -> tuple[str, io.BytesIO]:
    return 'a "b"; name=model.wav', io.BytesIO(SOUND)


async def test_pictures_are_edited(sdk):
    client = await sdk()
    made = await client.images.edit(model="gpt-image-1", image=[picture(), picture("b.png")], prompt="a hat\r\non it")
    assert [one.b64_json for one in made.data] == ["aGk=", "aGk="]
    assert text(form(client.upstream.received[0])["prompt"]) == "a hat\r\non it"
    line = await client.gateway.logged("http.path=/v1/images/edits")
    assert "gen_ai.operation.name=image_edits gen_ai.request.model=gpt-image-1" in line
    assert "gen_ai.usage.input_tokens=14 gen_ai.usage.output_tokens=45" in line


async def test_edited_pictures_as_they_are_drawn(sdk):
    client = await sdk()
    drawn = await client.images.edit(model="gpt-image-1", image=picture(), prompt="a hat", stream=True)
    assert [event.type async for event in drawn] == ["image_edit.partial_image", "image_edit.completed"]
    assert "gen_ai.usage.output_tokens=45" in await client.gateway.logged("http.path=/v1/images/edits")


async def test_variations_of_pictures(sdk):
    client = await sdk()
    with pytest.warns(DeprecationWarning):  # the SDK says so of this call
        made = await client.images.create_variation(model="dall-e-2", image=picture())
    assert made.data[0].b64_json == "aGk="


async def test_sound_is_written_down_and_translated(sdk):
    client = await sdk()
    heard = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound())
    assert (heard.text, heard.usage.output_tokens) == ("heard secret-1234 well", 45)
    with pytest.warns(DeprecationWarning):
        translated = await client.audio.translations.create(model="whisper-1", file=sound())
    assert translated.text == heard.text
    line = await client.gateway.logged("http.path=/v1/audio/transcriptions")
    assert "gen_ai.operation.name=transcriptions" in line and "gen_ai.usage.input_tokens=14" in line


async def test_transcripts_as_plain_text_and_as_streams(sdk):
    client = await sdk()
    plain = await client.audio.transcriptions.create(model="whisper-1", file=sound(), response_format="text")
    assert plain == "heard secret-1234 well\n"
    stream = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound(), stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == "heard secret-1234 well"


async def test_the_model_is_renamed_and_the_length_still_right(sdk):
    client = await sdk()
    heard = await client.audio.transcriptions.create(model="ears", file=sound())
    assert heard.model_extra["asked"] == "gpt-4o-transcribe"
    received = client.upstream.received[0]
    assert int(received.headers["content-length"]) == len(received.body)
    assert "gen_ai.request.model=ears" in await client.gateway.logged("http.path=/v1/audio/transcriptions")


BOUNDARY = "b"
HEADERS = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--b\r\ncontent-disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


END = b"--b--\r\n"
FILE = part("file", SOUND, '; filename="a.wav"')
MODEL = part("model", b"ears")


@asynccontextmanager
async def listener() -> AsyncIterator[Any]:
    """A server that tells when the first byte of a body arrives, and answers when its last has."""

    class Heard:
        first = asyncio.Event()
        body = b""
        head = b""

    heard = Heard()
    heard.first = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.head = await reader.readuntil(b"\r\n\r\n")
        while not heard.body.endswith((b"--b--\r\n", b"--b--\r\n\r\n0\r\n\r\n")):
            got = await reader.read(65536)
            if not got:
                break
            heard.body = (heard.body + got)[-200_000:]
            heard.first.set()
        writer.write(reply(200, {"text": "ok"}))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    heard.address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
    async with server:
        yield heard


async def test_the_form_passes_while_it_comes(serve, client):
    async with listener() as heard:
        gateway = await serve(CONFIG.format(policies="{}", key=KEY, address=heard.address))

        async def coming() -> AsyncIterator[bytes]:
            yield MODEL + FILE[:1000]
            await heard.first.wait()  # forever, if the gateway held the form
            yield FILE[1000:] + END

        answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=coming(), headers=HEADERS)
        assert answered.json() == {"text": "ok"}
        assert b"transfer-encoding: chunked" in heard.head.lower()


async def test_a_second_model_behind_the_file_ends_it(serve, client):
    async with listener() as heard:
        gateway = await serve(CONFIG.format(policies="{}", key=KEY, address=heard.address))

        async def coming() -> AsyncIterator[bytes]:
            yield MODEL + FILE
            await heard.first.wait()
            yield MODEL + END

        answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=coming(), headers=HEADERS)
        assert (answered.status_code, answered.json()["error"]["param"]) == (400, "model")
        assert not heard.body.endswith(END)


FAILOVER = """
llm:
  port: 0
  models:
  - {{name: dead, provider: openAI, params: {{apiKey: k, hostOverride: "{dead}"}}}}
  - {{name: well, provider: openAI, params: {{apiKey: k, hostOverride: "{well}"}}}}
  virtualModels:
  - name: any
    routing: {{failover: {{targets: [{{model: dead}}, {{model: well, priority: 1}}]}}}}
"""


async def test_only_a_form_that_came_whole_goes_to_the_next_target(serve, client):
    async with Upstream(reply(200, {"text": "ok"})) as well, Upstream(reply(500, {})) as dead:
        gateway = await serve(FAILOVER.format(dead=dead.address, well=well.address))
        url, short = gateway.url + "/v1/audio/transcriptions", part("file", b"x", '; filename="x"')
        for file, status in ((part("file", SOUND * 4, '; filename="x"'), 500), (short, 200)):
            answered = await client.post(url, content=part("model", b"any") + file + END, headers=HEADERS)
            assert answered.status_code == status
        assert dead.received[0].body.startswith(part("model", b"dead"))
        assert dead.received[1].body == part("model", b"dead") + short + END
        assert [one.body for one in well.received] == [part("model", b"well") + short + END]


async def test_a_long_form_is_never_held(serve, client):
    """Its length is told, so the upstream is told one, and the process does not grow by the form."""
    piece, pieces = b"x" * 2**20, 96
    head, tail = MODEL + FILE[: FILE.index(b"\r\n\r\n") + 4], b"\r\n" + END
    length = len(head) + len(piece) * pieces + len(tail)
    async with listener() as heard:
        gateway = await serve(CONFIG.format(policies="{}", key=KEY, address=heard.address))

        async def coming() -> AsyncIterator[bytes]:
            yield head
            for _ in range(pieces):
                yield piece
            yield tail

        headers = {**HEADERS, "content-length": str(length)}
        answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=coming(), headers=headers)
        assert answered.json() == {"text": "ok"}
        sent = length + len("gpt-4o-transcribe") - len("ears")
        assert f"content-length: {sent}\r\n".encode() in heard.head.lower()
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{gateway.process.pid}/status").read_text())
        assert peak is not None and int(peak[1]) * 1024 < gateway.memory() + 24 * 2**20


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (FILE[:-2] + bytes(70_000) + b"\r\n" + MODEL + END, "model: is not in the first 65536 bytes"),
        (part("prompt", b"hi") + END, "model: is missing"),
        (part("model", b"") + END, "model: is missing"),
        (part("model", b"m", '; filename="m"') + END, "model: expected the name of a model"),
        (part("Model", b"m") + MODEL + END, "Model: is spelled `model`"),
        (MODEL + part("model", b"other") + END, "the field `model` twice"),
        (MODEL + FILE + part("model", b"other") + END, "the field `model` twice"),
        (MODEL + FILE, "it ends before its last boundary"),
        (b"preamble\r\n" + MODEL + END, "it does not begin with its boundary"),
        (part("model", b"nobody-serves-this"), "it ends before its last boundary"),
    ],
)
async def test_a_doubtful_form_is_refused(sdk, client, body, message):
    gateway = (await sdk()).gateway
    answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=body, headers=HEADERS)
    assert answered.status_code == 400, answered.text
    assert message in answered.json()["error"]["message"]


async def test_the_model_may_stand_behind_a_short_file(sdk, client):
    started = await sdk()
    short = part("file", SOUND[:5000], '; filename="a.wav"')
    answered = await client.post(started.gateway.url + "/v1/images/edits", content=short + MODEL + END, headers=HEADERS)
    assert started.upstream.received[0].body == short + part("model", b"gpt-4o-transcribe") + END, answered.text


async def test_what_a_form_cannot_have_is_refused(sdk):
    client = await sdk()
    with pytest.raises(openai.BadRequestError, match="those of a form cannot be"):
        await client.audio.transcriptions.create(model="set", file=sound())
    with pytest.raises(openai.NotFoundError, match="has no `transcriptions`"):
        await client.audio.transcriptions.create(model="claude-sonnet", file=sound())


REQUEST_GUARD = """
    guardrails: {request: [{regex: {action: reject, rules: [{pattern: forbidden}]}}]}
"""
RESPONSE_GUARD = """
    guardrails: {response: [{regex: {rules: [{pattern: "secret-[0-9]+"}]}}]}
"""


MASKING_GUARD = """
    guardrails:
      request:
      - regex: {rules: [{pattern: "secret-[0-9]+"}]}
      - regex: {action: reject, rules: [{pattern: forbidden}]}
"""


async def test_guards_of_requests_read_the_texts_of_forms(sdk):
    client = await sdk(MASKING_GUARD)
    made = await client.images.edit(model="ears", image=picture(), prompt="a hat, secret-1234\r\non it")
    assert made.model_extra["asked"] == "gpt-4o-transcribe"
    received = client.upstream.received[0]
    assert text(form(received)["prompt"]) == "a hat, <masked>\r\non it"
    assert int(received.headers["content-length"]) == len(received.body)
    with pytest.raises(openai.PermissionDeniedError):
        await client.audio.transcriptions.create(model="ears", file=sound(), prompt="something forbidden")
    keywords = {"keywords": ["fine", "secret-99"]}
    await client.audio.transcriptions.create(model="ears", file=sound(), extra_body=keywords)
    assert [one.get_payload() for one in form(client.upstream.received[1])["keywords[]"]] == ["fine", "<masked>"]
    assert len(client.upstream.received) == 2


async def test_guards_of_requests_read_what_stands_behind_a_short_file(sdk, client):
    started = await sdk(MASKING_GUARD)
    short = part("file", SOUND[:5000], '; filename="a.wav"')
    for piece in (1, 700, 10**6):
        body = MODEL + short + part("prompt", b"secret-1 and") + part("prompt", b"secret-2") + END

        async def coming(body: bytes = body, size: int = piece) -> AsyncIterator[bytes]:
            for at in range(0, len(body), size):
                yield body[at : at + size]

        answered = await client.post(started.gateway.url + "/v1/images/edits", content=coming(), headers=HEADERS)
        model, prompts = part("model", b"gpt-4o-transcribe"), [b"<masked> and", b"<masked>"]
        expected = model + short + b"".join(part("prompt", one) for one in prompts) + END
        assert started.upstream.received[-1].body == expected, answered.text


@pytest.mark.parametrize(
    ("late", "message"),
    [
        (part("prompt", b"forbidden"), "begins behind 65536 bytes"),
        (part("Prompt[]", b"forbidden"), "begins behind 65536 bytes"),
        (part("prompt", b"forbidden", '; filename="p"'), "expected a text"),
        (part("_charset_", b"utf-16"), "guards read UTF-8"),
    ],
)
async def test_a_text_behind_a_long_file_ends_a_guarded_form(serve, client, late, message):
    async with listener() as heard:
        gateway = await serve(CONFIG.format(policies=REQUEST_GUARD, key=KEY, address=heard.address))

        async def coming() -> AsyncIterator[bytes]:
            yield MODEL + FILE
            await heard.first.wait()  # forever, if the gateway held the form
            yield late + END

        answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=coming(), headers=HEADERS)
        assert answered.status_code == 400
        assert answered.json()["error"]["code"] == "unreadable_form"
        assert message in answered.json()["error"]["message"]
        assert b"forbidden" not in heard.body
        assert not heard.body.endswith(END)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (part("prompt", b"forbidden", '; filename="p"'), "prompt: expected a text"),
        (part("prompt", "forbidden".encode("utf-16")), "prompt: is not UTF-8"),
        (part("prompt", b"hi", "\r\ncontent-type: text/plain; charset=utf-7"), "prompt: is not UTF-8"),
        (part("_charset_", b"utf-7") + part("prompt", b"hi"), "_charset_: guards read UTF-8"),
        (part("prompt", b"--b\r\n\r\n"), "a part begins with the boundary"),
    ],
)
async def test_what_guards_could_read_otherwise_than_the_vendor_is_refused(sdk, client, fields, message):
    gateway = (await sdk(REQUEST_GUARD)).gateway
    for body in (fields + MODEL + FILE + END, MODEL + fields + FILE + END):
        answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=body, headers=HEADERS)
        assert answered.status_code == 400, answered.text
        assert message in answered.json()["error"]["message"]


async def test_texts_of_a_guarded_form_are_held_up_to_a_limit(sdk, client):
    gateway = (await sdk(REQUEST_GUARD)).gateway
    for size, status in ((200_000, 200), (2**21 + 1, 413)):
        body = MODEL + part("prompt", b"x" * size) + FILE + END
        answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=body, headers=HEADERS)
        assert answered.status_code == status, answered.text


async def test_guards_of_replies_read_transcripts(sdk):
    client = await sdk(RESPONSE_GUARD)
    heard = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound())
    assert heard.text == "heard <masked> well"
    stream = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=sound(), stream=True)
    events = [event async for event in stream]
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == "heard <masked> well"
    for kind in ("text", "srt", "vtt"):
        plain = await client.audio.transcriptions.create(model="whisper-1", file=sound(), response_format=kind)
        assert plain == "heard <masked> well\n"


async def test_stranger_learns_nothing_of_what_is_wrong_with_the_form(sdk, client):
    gateway = (await sdk("{apiKey: {mode: strict, keys: [{key: k-1}]}}")).gateway
    answered = await client.post(gateway.url + "/v1/images/edits", content=b"nonsense", headers=HEADERS)
    assert answered.status_code == 401


async def test_a_form_that_goes_nowhere_leaves_the_gateway_well(serve, client):
    gateway = await serve(FAILOVER.format(dead="127.0.0.1:9", well="127.0.0.1:9"))
    for model, status in ((b"nobody", 404), (b"any", 503), (b"", 400)):
        body = part("model", model) + part("file", bytes(4_000_000), '; filename="x"') + END
        try:
            answered = await client.post(gateway.url + "/v1/audio/transcriptions", content=body, headers=HEADERS)
        except (httpx.WriteError, httpx.ReadError):  # answered, and cut before all of it was sent
            continue
        assert answered.status_code == status, answered.text
    assert (await client.get(gateway.url + "/v1/models")).status_code == 200


async def test_limits_count_forms(sdk):
    client = await sdk("{localRateLimit: [{maxTokens: 1, tokensPerFill: 1, fillInterval: 60s}]}")
    await client.audio.transcriptions.create(model="whisper-1", file=sound())
    with pytest.raises(openai.RateLimitError):
        await client.audio.transcriptions.create(model="whisper-1", file=sound())
