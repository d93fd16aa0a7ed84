"""One line a request, that stays one line whatever clients put into it."""

import io
import json
import re
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from agentgateway._host import log_line
from agentgateway._host.access_log import BATCH, AccessLog, Lines, LogFields
from agentgateway._host.log_line import JSON, TEXT, as_text, described, facts
from agentgateway.errors import Disconnected, Forbidden
from agentgateway.exchange import Exchange, Place, Principal, Reply, Target, Usage
from agentgateway.interfaces import Backend
from agentgateway.testing import LoopbackHost, chat, http


def lines(exchange: Exchange, config: dict[str, Any] | None = None, *, as_json: bool = False) -> str:
    out = io.StringIO()
    log = AccessLog(LogFields.model_validate(config or {}), LoopbackHost(), Lines(out, json=as_json))
    exchange.ended = exchange.started + 0.0125
    log.log(exchange)
    return out.getvalue()


def logged(exchange: Exchange, config: dict[str, Any] | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(lines(exchange, config, as_json=True))
    return fields


def answered(exchange: Exchange, status: int = 200) -> Exchange:
    exchange.reply = Reply(status, upstream=True)
    exchange.place = Place("*:4000", "default", "web", "chat", "rule")
    return exchange


def test_a_success_in_the_references_words():
    fields = logged(answered(http("GET", "/a?key=canary")))
    assert fields.pop("time").endswith("Z")
    assert fields == {
        "scope": "request",
        "gateway": "default",
        "listener": "web",
        "route": "chat",
        "route_rule": "rule",
        "src.addr": "127.0.0.1:50000",
        "http.method": "GET",
        "http.host": "gateway.test",
        "http.path": "/a",
        "http.version": "HTTP/1.1",
        "http.status": 200,
        "duration": "12.500ms",
    }


def test_a_model_call_says_what_it_cost():
    exchange = answered(chat(model="gpt-5"))
    exchange.usage = Usage(10, 5, cached_input_tokens=4, reasoning_tokens=2, estimated=True)
    exchange.response_model = "gpt-5-2026"
    exchange.establish(Principal("jwt", "ann"))
    fields = logged(exchange)
    assert fields["gen_ai.request.model"] == "gpt-5"
    assert fields["gen_ai.response.model"] == "gpt-5-2026"
    assert fields["gen_ai.usage.input_tokens"] == 10
    assert fields["gen_ai.usage.cache_read.input_tokens"] == 4
    assert fields["gen_ai.usage.reasoning_tokens"] == 2
    assert fields["gen_ai.usage.estimated"] is True
    assert fields["jwt.sub"] == "ann"


def test_a_refusal_says_why_and_who_refused():
    exchange = answered(http(), 403)
    exchange.error = Forbidden("forbidden", detail="rule 2")
    exchange.error.by = "authorization"
    fields = logged(exchange)
    assert (fields["error"], fields["reason"], fields["error.by"]) == (
        "forbidden: rule 2",
        "Authorization",
        "authorization",
    )


def test_a_client_that_left_before_the_reply_is_a_499():
    exchange = http()
    exchange.error = Disconnected()
    fields = logged(exchange)
    assert (fields["http.status"], fields["reason"]) == (499, "ClientDisconnected")


@pytest.mark.parametrize("evil", ["a b", 'x" http.status=200', "line\nbreak", "\x1b[31m", "é", "", "a=b"])
def test_what_clients_write_cannot_end_a_value_or_a_line(evil):
    exchange = answered(chat(model=evil or "m"))
    exchange.request.authority = evil
    text = lines(exchange)
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    value = text.partition("http.host=")[2].partition(" http.path=")[0]
    assert (from_json(value) if value.startswith('"') else value) == evil


def test_fields_are_added_removed_and_filtered_by_expressions():
    config = {
        "filter": "response.code >= 400",
        "add": {"agent": 'request.headers["user-agent"]', "never": "jwt.sub", "parts": "[1, 2]"},
        "remove": ["http.host", "scope"],
    }
    exchange = answered(http("GET", "/", headers={"user-agent": "curl"}), 500)
    fields = logged(exchange, config)
    assert fields["agent"] == "curl"
    assert fields["parts"] == [1, 2]
    assert not {"never", "http.host", "scope"} & fields.keys()
    assert " parts=[1,2]\n" in lines(exchange, config)
    assert lines(answered(http()), config) == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_headers_that_carry_credentials_are_hidden_from_expressions(as_json):
    names = ("authorization", "cookie", "x-api-key", "x-own")
    exchange = answered(http("GET", "/", headers={**dict.fromkeys(names, "canary-1"), "user-agent": "curl"}))
    assert exchange.reply is not None
    exchange.reply.headers.set("set-cookie", "canary-2")
    config = {"add": {"all": "request.headers", "back": "response.headers", "one": 'request.headers["authorization"]'}}
    out = io.StringIO()
    target = Lines(out, json=as_json)
    target.sensitive = target.sensitive | {b"x-own"}
    log = AccessLog(LogFields.model_validate(config), LoopbackHost(), target)
    exchange.ended = exchange.started
    log.log(exchange)
    assert "canary" not in out.getvalue()
    assert "curl" in out.getvalue()
    assert exchange.request.headers.get("authorization") == "canary-1"


ANY = st.one_of(st.sampled_from(["", "a", "a b", "50%", "%s", "{0}", 'x" y="1', "é"]), st.text(max_size=20))
FEW = st.integers(0, 2)


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """A request of any kind, with any texts in it."""
    exchange = http(draw(ANY))
    exchange.request.authority, exchange.request.path, exchange.request.version = draw(ANY), draw(ANY), draw(ANY)
    exchange.started_at = draw(st.floats(0, 4e9))
    exchange.ended = draw(st.none() | st.floats(0, 1e4).map(lambda seconds: exchange.started + seconds))
    exchange.place = Place(*[draw(ANY | st.just("unknown")) for _ in range(5)])
    exchange.attempt.number = draw(FEW)
    exchange.reply = draw(st.none() | st.builds(Reply, st.integers(100, 599)))
    exchange.response_model = draw(st.none() | ANY)
    exchange.usage = draw(st.none() | st.builds(Usage, FEW, FEW, FEW, FEW, FEW, st.booleans()))
    exchange.first_token_at = draw(st.none() | st.just(exchange.started + 0.25))
    call = st.builds(SimpleNamespace, operation=st.just("chat"), requested_model=ANY, stream=st.booleans())
    exchange.call = draw(st.none() | call | st.just(SimpleNamespace()))
    exchange.target = draw(st.none() | st.builds(Target, st.just(Backend(None, None)), ANY, ANY, ANY))
    exchange.principal = draw(st.none() | st.builds(Principal, st.sampled_from(["jwt", "apiKey"]), ANY))
    exchange.error = draw(st.none() | st.builds(Forbidden, ANY, detail=ANY))
    if exchange.error is not None:
        exchange.error.by = draw(st.none() | ANY)
    return exchange


def pairs(line: str) -> list[tuple[str, str]]:
    """A line of text, taken apart by its own rule: a value is quoted, or ends at a space."""
    pair = r'([^ =]+)=("(?:[^"\\]|\\.)*"|[^ "=]+)'
    assert re.fullmatch(f"{pair}(?: {pair})*", line), line
    return re.findall(pair, line)


@given(exchanges())
def test_a_line_of_text_is_the_line_of_json_field_by_field_whatever_is_in_it(exchange):
    said = facts(exchange)
    fields = json.loads(described(said, JSON))
    line = described(said, TEXT)
    assert line == as_text(fields)
    shown = {name: json.loads(value) if value.startswith('"') else value for name, value in pairs(line)}
    assert shown == {name: str(value) for name, value in fields.items()}


def test_the_fields_have_the_references_order():
    exchange = answered(chat(model="gpt-5", stream=True), 503)
    exchange.target = Target(Backend(None, None), "openai", "api.test:443", "openai")
    exchange.establish(Principal("jwt", "ann"))
    exchange.attempt.number = 2
    exchange.usage = Usage(1, 2, 3, 4, 5, True)
    exchange.response_model = "gpt-5-2026"
    exchange.first_token_at = exchange.started + 0.001
    exchange.error = Forbidden("no")
    exchange.error.by = "authorization"
    names = [
        *("time", "scope", "gateway", "listener", "route", "src.addr"),
        *("http.method", "http.host", "http.path", "http.version", "http.status", "duration"),
        *("route_rule", "protocol", "endpoint", "jwt.sub", "retry.attempt"),
        *("gen_ai.operation.name", "gen_ai.request.model", "gen_ai.provider.name", "gen_ai.response.model"),
        *("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens"),
        *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.reasoning_tokens", "gen_ai.usage.estimated"),
        *("agw.ai.time_to_first_token", "error", "reason", "error.by"),
    ]
    assert list(logged(exchange)) == names
    assert [name for name, _ in pairs(lines(exchange).rstrip("\n"))] == names


async def test_lines_come_out_in_the_order_of_their_requests_however_they_are_made():
    out = io.StringIO()
    into = Lines(out)
    logs = [AccessLog(LogFields.model_validate(config), LoopbackHost(), into) for config in ({}, {"remove": ["scope"]})]
    count = 3 * BATCH + 5
    for number in range(count):
        logs[number % 7 == 0].log(answered(http("GET", f"/{number}")))
    into.flush()
    assert re.findall(r"http\.path=/(\d+)", out.getvalue()) == [str(number) for number in range(count)]
    assert out.getvalue().count("\n") == count


async def test_a_line_says_what_was_true_when_its_request_ended():
    out = io.StringIO()
    into = Lines(out)
    exchange = answered(http("GET", "/before"))
    AccessLog(LogFields(), LoopbackHost(), into).log(exchange)
    exchange.request.path, exchange.reply = "/after", Reply(500)
    into.flush()
    assert "http.path=/before" in out.getvalue() and "http.status=200" in out.getvalue()


async def test_a_request_that_cannot_be_described_costs_no_other_its_line(caplog):
    out = io.StringIO()
    into = Lines(out)
    log = AccessLog(LogFields(), LoopbackHost(), into)
    odd = answered(http("GET", "/odd"))
    odd.started_at = float("inf")
    for exchange in (answered(http("GET", "/1")), odd, answered(http("GET", "/2"))):
        log.log(exchange)
    into.flush()
    assert re.findall(r"http\.path=/(\w+)", out.getvalue()) == ["1", "2"]
    assert "could not be described" in caplog.text


def test_what_clients_choose_is_remembered_within_bounds():
    for number in range(log_line.KEPT + 10):
        described(facts(http("GET", f"/{number}")), TEXT)
    assert log_line._request.cache_info().currsize <= log_line.KEPT
