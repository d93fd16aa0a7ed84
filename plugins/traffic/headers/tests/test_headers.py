"""What is added, set and removed, where, and what cannot be."""

from typing import Any

import pytest
from agentgateway_traffic_headers.config import FRAMING
from pydantic import ValidationError

from agentgateway.exchange import Headers, Outgoing, Reply
from agentgateway.testing import LoopbackHost, PolicyContract, http, make, run_phase

EDITS = {"add": {"X-Added": "one"}, "set": {"x-set": "two"}, "remove": ["X-Gone"]}
BEFORE = {"x-added": "0", "x-set": "0", "x-gone": "0", "x-kept": "0"}
AFTER = [("x-added", "0"), ("x-kept", "0"), ("x-set", "two"), ("x-added", "one")]


class TestRequests(PolicyContract):
    name = "requestHeaderModifier"
    config = EDITS
    levels = ("gateway", "route", "backend")


class TestReplies(PolicyContract):
    name = "responseHeaderModifier"
    config = EDITS
    levels = ("gateway", "route", "backend")


def modifier(kind: str, config: Any, level: Any = "route") -> Any:
    return make("agentgateway.policies", f"{kind}HeaderModifier", config, LoopbackHost(level=level))


@pytest.mark.parametrize("level", ["gateway", "route"])
async def test_a_request_is_edited_before_later_policies_see_it(level: str) -> None:
    exchange = http(headers=BEFORE)
    exchange.request.headers.remove("host")
    await run_phase(modifier("request", EDITS, level), "pre_request", exchange)
    assert list(exchange.request.headers) == AFTER


async def test_on_a_backend_only_what_is_sent_is_edited() -> None:
    exchange = http(headers=BEFORE)
    exchange.outgoing = Outgoing("GET", "http://upstream.test", "/", Headers.of(BEFORE))
    policy = modifier("request", EDITS, "backend")
    assert await run_phase(policy, "pre_request", exchange) is None
    await run_phase(policy, "upstream", exchange)
    assert list(exchange.outgoing.headers) == AFTER
    assert exchange.request.headers.get("x-gone") == "0"


async def test_a_reply_is_edited_whoever_it_comes_from() -> None:
    for upstream in (True, False):
        exchange = http()
        exchange.reply = Reply(200, Headers.of(BEFORE), upstream=upstream)
        await run_phase(modifier("response", EDITS), "post_response", exchange)
        assert list(exchange.reply.headers) == AFTER


async def test_fields_may_be_a_list_and_one_name_may_be_set_and_added_to() -> None:
    exchange = http()
    exchange.reply = Reply(200, Headers.of({"x": "0"}))
    config = {
        "remove": ["x"],
        "set": [{"name": "X", "value": "1"}],
        "add": [{"name": "x", "value": "2"}, {"name": "x", "value": "3"}],
    }
    await run_phase(modifier("response", config), "post_response", exchange)
    assert exchange.reply.headers.all("x") == ["1", "2", "3"]


@pytest.mark.parametrize("name", [*FRAMING, "Host", "Transfer-Encoding"])
@pytest.mark.parametrize("edit", ["add", "set", "remove"])
def test_what_delimits_a_message_cannot_be_changed(name: str, edit: str) -> None:
    with pytest.raises(ValidationError, match="cannot be changed") as error:
        modifier("request", {edit: [name] if edit == "remove" else {name: "1"}})
    assert error.value.errors()[0]["ctx"]["hint"]


@pytest.mark.parametrize(
    "config",
    [
        {"set": {"two words": "1"}},
        {"set": {"": "1"}},
        {"set": {"x": "a\r\nb: c"}},
        {"set": {"x": 1}},
        {"set": "x: 1"},
        {"set": [{"name": "x"}]},
        {"set": ["x"]},
        {"remove": "x"},
    ],
)
def test_what_is_no_field_is_refused(config: Any) -> None:
    with pytest.raises(ValidationError):
        modifier("request", config)


def test_several_places_may_edit() -> None:
    assert modifier("request", EDITS).composes and modifier("response", EDITS).composes
