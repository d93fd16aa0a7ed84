"""What the service is asked, what its answers do, and everything that is no answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from agentgateway.errors import ConfigError, GuardFailed
from agentgateway.exchange import Exchange
from agentgateway.interfaces import PASS, Segment, Verdict
from agentgateway.testing import GuardContract, LoopbackHost, Upstream, chat, make
from agentgateway.testing.contracts import CANARY
from agentgateway.testing.upstreams import reply

PASSES = {"action": {"reason": "fine"}}
Json = dict[str, Any]


def segment(text: str, role: str = "user") -> Segment:
    return Segment(role, "messages", "messages[0].content", text, lambda _: None)


class Asked:
    """Guards in front of one service, whose `answer` is a document, bytes, or a function of the request."""

    def __init__(self, service: Upstream, host: LoopbackHost) -> None:
        self.service = service
        self.host = host

    async def __call__(
        self, answer: Any, *segments: Segment, exchange: Exchange | None = None, at: str = "", **config: Any
    ) -> Verdict:
        self.service.answer = reply(200, answer) if isinstance(answer, dict) else answer
        self.host = LoopbackHost(at) if at else self.host
        guard = make("agentgateway.guards", "webhook", {"target": self.service.address, **config}, self.host)
        await guard.start()
        try:
            verdict: Verdict = await guard.check(segments or (segment("hello"),), exchange or chat())
            return verdict
        finally:
            await guard.stop()
            for client in self.host._clients:
                await client.aclose()
            self.host._clients.clear()

    @property
    def question(self) -> Any:
        (received,) = self.service.received
        return received


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    async with Upstream(b"") as service:
        yield Asked(service, LoopbackHost("request[0].webhook"))


def judging(request: Any) -> bytes:
    """A service that masks `falcon`."""
    messages = request.json()["body"]["messages"]
    masked = [{**message, "content": message["content"].replace("falcon", "***")} for message in messages]
    return reply(200, {"action": {"body": {"messages": masked}, "reason": "birds"}})


class TestContract(GuardContract):
    name = "webhook"
    config = {"target": "127.0.0.1:1", "headers": {"x-key": f'"{CANARY}"'}}
    caught = "about the falcon"

    @pytest.fixture(autouse=True)
    async def service(self) -> AsyncIterator[None]:
        self.host = LoopbackHost("request[0].webhook")
        async with Upstream(judging) as service:
            self.config = {**type(self).config, "target": service.url}
            yield
            await self.host.aclose()

    def build(self, host: LoopbackHost | None = None) -> Any:
        return super().build(host or self.host)

    def test_it_never_shows_its_headers(self) -> None:
        guard = self.build()
        assert CANARY not in repr(guard) + repr(guard.config)


# --- questions --------------------------------------------------------------------------------------------------------


async def test_a_request_is_shown_as_messages(asked: Asked) -> None:
    assert await asked(PASSES, segment("be brief", "system"), segment("hä ☕\n")) == PASS
    question = asked.question
    assert (question.method, question.target) == ("POST", "/request")
    assert question.headers["content-type"] == "application/json"
    assert question.headers["host"] == asked.service.address
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hä ☕\n"}]
    assert question.json() == {"body": {"messages": messages}}


async def test_a_reply_is_shown_as_choices(asked: Asked) -> None:
    assert await asked(PASSES, segment("well", "assistant"), at="routes[0].policies.promptGuard.response[0].webhook")
    assert asked.question.target == "/response"
    assert asked.question.json() == {"body": {"choices": [{"message": {"role": "assistant", "content": "well"}}]}}


@pytest.mark.parametrize(
    "target",
    ["{address}", "http://{address}", "http://{address}/", {"host": "{address}"}],
)
async def test_an_address_may_be_written_in_several_ways(asked: Asked, target: Any) -> None:
    address = asked.service.address
    given = {"host": address} if isinstance(target, dict) else target.format(address=address)
    assert await asked(PASSES, target=given) == PASS
    assert asked.question.target == "/request"


async def test_a_path_of_the_target_comes_first(asked: Asked) -> None:
    await asked(PASSES, target=f"{asked.service.url}/v2/guard/")
    assert asked.question.target == "/v2/guard/request"


async def test_configured_headers_are_computed_for_each_request(asked: Asked) -> None:
    headers = {"X-Model": "llm.requestModel", "x-n": "1 + 1", "x-yes": "true", "authorization": f"'Bearer {CANARY}'"}
    await asked(PASSES, exchange=chat(model="gpt-5"), headers=headers)
    told = asked.question.headers
    assert (told["x-model"], told["x-n"], told["x-yes"]) == ("gpt-5", "2", "true")
    assert told["authorization"] == f"Bearer {CANARY}"


async def test_pseudo_headers_replace_path_method_and_host(asked: Asked) -> None:
    headers = {":path": '"/check?all=1"', ":method": '"PUT"', ":authority": '"guard.internal"'}
    await asked(PASSES, headers=headers)
    question = asked.question
    assert (question.method, question.target, question.headers["host"]) == ("PUT", "/check?all=1", "guard.internal")


async def test_only_matching_headers_of_the_client_are_passed_on(asked: Asked) -> None:
    exchange = chat(
        headers={"X-Tenant": "acme", "x-color": "red", "x-shade": "dark", "x-api-key": CANARY, "x-own": "client"}
    )
    matches = [
        {"name": "X-Tenant", "value": {"regex": ".+"}},
        {"name": "x-color", "value": {"exact": "blue"}},
        {"name": "x-shade", "value": {"exact": "light"}},
        {"name": "x-shade", "value": {"exact": "dark"}},
        {"name": "x-own", "value": {"exact": "client"}},
        {"name": "content-length", "value": {"regex": ".*"}},
        {"name": "host", "value": {"regex": ".*"}},
    ]
    await asked(PASSES, exchange=exchange, forwardHeaderMatches=matches, headers={"x-own": "'operator'"})
    told = asked.question.headers
    assert (told["x-tenant"], told["x-shade"], told["x-own"]) == ("acme", "dark", "operator")
    assert "x-color" not in told and CANARY not in str(told)
    assert told["host"] == asked.service.address


async def test_nothing_is_asked_about_no_text(asked: Asked) -> None:
    guard = make("agentgateway.guards", "webhook", {"target": asked.service.address}, asked.host)
    await guard.start()
    assert await guard.check([], chat()) == PASS
    assert asked.service.received == []


@pytest.mark.parametrize(
    "expression", ["llm.requestModel + 1", "'a\\r\\nx-evil: 1'", "[1]", "null", "request.headers['x-none']"]
)
async def test_a_header_that_cannot_be_said_is_a_failure(asked: Asked, expression: str) -> None:
    with pytest.raises(GuardFailed):
        await asked(PASSES, headers={"x-value": expression})
    assert asked.service.received == []


async def test_a_path_that_is_none_is_a_failure(asked: Asked) -> None:
    with pytest.raises(GuardFailed):
        await asked(PASSES, headers={":path": "'@elsewhere'"})


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [{}, {"reason": "fine"}, {"reason": None}])
async def test_consent_passes(asked: Asked, action: Json) -> None:
    assert await asked({"action": action}) == PASS


async def test_a_refusal_keeps_the_service_s_status_and_words(asked: Asked) -> None:
    action = {"body": "not here", "status_code": 451, "reason": f"said {CANARY}"}
    verdict = await asked({"action": action})
    assert (verdict.rejected, verdict.status, verdict.body) == (True, 451, "not here")
    assert CANARY not in verdict.reason


async def test_a_mask_replaces_what_it_changes(asked: Asked) -> None:
    shown = segment("rules", "system"), segment("the falcon"), segment("hello", "assistant")
    assert await asked(judging, *shown) == Verdict({1: "the ***"})


async def test_a_mask_that_changes_nothing_passes(asked: Asked) -> None:
    assert await asked(judging, segment("hello")) == PASS


async def test_a_reply_is_masked_by_choices(asked: Asked) -> None:
    choices = [{"message": {"role": "assistant", "content": "***"}}]
    verdict = await asked({"action": {"body": {"choices": choices}}}, segment("x", "assistant"), at="response[0].g")
    assert verdict == Verdict({0: "***"})


USER = {"role": "user", "content": "***"}
MALFORMED: dict[str, Any] = {
    "no action": {},
    "a null action": {"action": None},
    "a word for an action": {"action": "pass"},
    "a list of actions": {"action": [{}]},
    "only unknown keys": {"action": {"decision": "block"}},
    "an unknown key beside the action": {"action": {}, "status_code": 403},
    "an unknown key beside the reason": {"action": {"reason": "x", "status": 403}},
    "a reason that is no text": {"action": {"reason": 7}},
    "a refusal without status_code": {"action": {"body": "no"}},
    "a refusal without body": {"action": {"status_code": 403}},
    "a refusal with a null body": {"action": {"body": None, "status_code": 403}},
    "a status_code that is text": {"action": {"body": "no", "status_code": "403"}},
    "a status_code that is true": {"action": {"body": "no", "status_code": True}},
    "a mask of the other phase": {"action": {"body": {"choices": [{"message": USER}]}}},
    "a mask of both phases": {"action": {"body": {"messages": [USER], "choices": [{"message": USER}]}}},
    "a mask of nothing": {"action": {"body": {}}},
    "a mask without messages": {"action": {"body": {"messages": []}}},
    "a mask of more messages": {"action": {"body": {"messages": [USER, USER]}}},
    "a mask in another role": {"action": {"body": {"messages": [{**USER, "role": "assistant"}]}}},
    "a mask without content": {"action": {"body": {"messages": [{"role": "user"}]}}},
    "a mask whose content is no text": {"action": {"body": {"messages": [{**USER, "content": [USER]}]}}},
    "a mask with unknown keys": {"action": {"body": {"messages": [{**USER, "name": "ada"}]}}},
    "a mask with a status_code": {"action": {"body": {"messages": [USER]}, "status_code": 403}},
    "a list": reply(200, [PASSES]),
    "no JSON": reply(200, b"<html>fine</html>"),
    "half a document": reply(200, b'{"action": {"rea'),
    "nothing": reply(200, b""),
    "no content": b"HTTP/1.1 204 X\r\n\r\n",
    "a redirect": b"HTTP/1.1 307 X\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n",
    "a status of the service's trouble": reply(500, PASSES),
    "a status of ours": reply(401, PASSES),
    "a reply of another protocol": b"220 smtp ready\r\n",
    "half a reply": b"HTTP/1.1 200 X\r\ncontent-length: 999\r\n\r\n{",
}


@pytest.mark.parametrize("answer", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_answer_is_a_failure(asked: Asked, answer: Any) -> None:
    if isinstance(answer, bytes) and (b"999" in answer or b"smtp" in answer):
        answer = hanging_up(answer)
    with pytest.raises(GuardFailed):
        await asked(answer)
    assert len(asked.service.received) == 1


def hanging_up(said: bytes) -> Callable[[Any], AsyncIterator[bytes]]:
    async def answer(_: Any) -> AsyncIterator[bytes]:
        yield said
        raise ConnectionResetError

    return answer


async def test_a_failure_quotes_neither_texts_nor_replies(asked: Asked) -> None:
    for answer in ({"action": {CANARY: CANARY}}, {CANARY: 1}, {"action": {"body": CANARY, "status_code": CANARY}}):
        with pytest.raises(GuardFailed) as failed:
            await asked(answer, segment(CANARY), headers={"x-key": f"'{CANARY}'"})
        error = failed.value
        assert CANARY not in error.detail + error.message + repr(error)
        assert error.__cause__ is None


async def test_nobody_there_is_a_failure(asked: Asked) -> None:
    with pytest.raises(GuardFailed, match="guardrail"):
        await asked(PASSES, target="127.0.0.1:1")


async def test_a_reply_without_end_is_a_failure(asked: Asked) -> None:
    async def endless(_: Any) -> AsyncIterator[bytes]:
        yield b"HTTP/1.1 200 X\r\ncontent-type: application/json\r\n\r\n"
        while True:
            yield b" " * 2**16

    with pytest.raises(GuardFailed) as failed:
        await asked(endless)
    assert "bytes" in failed.value.detail
    await asyncio.wait_for(asked.service.gone.wait(), 5)


async def test_a_question_that_nobody_waits_for_any_more_is_given_up(asked: Asked) -> None:
    async def never(_: Any) -> AsyncIterator[bytes]:
        await asyncio.wait_for(asked.service.gone.wait(), 5)
        yield b""

    task = asyncio.create_task(asked(never))
    while not asked.service.received:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- configuration ----------------------------------------------------------------------------------------------------


def built(**config: Any) -> Any:
    return make("agentgateway.guards", "webhook", config)


def test_what_it_says_of_itself() -> None:
    guard = built(target="guard:8000")
    assert (guard.stream, guard.masks, guard.fails_open) == ("hold-all", True, False)
    assert built(target="guard:8000", failureMode="failOpen").fails_open


@pytest.mark.parametrize(
    "target",
    ["", "://", "ftp://guard", "http://", "guard:0", "guard:99999", "http://u:p@guard", "http://guard/?q=1"]
    + ["http://guard/#a", "http://gu ard", "gu\nard:1", {"host": 7}, {"service": {"name": "guard"}}, 8000],
)
def test_a_target_that_is_no_address_is_refused(target: Any) -> None:
    with pytest.raises(ValidationError):
        built(target=target)


@pytest.mark.parametrize("name", ["Content-Length", "host", "transfer-encoding", ":status", "a b", ""])
def test_a_header_that_is_not_the_operator_s_to_say_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        built(target="guard:8000", headers={name: "'x'"})


def test_a_header_that_is_no_expression_is_refused() -> None:
    with pytest.raises(ConfigError):
        built(target="guard:8000", headers={"x-key": "'"})


def test_a_configuration_says_nothing_of_its_headers() -> None:
    shown = repr(built(target="guard:8000", headers={"x-key": f"'{CANARY}'"}).config)
    assert CANARY not in shown and "guard:8000" in shown


def test_questions_are_json_that_anybody_reads() -> None:
    from agentgateway_guardrail_webhook.wire import question

    texts = ['"\\', "\u0000\u2028", "😀"]
    told = json.loads(question([segment(text) for text in texts], "request"))
    assert [message["content"] for message in told["body"]["messages"]] == texts
