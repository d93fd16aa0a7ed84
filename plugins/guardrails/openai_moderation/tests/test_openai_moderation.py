"""What OpenAI is asked, what its answers mean, and what is no answer. The fake endpoint holds requests against the
published format."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from agentgateway.errors import ConfigError, GuardFailed
from agentgateway.interfaces import PASS, Segment, Verdict
from agentgateway.testing import GuardContract, LoopbackHost, Received, Upstream, chat, make
from agentgateway.testing.contracts import CANARY
from agentgateway.testing.upstreams import reply

NAME = "openAIModeration"
Json = dict[str, Any]


def result(flagged: bool = False, *categories: str) -> Json:
    known = ("harassment", "hate", "violence", "violence/graphic")
    return {
        "flagged": flagged,
        "categories": {name: name in categories for name in (*known, *categories)},
        "category_scores": {name: 0.1 for name in known},
        "category_applied_input_types": {name: ["text"] for name in known},
    }


def answer(*results: Json) -> bytes:
    return reply(200, {"id": "modr-1", "model": "omni-moderation-latest", "results": list(results)})


def endpoint(request: Received) -> bytes:
    """The vendor: flags `harm`, breaks on `broken`."""
    assert (request.method, request.target) == ("POST", "/v1/moderations")
    assert request.headers["content-type"] == "application/json"
    if request.headers["authorization"] != f"Bearer {CANARY}":
        return reply(401, {"error": {"message": f"wrong key: {request.headers['authorization']}"}})
    document = request.json()
    assert document.keys() == {"input", "model"}
    texts = document["input"]
    assert isinstance(texts, list) and texts and len(texts) <= 32
    assert all(isinstance(text, str) and text.strip() and len(text) <= 8_000 for text in texts)
    if any("broken" in text for text in texts):
        return reply(500, {"error": {"message": texts[0]}})
    return answer(*(result("harm" in text, *["violence", "hate"] * ("harm" in text)) for text in texts))


class Asked:
    def __init__(self, openai: Upstream) -> None:
        self.openai = openai

    async def __call__(self, *texts: str, **config: Any) -> Verdict:
        host = LoopbackHost("request[0].g")
        given = {"policies": {"backendAuth": {"key": CANARY}}, "baseUrl": f"{self.openai.url}/v1", **config}
        guard = make("agentgateway.guards", NAME, given, host)
        await guard.start()
        try:
            segments = [Segment("user", "messages", "messages[0].content", text, lambda _: None) for text in texts]
            verdict: Verdict = await guard.check(segments, chat())
            return verdict
        finally:
            await guard.stop()
            await host.aclose()

    @property
    def shown(self) -> list[str]:
        return [text for received in self.openai.received for text in received.json()["input"]]


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with Upstream(endpoint) as openai:
        yield Asked(openai)


class TestContract(GuardContract):
    name = NAME
    config = {"policies": {"backendAuth": {"key": CANARY}}}
    caught = "do harm"

    @pytest.fixture(autouse=True)
    async def resource(self) -> AsyncIterator[None]:
        self.host = LoopbackHost("request[0].g")
        async with Upstream(endpoint) as openai:
            self.config = {**type(self).config, "baseUrl": f"{openai.url}/v1"}
            yield
            await self.host.aclose()

    def build(self, host: LoopbackHost | None = None) -> Any:
        return super().build(host or self.host)

    async def test_it_never_shows_its_key(self) -> None:
        guard = self.build()
        await guard.start()
        shown = repr(guard) + repr(guard.config) + str(vars(guard)) + guard.config.model_dump_json()
        assert CANARY not in shown


# --- questions and findings -------------------------------------------------------------------------------------------


async def test_all_texts_are_one_question(asked: Asked) -> None:
    assert await asked("hello ☕", "how are you?", " \n", "hello ☕", "") == PASS
    (received,) = asked.openai.received
    assert received.json() == {"input": ["hello ☕", "how are you?"], "model": "omni-moderation-latest"}


async def test_nothing_is_asked_about_blank_texts(asked: Asked) -> None:
    assert await asked("", " ") == PASS
    assert asked.openai.received == []


async def test_the_model_is_the_operator_s_choice(asked: Asked) -> None:
    await asked("hello", model="omni-moderation-2024-09-26")
    assert asked.openai.received[0].json()["model"] == "omni-moderation-2024-09-26"


async def test_what_is_flagged_is_refused_with_its_categories(asked: Asked) -> None:
    assert await asked("hello", "do harm") == Verdict(rejected=True, reason="hate, violence")


async def test_only_published_categories_are_named(asked: Asked) -> None:
    asked.openai.answer = answer(result(True, "violence", CANARY))
    assert await asked("hello") == Verdict(rejected=True, reason="violence")
    asked.openai.answer = answer(result(True, CANARY))
    assert await asked("hello") == Verdict(rejected=True, reason="flagged")


async def test_categories_without_a_flag_pass(asked: Asked) -> None:
    asked.openai.answer = answer(result(False, "violence"))
    assert await asked("hello") == PASS


@pytest.mark.parametrize("length", [7_999, 8_000, 8_001, 20_000, 300_000])
async def test_long_texts_go_in_pieces(asked: Asked, length: int) -> None:
    text = "".join(chr(0x10000 + at) for at in range(length))
    assert await asked(text) == PASS
    pieces = asked.shown
    assert (len(pieces) == 1) == (length <= 8_000)
    whole = pieces[0]
    for piece in pieces[1:]:
        assert piece.startswith(whole[-200:])
        whole += piece[200:]
    assert whole == text


@pytest.mark.parametrize("at", [0, 7_998, 7_999, 15_799, 19_996])
async def test_what_stands_where_a_text_is_cut_is_found(asked: Asked, at: int) -> None:
    assert (await asked("a" * at + "harm" + "b" * (19_996 - at))).rejected


async def test_the_key_may_come_from_the_environment(asked: Asked) -> None:
    host = LoopbackHost(environ={"OPENAI_API_KEY": CANARY})
    guard = make("agentgateway.guards", NAME, {"baseUrl": f"{asked.openai.url}/v1"}, host)
    await guard.start()
    text = Segment("user", "messages", "messages[0].content", "hello", lambda _: None)
    assert await guard.check([text], chat()) == PASS
    await host.aclose()


async def test_no_other_credential_or_address_of_the_environment_is_used(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_WEBHOOK_SECRET", "AZURE_OPENAI_API_KEY"):
        monkeypatch.setenv(name, "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert await asked("hello") == PASS
    assert "somebody-else" not in str(asked.openai.received)


# --- no answers -------------------------------------------------------------------------------------------------------

MALFORMED: dict[str, Any] = {
    "no JSON": b"<html>",
    "nothing": b"",
    "a list": [],
    "nothing known": {"result": "ok"},
    "no results": {"results": []},
    "more results": {"results": [result(), result()]},
    "results that are null": {"results": None},
    "a result that is null": {"results": [None]},
    "no flag": {"results": [{"categories": {}}]},
    "a flag that is text": {"results": [{"flagged": "false"}]},
    "a flag that is null": {"results": [{"flagged": None}]},
    "a flag that is a number": {"results": [{"flagged": 0}]},
    "a category that is text": {"results": [{"flagged": False, "categories": {"hate": "false"}}]},
}


@pytest.mark.parametrize("document", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_answer_is_a_failure(asked: Asked, document: Any) -> None:
    asked.openai.answer = reply(200, document)
    with pytest.raises(GuardFailed):
        await asked("hello")
    assert len(asked.openai.received) == 1


async def test_fewer_results_than_texts_are_a_failure(asked: Asked) -> None:
    asked.openai.answer = answer(result())
    with pytest.raises(GuardFailed) as failed:
        await asked("hello", "world")
    assert "1 of 2" in failed.value.detail


@pytest.mark.parametrize("status", [204, 302, 307, 400, 401, 408, 409, 429, 500, 503])
async def test_another_status_is_a_failure_and_nothing_is_asked_twice(asked: Asked, status: int) -> None:
    document = {"results": [result()]}
    head = {"location": f"{asked.openai.url}/elsewhere", "x-should-retry": "true", "retry-after": "0"}
    asked.openai.answer = b"HTTP/1.1 204 X\r\n\r\n" if status == 204 else reply(status, document, headers=head)
    with pytest.raises(GuardFailed):
        await asked("hello")
    assert len(asked.openai.received) == 1


async def test_a_wrong_key_is_a_failure_that_does_not_quote_it(asked: Asked) -> None:
    with pytest.raises(GuardFailed) as failed:
        await asked("hello", policies={"backendAuth": {"key": "sk-wrong"}})
    error = failed.value
    assert "401" in error.detail and "sk-wrong" not in error.detail + repr(error)


async def test_nobody_there_is_a_failure(asked: Asked) -> None:
    with pytest.raises(GuardFailed):
        await asked("hello", baseUrl="http://127.0.0.1:1")


async def test_an_answer_that_breaks_off_is_a_failure(asked: Asked) -> None:
    async def half(_: Received) -> AsyncIterator[bytes]:
        yield b'HTTP/1.1 200 X\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{"results"'
        raise ConnectionResetError

    asked.openai.answer = half
    with pytest.raises(GuardFailed):
        await asked("hello")


async def test_an_answer_without_end_is_a_failure(asked: Asked) -> None:
    async def endless(_: Received) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n"
        while True:
            yield b" " * 2**16

    asked.openai.answer = endless
    with pytest.raises(GuardFailed):
        await asked("hello")
    await asyncio.wait_for(asked.openai.gone.wait(), 5)


async def test_what_was_found_wins_over_what_failed(asked: Asked) -> None:
    texts = ["broken", *(str(number) for number in range(40)), "harm"]
    assert (await asked(*texts)).rejected
    with pytest.raises(GuardFailed):
        await asked(*texts[:-1])


async def test_neither_a_failure_nor_the_log_quotes_anything(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for said in (reply(200, {CANARY: CANARY}), reply(400, {"error": {"message": CANARY}}), endpoint):
        asked.openai.answer = said
        with pytest.raises(GuardFailed) as failed:
            await asked(f"broken {CANARY}")
        error = failed.value
        assert CANARY not in error.detail + error.message + repr(error) and error.__cause__ is None
    assert CANARY not in caplog.text


# --- configuration ----------------------------------------------------------------------------------------------------


def built(environ: dict[str, str] | None = None, **config: Any) -> Any:
    return make("agentgateway.guards", NAME, config, LoopbackHost("request[0].g", environ=environ))


def test_what_it_says_of_itself() -> None:
    guard = built({"OPENAI_API_KEY": CANARY})
    assert (guard.stream, guard.masks, guard.fails_open) == ("hold-all", False, False)
    assert guard.config.base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize("key", ["", "two words\n", "ключ", "a\tb"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(key: str) -> None:
    with pytest.raises((ConfigError, ValidationError)) as refused:
        built(policies={"backendAuth": {"key": key and key + CANARY + key}})
    assert CANARY not in str(refused.value)


def test_without_a_key_it_is_not_built() -> None:
    with pytest.raises(ConfigError, match="no key"):
        built()


@pytest.mark.parametrize(
    "config",
    [
        {"model": ""},
        {"policies": {}},
        {"policies": {"backendAuth": {"passthrough": {}}}},
        {"baseUrl": "api.openai.com"},
        {"baseUrl": "ftp://x.example"},
        {"baseUrl": "https://u:p@x.example/v1"},
        {"baseUrl": "https://x.example/v1?a=1"},
        {"baseUrl": "https://x.example:0/v1"},
        {"baseUrl": "https://x.exa mple/v1"},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(config: Json) -> None:
    with pytest.raises(ValidationError):
        built({"OPENAI_API_KEY": "k"}, **config)
