"""One line a request, that stays one line whatever clients put into it."""

import io
import json
from typing import Any

import pytest
from pydantic_core import from_json

from agentgateway._host.access_log import AccessLog, Lines, LogFields
from agentgateway.errors import Disconnected, Forbidden
from agentgateway.exchange import Exchange, Place, Principal, Reply, Usage
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
