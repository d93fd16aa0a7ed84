"""What Google is asked, what its answers mean, and what is no answer. The server speaks gRPC with the published
messages."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud.modelarmor_v1 import FilterMatchState, InvocationResult, SanitizationResult
from pydantic import ValidationError

from agentgateway.errors import GuardFailed
from agentgateway.interfaces import PASS, Segment, Verdict
from agentgateway.testing import GuardContract, LoopbackHost, chat, make
from agentgateway.testing.contracts import CANARY

NAME = "googleModelArmor"
NAMED = {"templateId": "strict", "projectId": "acme"}
MATCH, NONE = FilterMatchState.MATCH_FOUND, FilterMatchState.NO_MATCH_FOUND
Json = dict[str, Any]


class Asked:
    def __init__(self, armor: Any) -> None:
        self.armor = armor

    async def __call__(self, *texts: str, at: str = "request[0].g", **config: Any) -> Verdict:
        guard = make("agentgateway.guards", NAME, {**NAMED, "endpoint": self.armor.url, **config}, LoopbackHost(at))
        await guard.start()
        try:
            segments = [Segment("user", "messages", "messages[0].content", text, lambda _: None) for text in texts]
            verdict: Verdict = await guard.check(segments, chat())
            return verdict
        finally:
            await guard.stop()

    @property
    def shown(self) -> list[str]:
        return [received.user_prompt_data.text for received in self.armor.received]


@pytest.fixture
async def asked(armor_server: Any) -> AsyncIterator[Asked]:
    yield Asked(armor_server)


class TestContract(GuardContract):
    name = NAME
    config = NAMED
    caught = "do harm"

    @pytest.fixture(autouse=True)
    async def resource(self, armor_server: Any) -> AsyncIterator[None]:
        self.config = {**type(self).config, "endpoint": armor_server.url}
        yield


# --- questions and findings -------------------------------------------------------------------------------------------


async def test_requests_are_prompts_of_the_template(asked: Asked) -> None:
    assert await asked("hello ☕", "hello ☕", "", " \n", "well") == PASS
    assert sorted(asked.shown) == ["hello ☕", "well"]
    assert {received.name for received in asked.armor.received} == {
        "projects/acme/locations/us-central1/templates/strict"
    }
    assert "authorization" not in asked.armor.metadata[0]


async def test_replies_are_answers_of_a_model(asked: Asked) -> None:
    verdict = await asked("do harm", at="routes[0].policies.promptGuard.response[0].g", location="europe-west4")
    assert verdict == Verdict(rejected=True, reason="responsibleAi")
    (received,) = asked.armor.received
    assert received.model_response_data.text == "do harm"
    assert received.name == "projects/acme/locations/europe-west4/templates/strict"


async def test_what_matches_is_refused_with_its_filters(asked: Asked) -> None:
    refused = Verdict(rejected=True, reason="promptInjectionAndJailbreak, responsibleAi")
    assert await asked("hello", "harm by jailbreak") == refused


async def test_a_match_without_a_known_filter_is_refused(asked: Asked) -> None:
    asked.armor.judge = lambda text, context: SanitizationResult(filter_match_state=MATCH)
    assert await asked("hello") == Verdict(rejected=True, reason="a filter")


@pytest.mark.parametrize("length", [7_999, 8_000, 8_001, 30_000])
async def test_long_texts_go_in_pieces(asked: Asked, length: int) -> None:
    text = "".join(chr(0x10000 + at) for at in range(length))
    assert await asked(text) == PASS
    pieces = sorted(asked.shown, key=text.index)
    whole = pieces[0]
    for piece in pieces[1:]:
        assert piece.startswith(whole[-200:]) and len(piece) <= 8_000
        whole += piece[200:]
    assert whole == text and (len(pieces) == 1) == (length <= 8_000)


@pytest.mark.parametrize("at", [0, 7_798, 7_999, 15_799, 19_996])
async def test_what_stands_where_a_text_is_cut_is_found(asked: Asked, at: int) -> None:
    assert (await asked("a" * at + "harm" + "b" * (19_996 - at))).rejected


# --- no answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        SanitizationResult(),
        SanitizationResult(filter_match_state=NONE),
        SanitizationResult(filter_match_state=NONE, invocation_result=InvocationResult.PARTIAL),
        SanitizationResult(filter_match_state=NONE, invocation_result=InvocationResult.FAILURE),
        SanitizationResult(filter_match_state=77, invocation_result=InvocationResult.SUCCESS),
    ],
)
@pytest.mark.filterwarnings("ignore:Unrecognized FilterMatchState:UserWarning")
async def test_an_answer_that_does_not_say_is_a_failure(asked: Asked, said: SanitizationResult) -> None:
    asked.armor.judge = lambda text, context: said
    with pytest.raises(GuardFailed):
        await asked("hello")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
async def test_an_error_is_a_failure_that_quotes_nothing_and_is_asked_once(
    asked: Asked, code: grpc.StatusCode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked.armor.judge = lambda text, context: context.abort(code, f"about {text}")
    with pytest.raises(GuardFailed) as failed:
        await asked(CANARY)
    error = failed.value
    assert CANARY not in error.detail + error.message + repr(error) + caplog.text and error.__cause__ is None
    assert len(asked.armor.received) == 1


async def test_nobody_there_is_a_failure(asked: Asked) -> None:
    with pytest.raises(GuardFailed):
        await asked("hello", endpoint="http://127.0.0.1:1")


async def test_a_question_that_nobody_waits_for_any_more_is_given_up(asked: Asked) -> None:
    gone = asyncio.Event()

    async def never(text: str, context: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()

    asked.armor.judge = never
    task = asyncio.create_task(asked("hello"))
    while not asked.armor.received:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(gone.wait(), 5)


async def test_what_was_found_wins_over_what_failed(asked: Asked) -> None:
    judge = asked.armor.judge

    def broken(text: str, context: Any) -> Any:
        return context.abort(grpc.StatusCode.INTERNAL, "") if "broken" in text else judge(text, context)

    asked.armor.judge = broken
    assert (await asked("broken", "harm", "broken too")).rejected
    with pytest.raises(GuardFailed):
        await asked("broken", "fine")


async def test_without_credentials_it_fails(asked: Asked, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / CANARY))
    with pytest.raises(GuardFailed) as failed:
        await asked("hello", endpoint="https://127.0.0.1:1")
    assert "credentials" in failed.value.detail and CANARY not in failed.value.detail


# --- configuration ----------------------------------------------------------------------------------------------------


def test_what_it_says_of_itself() -> None:
    guard = make("agentgateway.guards", NAME, NAMED, LoopbackHost("request[0].g"))
    assert (guard.stream, guard.masks, guard.fails_open) == ("hold-all", False, False)


@pytest.mark.parametrize(
    "config",
    [
        {"templateId": ""},
        {"templateId": "a/b"},
        {"projectId": "a/b"},
        {"location": "US"},
        {"endpoint": "modelarmor.example"},
        {"endpoint": "https://modelarmor.example/path"},
        {"endpoint": "https://u:p@modelarmor.example"},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: Json) -> None:
    with pytest.raises(ValidationError):
        make("agentgateway.guards", NAME, {**NAMED, **config})
