"""Secrets: what is found, what only looks so, and that neither length nor hostility of a text makes it slow."""

import json
import random as lots
import string
from collections.abc import AsyncIterator, Sequence

import pytest
from agentgateway_guardrail_regex.patterns import BUILTINS, LONGEST
from agentgateway_guardrail_regex.secrets import SECRETS
from hypothesis import given
from hypothesis import strategies as st

from agentgateway.guarded import guarded
from agentgateway.interfaces import PASS, Segment, Verdict
from agentgateway.llm.dialects import dialect
from agentgateway.testing import GuardContract, chat, make

DRAWN = lots.Random(7)


def drawn(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Random characters: no key that anybody has ever had."""
    return "".join(DRAWN.choice(alphabet) for _ in range(count))


HEX = "0123456789abcdef"
BASE32 = string.ascii_uppercase + "234567"
LINES = "\n".join(drawn(64, string.ascii_letters + string.digits + "+/") for _ in range(50))
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{LINES}\n-----END RSA PRIVATE KEY-----"
OLD = (
    "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0F1E2D3C4B5A\n\n"
    f"{LINES}\n-----END EC PRIVATE KEY-----"
)
TOKEN = f"eyJhbGciOiJSUzI1NiIsImtpZCI6Ij{drawn(40)}.eyJ{drawn(900)}.{drawn(300)}_-x"
FOUND = [
    *(("apiKey", f"sk-{kind}{drawn(48)}") for kind in ("", "proj-", "svcacct-", "admin-", "ant-api03-")),
    ("apiKey", f"sk-or-v1-{drawn(64, HEX)}"),
    ("apiKey", f"gsk_{drawn(52)}"),
    ("apiKey", f"xai-{drawn(80)}"),
    ("apiKey", f"hf_{drawn(34)}"),
    ("apiKey", f"AKIA{drawn(16, BASE32)}"),
    ("apiKey", f"ASIA{drawn(16, string.ascii_uppercase)}"),
    ("apiKey", f"AIza{drawn(35)}"),
    ("apiKey", f"ya29.{drawn(200)}"),
    ("apiKey", f"GOCSPX-{drawn(28)}"),
    *(("apiKey", f"gh{kind}_{drawn(36)}") for kind in "oprsu"),
    ("apiKey", f"github_pat_{drawn(22)}_{drawn(59)}"),
    ("apiKey", f"glpat-{drawn(20)}"),
    ("apiKey", f"xoxb-{drawn(12, string.digits)}-{drawn(24)}"),
    ("apiKey", f"xapp-1-{drawn(60)}"),
    ("apiKey", f"sk_live_{drawn(24)}"),
    ("apiKey", f"rk_test_{drawn(24)}"),
    ("apiKey", f"whsec_{drawn(32)}"),
    ("apiKey", f"npm_{drawn(36)}"),
    ("apiKey", f"pypi-AgEIcHlwaS5vcmc{drawn(150)}"),
    ("apiKey", f"dop_v1_{drawn(64, HEX)}"),
    ("apiKey", f"SG.{drawn(22)}.{drawn(43)}"),
    ("apiKey", f"dapi{drawn(32, HEX)}"),
    ("jwt", TOKEN),
    ("jwt", f"eyJ0eXAiOiJKV1Qi{drawn(20)}.{drawn(60)}."),
    ("privateKey", PEM),
    ("privateKey", PEM.replace("RSA ", "").replace("\n", "\n    ")),
    ("privateKey", json.dumps(PEM)[1:-1]),
    ("privateKey", OLD),
    ("privateKey", f"-----BEGIN OPENSSH PRIVATE KEY-----\n{LINES}"),
    ("urlCredentials", "postgres://app:hunter2@"),
    ("urlCredentials", f"https://x-access-token:{drawn(40)}@"),
    ("assignedSecret", f"api_key={drawn(24)}"),
    ("assignedSecret", f"Secret: '{drawn(24)}"),
    ("assignedSecret", f'token" : "{drawn(180)}'),
    ("assignedSecret", f"password := {drawn(20)}"),
    ("assignedSecret", f"AccountKey={drawn(86)}=="),
]


class TestContract(GuardContract):
    name = "regex"
    config = {"rules": [{"builtin": "secrets"}]}
    caught = f"use {FOUND[0][1]}"


def judged(text: str, builtin: str) -> Verdict:
    guard = make("agentgateway.guards", "regex", {"rules": [{"builtin": builtin}]})
    return guard.check([Segment("user", "messages", "messages[0].content", text, lambda _: None)], chat())


def masked(text: str, builtin: str) -> str:
    return judged(text, builtin).masks.get(0, text)


@pytest.mark.parametrize(("builtin", "text"), FOUND)
def test_a_secret_is_found_wherever_it_stands(builtin: str, text: str) -> None:
    entity = SECRETS[builtin].entity
    for before, after in [("", ""), ("é ", " 漢"), ("(", ")"), ("\n", "\n"), ('{"k": "', '"}')]:
        end = "" if builtin == "privateKey" and after == "\n" and "END" not in text else after
        assert masked(f"{before}{text}{after}", builtin) == f"{before}<{entity}>{end}"
        left = masked(f"{before}{text}{after}", "secrets")
        assert left.startswith(before) and left.endswith(end) and text not in left


@pytest.mark.parametrize(
    "text",
    [
        "task-management-for-everybody-and-more",
        "sk-learn-is-a-package-for-machine-learning",
        "the sk-proj- prefix",
        "AKIA is a prefix, AKIA1 is none",
        "ghp_short",
        "eyJ is how base64 of JSON begins: eyJmb28iOiJiYXIifQ.e30.x",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----",
        "https://example.com:8080/a@b",
        "https://user@example.com/",
        "mailto:ada@example.com",
        "password: correcthorsebattery",
        "password=aaaaaaaaaaaaaaa1",
        "token = os.environ['TOKEN']",
        "api_key=${API_KEY}",
        "secret: <your secret here>",
        "The secret is: practice",
        "tokens: 4096 4096",
    ],
)
def test_what_only_looks_like_one_stays(text: str) -> None:
    assert judged(text, "secrets") == PASS


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    masked(text, "secrets")
    masked(f"token={text}", "secrets")


@pytest.mark.parametrize(("builtin", "text"), FOUND)
def test_a_secret_is_known_by_what_the_window_of_a_stream_holds(builtin: str, text: str) -> None:
    """From there on, however it goes on, all of it is masked but the half of a last line: a mask that grows holds a
    stream back."""
    guard = make("agentgateway.guards", "regex", {"rules": [{"builtin": builtin}]})
    for end in {*range(min(len(text), LONGEST), len(text), 97), len(text) - 20, len(text)}:
        if end >= LONGEST:
            piece = Segment("user", "messages", "messages[0].content", text[:end], lambda _: None)
            shown = guard.check([piece], chat()).masks[0]
            assert shown.startswith(f"<{SECRETS[builtin].entity}>") and len(shown) < 64


@pytest.mark.parametrize("size", [1, 7, 300])
@pytest.mark.parametrize("lead", [0, 41, 3_000])
@pytest.mark.parametrize(("builtin", "text"), [found for found in FOUND if len(found[1]) > LONGEST])
async def test_a_secret_that_is_longer_than_the_window_does_not_leave_in_a_stream(
    builtin: str, text: str, lead: int, size: int
) -> None:
    guard = make("agentgateway.guards", "regex", {"rules": [{"builtin": builtin}]})
    whole = "word " * (lead // 5) + text + " and more" * 100

    async def check(segments: Sequence[Segment]) -> list[str]:
        verdict = guard.check(segments, chat())
        return [verdict.masks.get(index, segment.text) for index, segment in enumerate(segments)]

    async def spoken() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), size):
            delta = {"index": 0, "delta": {"content": whole[start : start + size]}}
            yield b"data: %b\n\n" % json.dumps({"choices": [delta]}).encode()
        yield b"data: [DONE]\n\n"

    left = guarded(
        *(spoken(), dialect("completions"), check, lambda *_: None),
        scopes=guard.scopes,
        window=guard.window,
        limit=2**24,
    )
    events = b"".join([chunk async for chunk in left]).decode().split("\n\n")
    documents = [json.loads(event[6:]) for event in events if event.startswith("data: {")]
    heard = "".join(one["choices"][0]["delta"]["content"] for one in documents)
    assert heard == whole.replace(text, f"<{SECRETS[builtin].entity}>")


MEGABYTE = 2**20
HOSTILE = [
    *("a", "1", "A", "-", "é", " ", "4-", "a@", "a.", "1234 ", "4111 1111 1111 1112 ", "AA11", "(555) ", "+1-", "0 "),
    *("a@b.", "eyJhbGciO", "eyJhbGciOi.", "sk-", "sk-ant-a-", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "AKIA"),
    *("a://", "a://b:", "token=", "token=aaaaaaa1 ", "token:=\"'", "secret" * 3, "SG.aaaaaaaaaaaaaaaaaaaa.", "xoxb-"),
    *("DE89 3704 0044 0532 0130 01 ", "046 454 287 ", "Proc-Type: 4,ENCRYPTED\n", "\\n", "ghp_"),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_megabyte_of_hostile_text_is_read_in_time_that_grows_with_its_length(text: str) -> None:
    """In time that grew with its square, none of these would end before the limit of a test."""
    rules = [{"builtin": name} for name in (*BUILTINS, "secrets")]
    guard = make("agentgateway.guards", "regex", {"rules": rules})
    whole = (text * (MEGABYTE // len(text.encode())))[:MEGABYTE]
    guard.check([Segment("user", "messages", "messages[0].content", whole, lambda _: None)], chat())
