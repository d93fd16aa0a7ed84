"""What Bedrock is asked, what its answers do, and what is no answer. The fake endpoint refuses wrong signatures, by a
verifier written from AWS's own pages, and holds requests against the API's published model."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agentgateway_auth_aws.testing import Endpoint, WrongSignature
from agentgateway_guardrail_bedrock.api import pieces, questions
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agentgateway.errors import ConfigError, GatewayError, GuardFailed
from agentgateway.interfaces import PASS, Segment, Verdict
from agentgateway.testing import GuardContract, LoopbackHost, Received, Upstream, chat, make
from agentgateway.testing.contracts import CANARY
from agentgateway.testing.upstreams import reply

NAME = "bedrockGuardrails"
TARGET = "/guardrail/gr4x7k2m/version/3/apply"
KEYS = {"accessKeyId": "AKID", "secretAccessKey": CANARY}
SIGNED = {"policies": {"backendAuth": {"aws": KEYS}}}
ENDPOINT = Endpoint("bedrock", "eu-west-1", {"AKID": CANARY}, {})
USAGE = dict.fromkeys(
    (
        *("topicPolicyUnits", "contentPolicyUnits", "wordPolicyUnits", "sensitiveInformationPolicyUnits"),
        *("sensitiveInformationPolicyFreeUnits", "contextualGroundingPolicyUnits"),
    ),
    1,
)
Json = dict[str, Any]


def pii(action: str) -> Json:
    entity = {"match": "ada@example.com", "type": "EMAIL", "action": action, "detected": True}
    return {"sensitiveInformationPolicy": {"piiEntities": [entity], "regexes": []}}


def topic(action: str = "BLOCKED") -> Json:
    return {"topicPolicy": {"topics": [{"name": "weapons", "type": "DENY", "action": action, "detected": True}]}}


def answer(*texts: str, action: str = "GUARDRAIL_INTERVENED", assessments: Any = ()) -> bytes:
    outputs = [{"text": text} for text in texts]
    return reply(200, {"usage": USAGE, "action": action, "outputs": outputs, "assessments": list(assessments)})


def guardrail(request: Received) -> bytes:
    """The vendor: refuses `harm`, masks an address, breaks on `broken`."""
    assert request.method == "POST" and request.headers["content-type"] == "application/json"
    try:
        ENDPOINT.verify(request.method, request.target, request.headers, request.body)
    except WrongSignature as error:
        return reply(403, {"message": str(error)})
    document = request.json()
    assert document.keys() == {"source", "content"} and document["source"] in ("INPUT", "OUTPUT")
    texts = [block["text"]["text"] for block in document["content"]]
    assert texts and all(text.strip() for text in texts) and sum(-(-len(text) // 1000) for text in texts) <= 25
    whole = "\n".join(texts)
    if "broken" in whole:
        return reply(500, {"message": whole})
    if "harm" in whole:
        return answer("Sorry.", assessments=[topic(), pii("ANONYMIZED")])
    if "ada@example.com" in whole:
        shown = [text.replace("ada@example.com", "{EMAIL}") for text in texts]
        return answer(*shown, assessments=[pii("ANONYMIZED") | topic("NONE")])
    return answer(action="NONE", assessments=[{"invocationMetrics": {"guardrailProcessingLatency": 7}}])


def segment(text: str, scope: str = "messages") -> Segment:
    return Segment("user", scope, "messages[0].content", text, lambda _: None)


class Asked:
    def __init__(self, bedrock: Upstream) -> None:
        self.bedrock = bedrock

    async def __call__(self, *texts: str, at: str = "request[0].g", **config: Any) -> Verdict:
        host = LoopbackHost(at, environ=config.pop("environ", None))
        given = {**NAMED, **SIGNED, "endpoint": self.bedrock.url, **config}
        guard = make("agentgateway.guards", NAME, {key: one for key, one in given.items() if one is not None}, host)
        await guard.start()
        try:
            verdict: Verdict = await guard.check([segment(text) for text in texts], chat())
            return verdict
        finally:
            await guard.stop()
            await host.aclose()

    @property
    def shown(self) -> list[list[str]]:
        return [[block["text"]["text"] for block in one.json()["content"]] for one in self.bedrock.received]


NAMED = {"guardrailIdentifier": "gr4x7k2m", "guardrailVersion": "3", "region": "eu-west-1"}


@pytest.fixture(autouse=True)
def nothing_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any AWS credentials, whatever this one has."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with Upstream(guardrail) as bedrock:
        yield Asked(bedrock)


class Contract(GuardContract):
    config = {**NAMED, **SIGNED}

    @pytest.fixture(autouse=True)
    async def resource(self) -> AsyncIterator[None]:
        self.host = LoopbackHost("request[0].g")
        async with Upstream(guardrail) as bedrock:
            self.config = {**type(self).config, "endpoint": bedrock.url}
            yield
            await self.host.aclose()

    def build(self, host: LoopbackHost | None = None) -> Any:
        return super().build(host or self.host)

    async def test_it_never_shows_its_keys(self) -> None:
        guard = self.build()
        await guard.start()
        shown = repr(guard) + repr(guard.config) + str(vars(guard)) + guard.config.model_dump_json()
        assert CANARY not in shown
        await guard.stop()


class TestMasking(Contract):
    name = NAME
    caught = "write to ada@example.com"


class TestRejecting(Contract):
    name = NAME
    caught = "do harm"


class TestWithAnApiKey(Contract):
    name = NAME
    config = {**NAMED, "policies": {"backendAuth": {"key": CANARY}}}
    caught = "do harm"

    @pytest.fixture(autouse=True)
    async def resource(self) -> AsyncIterator[None]:
        self.host = LoopbackHost("request[0].g")

        def judge(request: Received) -> bytes:
            assert request.headers["authorization"] == f"Bearer {CANARY}" and "x-amz-date" not in request.headers
            harm = "harm" in request.body.decode()
            return answer("Sorry.", assessments=[topic()]) if harm else answer(action="NONE")

        async with Upstream(judge) as bedrock:
            self.config = {**type(self).config, "endpoint": bedrock.url}
            yield
            await self.host.aclose()


# --- questions --------------------------------------------------------------------------------------------------------


async def test_a_request_is_input_and_a_reply_is_output(asked: Asked) -> None:
    assert await asked("hello ☕", "", "hello ☕", "well") == PASS
    assert await asked("hello", at="routes[0].policies.promptGuard.response[0].g") == PASS
    first, second = asked.bedrock.received
    assert (first.method, first.target) == ("POST", TARGET)
    assert first.json() == {"source": "INPUT", "content": [{"text": {"text": "hello ☕"}}, {"text": {"text": "well"}}]}
    assert second.json()["source"] == "OUTPUT"


async def test_an_arn_is_one_segment_of_the_path(asked: Asked) -> None:
    arn = "arn:aws:bedrock:eu-west-1:123456789012:guardrail/gr4x7k2m"
    assert await asked("hello", guardrailIdentifier=arn, guardrailVersion="DRAFT") == PASS
    (received,) = asked.bedrock.received
    named = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aguardrail%2Fgr4x7k2m"
    assert received.target == f"/guardrail/{named}/version/DRAFT/apply"


async def test_nothing_is_asked_about_blank_texts(asked: Asked) -> None:
    assert await asked("", " \n") == PASS
    assert asked.bedrock.received == []


async def test_more_texts_than_a_question_takes_go_in_several(asked: Asked) -> None:
    texts = [f"{number:03} " + "x" * 1_497 for number in range(40)]  # 2 units each
    texts[30] = "ada@example.com"
    verdict = await asked(*texts)
    assert verdict == Verdict({30: "{EMAIL}"})
    assert [text for each in asked.shown for text in each] == texts
    assert len(asked.shown) == 4


async def test_a_long_text_is_cut_at_a_blank_and_put_together_again(asked: Asked) -> None:
    text = "word " * 12_000 + "ada@example.com" + " word" * 1_000
    assert await asked(text) == Verdict({0: text.replace("ada@example.com", "{EMAIL}")})
    shown = [text for each in asked.shown for text in each]
    assert "".join(dict.fromkeys(shown)) != "" and all(piece.endswith(" ") for piece in shown[:-1])


@given(st.text(alphabet="a ☕\n", max_size=400))
def test_pieces_are_the_text(text: str) -> None:
    text = text * 300
    cut = list(pieces(text))
    assert "".join(cut) == text and all(len(piece) <= 25_000 for piece in cut)
    assert all(cut[:-1])
    assert [each for together in questions(cut) for each in together] == cut


# --- answers ----------------------------------------------------------------------------------------------------------


async def test_what_is_anonymized_is_masked(asked: Asked) -> None:
    assert await asked("hello", "write to ada@example.com", "well") == Verdict({1: "write to {EMAIL}"})


async def test_what_is_blocked_is_refused_with_its_policies(asked: Asked) -> None:
    refused = Verdict(rejected=True, reason="sensitiveInformationPolicy, topicPolicy")
    assert await asked("harm to ada@example.com") == refused


@pytest.mark.parametrize(
    "said",
    [
        answer("x", assessments=[pii("ANONYMIZED"), topic()]),
        answer("x", assessments=[pii("BLOCKED")]),
        answer("x", assessments=[pii("SHRUGGED")]),
        answer("x", assessments=[{"newPolicy": {"deeper": [{"action": "BLOCKED"}]}} | pii("ANONYMIZED")]),
        answer("x", assessments=[{"newPolicy": [{"action": {"kind": "x"}}]} | pii("ANONYMIZED")]),
        answer("x", "y", assessments=[pii("ANONYMIZED")]),
        answer(assessments=[pii("ANONYMIZED")]),
        answer("x", assessments=[pii("NONE")]),
        answer("x"),
        answer(),
    ],
)
async def test_every_other_intervention_is_a_refusal(asked: Asked, said: bytes) -> None:
    asked.bedrock.answer = said
    assert (await asked("hello")).rejected


async def test_only_published_policies_are_named(asked: Asked) -> None:
    asked.bedrock.answer = answer("x", assessments=[{CANARY: {"action": "BLOCKED", CANARY: CANARY}}])
    assert await asked("hello") == Verdict(rejected=True, reason="the guardrail intervened")


async def test_what_was_only_detected_passes(asked: Asked) -> None:
    asked.bedrock.answer = answer(action="NONE", assessments=[topic("NONE"), pii("NONE")])
    assert await asked("hello") == PASS


# --- no answers -------------------------------------------------------------------------------------------------------

MALFORMED: dict[str, Any] = {
    "no JSON": b"<html>",
    "nothing": b"",
    "a list": [],
    "no action": {"outputs": []},
    "another action": {"action": "PASSED"},
    "an action that is null": {"action": None},
    "outputs that are null": {"action": "NONE", "outputs": None},
    "an output without text": {"action": "GUARDRAIL_INTERVENED", "outputs": [{}], "assessments": [pii("ANONYMIZED")]},
    "an output that is no text": {"action": "NONE", "outputs": [{"text": 7}]},
    "an assessment that is text": {"action": "NONE", "assessments": ["fine"]},
}


@pytest.mark.parametrize("document", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_answer_is_a_failure(asked: Asked, document: Any) -> None:
    asked.bedrock.answer = reply(200, document)
    with pytest.raises(GuardFailed):
        await asked("hello")


@pytest.mark.parametrize("status", [201, 204, 302, 400, 403, 404, 429, 500, 503])
async def test_another_status_is_a_failure_and_nothing_is_asked_twice(asked: Asked, status: int) -> None:
    document = {"action": "NONE", "outputs": [], "assessments": []}
    head = {"location": "/elsewhere"}
    asked.bedrock.answer = b"HTTP/1.1 204 X\r\n\r\n" if status == 204 else reply(status, document, headers=head)
    with pytest.raises(GuardFailed) as failed:
        await asked("hello")
    assert str(status) in failed.value.detail and len(asked.bedrock.received) == 1


async def test_nobody_there_is_a_failure(asked: Asked) -> None:
    with pytest.raises(GuardFailed):
        await asked("hello", endpoint="http://127.0.0.1:1")


async def test_an_answer_without_end_is_a_failure(asked: Asked) -> None:
    async def endless(_: Received) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n"
        while True:
            yield b" " * 2**16

    asked.bedrock.answer = endless
    with pytest.raises(GuardFailed):
        await asked("hello")
    await asyncio.wait_for(asked.bedrock.gone.wait(), 5)


async def test_what_was_found_wins_over_what_failed(asked: Asked) -> None:
    texts = ["broken", *(f"{number} " + "x" * 9_000 for number in range(5)), "harm"]
    assert (await asked(*texts)).rejected
    with pytest.raises(GuardFailed):
        await asked(*texts[:-1])


async def test_without_credentials_nothing_is_asked(asked: Asked) -> None:
    with pytest.raises(GatewayError):
        await asked("hello", policies=None)
    assert asked.bedrock.received == []


async def test_neither_a_failure_nor_the_log_quotes_anything(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for said in (reply(200, {CANARY: CANARY}), reply(400, {"message": CANARY}), guardrail):
        asked.bedrock.answer = said
        with pytest.raises(GuardFailed) as failed:
            await asked(f"broken {CANARY}")
        error = failed.value
        assert CANARY not in error.detail + error.message + repr(error) and error.__cause__ is None
    assert CANARY not in caplog.text


# --- credentials ------------------------------------------------------------------------------------------------------


async def test_credentials_may_be_those_of_the_machine(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    assert await asked("hello", policies=None) == PASS
    assert await asked("hello", policies={"backendAuth": {"aws": {}}}) == PASS


async def test_an_api_key_of_the_environment_stands_for_a_signature(asked: Asked) -> None:
    asked.bedrock.answer = answer(action="NONE")
    assert await asked("hello", policies=None, environ={"AWS_BEARER_TOKEN_BEDROCK": CANARY}) == PASS
    assert asked.bedrock.received[0].headers["authorization"] == f"Bearer {CANARY}"


# --- configuration ----------------------------------------------------------------------------------------------------


def built(**config: Any) -> Any:
    return make("agentgateway.guards", NAME, {**NAMED, **config}, LoopbackHost("request[0].g"))


def test_what_it_says_of_itself() -> None:
    guard = built(scope=["messages", "toolOutput"])
    assert (guard.stream, guard.masks, guard.fails_open) == ("hold-all", True, False)
    assert guard.scopes == {"messages", "toolOutput"}


@pytest.mark.parametrize("key", ["", "two words\n", "ключ", "a\tb"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str) -> None:
    with pytest.raises((ConfigError, ValidationError)) as refused:
        built(policies={"backendAuth": {"key": key and key + CANARY + key}})
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    "config",
    [
        {"guardrailIdentifier": "UPPER"},
        {"guardrailIdentifier": "a/../b"},
        {"guardrailVersion": "0"},
        {"guardrailVersion": "latest"},
        {"region": "eu west"},
        {"scope": []},
        {"scope": ["images"]},
        {"policies": {}},
        {"policies": {"backendAuth": {}}},
        {"policies": {"backendAuth": {"key": "k", "aws": {}}}},
        {"endpoint": "bedrock.example"},
        {"endpoint": "https://bedrock.example/path"},
        {"endpoint": "https://u:p@bedrock.example"},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: Json) -> None:
    with pytest.raises(ValidationError):
        built(**config)
