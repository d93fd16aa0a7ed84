"""The dialect matrix: every dialect a client may speak × every provider × what calls are about × whole or streamed.

A client sends the `request` of its dialect's transcript, the vendor answers with the `reply` or `stream` of its own.
What the vendor was asked and what the client saw are read by the published formats (`speakers/`) and compared with the
same facts, whatever the pair. Another dialect is one file in `speakers/`, its transcripts in `golden/`, and one row of
`SPEAKERS`; another provider is one row of `VENDORS`; another matter one row of `CASES`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import LAST, chunk

from .speakers import completions, messages
from .speakers.facts import Asked, Counts, Json, Seen, Speaker

pytestmark = pytest.mark.asyncio(loop_scope="module")
GOLDEN = Path(__file__).parent / "golden"
KEY = "sk-of-the-operator"
SPEAKERS: dict[str, Speaker] = {one.name: one for one in (completions.SPEAKER, messages.SPEAKER)}


@dataclass(frozen=True)
class Vendor:
    """A provider as the configuration names it, and what its upstream expects.

    `folders` are those of its transcripts, the first that has one counts; `head` are fields that its requests must
    have, None those they must not have. `thinks` and `signs` say whether thoughts are shown, and signed. The simulator
    is configured by case, and is no upstream: its `folders` are empty.
    """

    name: str
    provider: Callable[[str], Json]
    speaks: str
    model: str = "gpt-5.1"
    folders: tuple[str, ...] = ()
    head: tuple[tuple[str, str | None], ...] = ()
    thinks: bool = True
    signs: bool = True

    @property
    def upstream(self) -> bool:
        return bool(self.folders)


OPENAI_HEAD = (("authorization", f"Bearer {KEY}"), ("x-api-key", None), ("anthropic-version", None))
ANTHROPIC_HEAD = (("x-api-key", KEY), ("authorization", None), ("anthropic-version", "2023-06-01"))
CLAUDE = "claude-sonnet-4-5"


def custom(dialect: str) -> Callable[[str], Json]:
    return lambda case: {"custom": {"formats": [{"type": dialect}]}}


def simulator(dialect: str) -> Callable[[str], Json]:
    return lambda case: {"simulator": {"dialects": [dialect], "reply": CASES[case].seen.text}}


VENDORS = [
    Vendor(
        "openAI", lambda case: {"openAI": {}}, "completions", folders=("completions",), head=OPENAI_HEAD, thinks=False
    ),
    Vendor("anthropic", lambda case: {"anthropic": {}}, "messages", CLAUDE, ("messages",), ANTHROPIC_HEAD),
    Vendor(
        "custom-completions",
        custom("completions"),
        "completions",
        folders=("completions-compatible", "completions"),
        head=OPENAI_HEAD[:2],
        signs=False,
    ),
    Vendor("custom-messages", custom("messages"), "messages", CLAUDE, ("messages",), OPENAI_HEAD[:2]),
    Vendor("simulator-completions", simulator("completions"), "completions"),
    Vendor("simulator-messages", simulator("messages"), "messages"),
]


# what calls are about


@dataclass(frozen=True)
class Case:
    """`asked` and `seen` are the facts of the transcripts; `counted` and `spoken` what is different when the simulator
    answers, and `directive` the word that makes it. `request` is the transcript that the client's call is taken from.
    """

    asked: Asked
    seen: Seen
    counted: Counts | None = None
    spoken: str | None = None
    directive: str = ""
    request: str = ""


WEATHER = ("get_weather", "The weather of a city in the next days.")
CLOCK = ("get_time", "The time in a time zone.")
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Paris", "Oslo"]},
        "days": {"type": "integer", "enum": [3]},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
ZONE = {"type": "object", "properties": {"zone": {"type": "string", "enum": ["Europe/Paris"]}}, "required": ["zone"]}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "enum": ["Ada"]}, "age": {"type": "integer", "enum": [36]}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PARIS = ("get_weather", {"city": "Paris", "days": 3})
NOON = ("get_time", {"zone": "Europe/Paris"})
HELLO = Asked((("user", "Say hello to Ada."),), system="Be brief.", temperature=0.5, stop=("END",))
TOO_LONG = "The prompt is too long: 300001 tokens, the most is 200000."
SPENT = "Rate limit reached: 60 requests a minute."
OVERLOADED = "The engine is currently overloaded, please try again later."
CUT = "the upstream's answer was cut short"

CASES = {
    "text": Case(
        HELLO,
        Seen("Hello Ada ☕, schön dich zu sehen.", usage=Counts(120, 9, read=64, written=16)),
        counted=Counts(6, 7, read=4),
        directive="cached=4",
    ),
    "tools": Case(
        Asked(
            (("user", "How will the weather be in Paris? Ask get_weather."),),
            tools=((*WEATHER, CITY),),
            choice="required",
        ),
        Seen(calls=(PARIS,), stop="tool_calls", usage=Counts(90, 18)),
        counted=Counts(40, 5),
    ),
    "parallel-tools": Case(
        Asked(
            (
                ("user", "Weather in Oslo, and the time in Paris?"),
                ("call", "call_1", "get_weather", '{"city": "Oslo", "days": 3}'),
                ("call", "call_2", "get_time", '{"zone": "Europe/Paris"}'),
                ("result", "call_1", "Snow."),
                ("result", "call_2", "12:00"),
                ("user", "And in Paris? Ask get_weather and get_time again."),
            ),
            tools=((*WEATHER, CITY), (*CLOCK, ZONE)),
            choice="auto",
            parallel=True,
        ),
        Seen("I ask both.", calls=(PARIS, NOON), stop="tool_calls", usage=Counts(150, 40, read=100)),
        counted=Counts(76, 9),
        spoken="",
    ),
    "image": Case(
        Asked(
            (
                ("user", "Who is in these pictures?"),
                ("image", f"data:image/png;base64,{PIXEL}"),
                ("image", "https://pictures.example/ada.jpg"),
            )
        ),
        Seen("Ada and a cat.", usage=Counts(800, 6)),
        counted=Counts(175, 4),
    ),
    "reasoning": Case(
        Asked((("user", "What is the answer?"),), limit=6000, effort="medium"),
        Seen(
            "42, of course.",
            thinking="The user wrote 4 words. I shall answer.",
            signature="EqQBCkYIBxgCKkBnYXRld2F5LW1hdHJpeC1zaWduYXR1cmU=",
            usage=Counts(12, 30, reasoning=22),
        ),
        counted=Counts(4, 11, reasoning=8),
    ),
    "structured-output": Case(
        Asked((("user", "Who wrote the first program?"),), schema=PERSON),
        Seen('{"name": "Ada", "age": 36}', usage=Counts(60, 11)),
        counted=Counts(5, 4),
    ),
    "error": Case(HELLO, Seen(error=TOO_LONG), directive="error=400", request="text"),
    "rate-limit": Case(HELLO, Seen(error=SPENT), directive="error=429,retry-after=7s", request="text"),
    "overloaded": Case(
        HELLO, Seen("Hello Ada", error=OVERLOADED, stop=None), directive="error={status},after=2", request="text"
    ),
    "disconnect": Case(
        HELLO, Seen("Hello Ada", error=CUT, stop=None), directive="disconnect,after=2", request="text"
    ),
}
ANSWERED = [name for name, case in CASES.items() if not case.seen.error]


# transcripts


def transcript(folders: tuple[str, ...], case: str, section: str) -> str:
    """A section of the first of those folders' transcripts of a case that has it."""
    for folder in folders:
        file = GOLDEN / folder / f"{case}.txt"
        for part in file.read_text().split("--- ")[1:] if file.exists() else ():
            title, _, text = part.partition("\n")
            if title == section:
                return text
    raise LookupError(f"no {section} of {case} in {folders}")


def answer(vendor: Vendor, case: str, stream: bool) -> bytes | list[bytes]:
    """The vendor's answer as bytes on the wire: a stream in pieces that respect neither events nor characters."""
    section = "stream" if stream and case not in ("error", "rate-limit") else "reply"
    head, _, body = transcript(vendor.folders, "text" if case == "disconnect" else case, section).partition("\n\n")
    head = head.replace("\n", "\r\n")
    if section == "reply":
        data = body.strip().encode()
        whole = f"{head}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
        return [whole[:-50], END] if case == "disconnect" else whole
    data = (body + "\n").encode()
    if case == "disconnect":
        data = data[: data.index(b"\n\n", data.index(b" Ada")) + 2]
    pieces = [chunk(data[i : i + 29]) for i in range(0, len(data), 29)]
    return [f"{head}\r\ntransfer-encoding: chunked\r\n\r\n".encode(), *pieces, END if case == "disconnect" else LAST]


END = b""


async def played(pieces: list[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if piece == END:
            raise ConnectionError("the vendor dies here")
        yield piece


# the matrix


@dataclass(frozen=True)
class Stage:
    """The gateway's address and its only upstream, which plays whatever vendor it is told to."""

    url: str
    upstream: Upstream
    client: httpx.AsyncClient
    logged: Callable[..., Any]

    async def ask(self, speaker: Speaker, vendor: Vendor, case: str, stream: bool) -> httpx.Response:
        document = asked_by(speaker, vendor, case, stream)
        self.upstream.received.clear()
        if vendor.upstream:
            said = answer(vendor, case, stream)
            self.upstream.answer = said if isinstance(said, bytes) else lambda request: played(said)
        return await self.client.post(self.url + speaker.path, json=document, headers=speaker.headers)


def asked_by(speaker: Speaker, vendor: Vendor, case: str, stream: bool) -> Json:
    document = json.loads(transcript((speaker.name,), CASES[case].request or case, "request"))
    return {**document, "model": f"{vendor.name}/{case}", **(speaker.streaming if stream else {})}


def configured(upstream: Upstream) -> str:
    """One model for each provider and case."""
    models = []
    for vendor, case in product(VENDORS, CASES):
        params = {"apiKey": KEY, "hostOverride": upstream.address, "model": vendor.model}
        if not vendor.upstream:
            busy = next(status for status in (529, 503) if status in SPEAKERS[vendor.speaks].kinds)
            params = {"model": f"simulate:{CASES[case].directive.format(status=busy)}"}
        models.append({"name": f"{vendor.name}/{case}", "provider": vendor.provider(case), "params": params})
    gateway = {"default": {"port": 0, "address": "127.0.0.1"}}
    add = {"case": "request.headers['x-case']"}
    return f"""
gateways: {json.dumps(gateway)}
frontendPolicies: {json.dumps({"accessLog": {"add": add}})}
llm: {json.dumps({"gateways": "default", "models": models})}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(serve_all: Any) -> AsyncIterator[Stage]:
    async with Upstream(b"") as upstream, httpx.AsyncClient(timeout=20, trust_env=False) as client:
        served = await serve_all(configured(upstream))
        yield Stage(served.url, upstream, client, served.logged)


def matrix(cases: Any) -> Any:
    found = [
        pytest.param(speaker, vendor, case, stream, id=f"{speaker.name}-{vendor.name}-{case}-{how}")
        for speaker, vendor, case in product(SPEAKERS.values(), VENDORS, cases)
        for stream, how in ((False, "whole"), (True, "streamed"))
    ]
    return pytest.mark.parametrize(("speaker", "vendor", "case", "stream"), found)


@matrix(CASES)
async def test_every_client_reaches_every_provider(
    stage: Stage, speaker: Speaker, vendor: Vendor, case: str, stream: bool
) -> None:
    response = await stage.ask(speaker, vendor, case, stream)
    if vendor.upstream:
        (received,) = stage.upstream.received
        check_received(received, speaker, vendor, case, stream)
    if case in ANSWERED or (stream and case in ("overloaded", "disconnect")):
        check_answer(response, speaker, vendor, case, stream)
    else:
        check_error(response, speaker, vendor, case, stream)


def check_received(received: Received, speaker: Speaker, vendor: Vendor, case: str, stream: bool) -> None:
    """What the vendor was asked: where, with which credential, and every fact of the call."""
    spoken = SPEAKERS[vendor.speaks]
    document = received.json()
    assert (received.method, received.target) == ("POST", spoken.path)
    assert {name: received.headers.get(name) for name, _ in vendor.head} == dict(vendor.head)
    assert "sk-of-the-client" not in str(received.headers)
    assert received.headers["content-type"] == "application/json"
    assert document["model"] == vendor.model
    assert document.get("stream", False) is stream
    assert spoken.asked(document) == CASES[case].asked
    if speaker is spoken:
        assert document == asked_by(speaker, vendor, case, stream) | {"model": vendor.model}


def check_answer(response: httpx.Response, speaker: Speaker, vendor: Vendor, case: str, stream: bool) -> None:
    """What the client saw: an answer of its own dialect with every fact of the vendor's."""
    assert response.status_code == 200, response.text
    kind = "text/event-stream" if stream else "application/json"
    assert response.headers["content-type"].startswith(kind)
    seen = speaker.heard(response.content) if stream else speaker.seen(response.json())
    expected = expected_of(vendor, case)
    if not vendor.upstream and case == "reasoning":
        assert seen.signature
        expected = replace(expected, signature=seen.signature)
    if expected.error:  # who broke a stream off is told by its error; what it had counted does not matter
        expected = replace(expected, usage=seen.usage)
    assert seen == expected
    if vendor.upstream and speaker is SPEAKERS[vendor.speaks] and case != "disconnect":
        sent = answer(vendor, case, stream)
        assert response.content == (body_of(sent) if isinstance(sent, bytes) else dechunked(sent))


def expected_of(vendor: Vendor, case: str) -> Seen:
    seen, counted, spoken = CASES[case].seen, CASES[case].counted, CASES[case].spoken
    if not vendor.upstream:
        seen = replace(seen, usage=counted, text=seen.text if spoken is None else spoken)
        return replace(seen, error=f"simulated error {busy_of(vendor)}") if case == "overloaded" else seen
    return replace(
        seen, thinking=seen.thinking if vendor.thinks else "", signature=seen.signature if vendor.signs and vendor.thinks else ""
    )


def check_error(response: httpx.Response, speaker: Speaker, vendor: Vendor, case: str, stream: bool) -> None:
    """An error's status, its words in the client's dialect, and when to come back."""
    status = {"error": 400, "rate-limit": 429, "disconnect": 502, "overloaded": busy_of(vendor)}[case]
    failed = speaker.failed(response.json())
    message = CASES[case].seen.error if vendor.upstream or case == "disconnect" else f"simulated error {status}"
    assert response.status_code == status
    assert response.headers["content-type"].startswith("application/json")
    assert failed.message == message
    assert response.headers.get("retry-after") == ("7" if case == "rate-limit" else None)
    if vendor.upstream and speaker is SPEAKERS[vendor.speaks] and case != "disconnect":
        assert response.content == body_of(answer(vendor, case, stream))
    else:
        assert failed.kind == speaker.kinds.get(status, "server_error")


def busy_of(vendor: Vendor) -> int:
    """The status by which a vendor of that dialect says that it is overloaded."""
    return max(status for status in SPEAKERS[vendor.speaks].kinds)


def body_of(whole: Any) -> bytes:
    return whole.partition(b"\r\n\r\n")[2]


def dechunked(pieces: list[bytes]) -> bytes:
    return b"".join(piece.partition(b"\r\n")[2][:-2] for piece in pieces[1:-1])
