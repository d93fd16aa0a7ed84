"""Which route a request finds: precedence as in the Gateway API, models as in the reference."""

from typing import Any

import pytest

from agentgateway._host.chains import compile_chain
from agentgateway._host.routes import (
    FieldMatch,
    Listener,
    Match,
    ModelPattern,
    Route,
    RouteTable,
    hostname_matches,
)
from agentgateway.errors import InvalidRequest, NotFound
from agentgateway.exchange import Content, Exchange, Place
from agentgateway.interfaces import Protocol
from agentgateway.settings import PathMatch, StringMatch
from agentgateway.testing import http


class Spoken(Protocol):
    """A call's model is its body; an empty body cannot be read."""

    async def decode(self, exchange: Exchange) -> None:
        body = await exchange.request.body.read(100)
        if not body:
            raise InvalidRequest("no model", code="missing_model")
        exchange.call = type("Call", (Content,), {"model": body.decode()})()


PROTOCOL = Spoken()


def entry(name: str, host: str = "*", **match: Any) -> tuple[str, Match, Route]:
    path = match.pop("path", {"path_prefix": "/"})
    headers = tuple(FieldMatch(k, StringMatch(**v)) for k, v in match.pop("headers", {}).items())
    query = tuple(FieldMatch(k, StringMatch(**v)) for k, v in match.pop("query", {}).items())
    model = ModelPattern(match.pop("model")) if "model" in match else None
    made = Match(PathMatch(**path), match.pop("method", None), headers, query, model)
    return host, made, Route(name, "", compile_chain([]), PROTOCOL, Place(route=name))


async def found(entries: list[Any], *request: Any, **rest: Any) -> str:
    exchange = http(*request, **rest)
    return (await RouteTable(entries).find(exchange)).name


async def test_an_exact_path_wins_over_a_longer_list_before_it():
    table = [entry("prefix", path={"path_prefix": "/a"}), entry("exact", path={"exact": "/a"})]
    assert await found(table, "GET", "/a") == "exact"
    assert await found(table, "GET", "/a/b") == "prefix"


async def test_the_longest_prefix_wins_and_prefixes_are_whole_segments():
    table = [entry("short", path={"path_prefix": "/a"}), entry("long", path={"path_prefix": "/a/b"}), entry("all")]
    assert await found(table, "GET", "/a/b/c") == "long"
    assert await found(table, "GET", "/a/bc") == "short"
    assert await found(table, "GET", "/ab") == "all"


async def test_a_method_then_more_headers_then_more_parameters_win():
    table = [
        entry("plain"),
        entry("query", query={"q": {"exact": "1"}}),
        entry("header", headers={"x": {"exact": "1"}}),
        entry("method", method="POST"),
    ]
    assert await found(table, "POST", "/?q=1", headers={"x": "1"}) == "method"
    assert await found(table, "GET", "/?q=1", headers={"x": "1"}) == "header"
    assert await found(table, "GET", "/?q=1") == "query"
    assert await found(table, "GET", "/?q=2") == "plain"


async def test_equal_entries_come_in_the_order_of_the_file():
    assert await found([entry("first"), entry("second")]) == "first"


async def test_everything_in_a_match_must_hold():
    table = [entry("both", headers={"a": {"exact": "1"}, "b": {"regex": "x+"}})]
    assert await found(table, "GET", "/", headers={"A": "1", "B": "xx"}) == "both"
    with pytest.raises(NotFound):
        await found(table, "GET", "/", headers={"A": "1", "B": "xy"})
    with pytest.raises(NotFound):
        await found(table, "GET", "/", headers={"A": "1"})


async def test_the_more_exact_hostname_comes_first():
    table = [
        entry("any"),
        entry("wild", "*.example.com"),
        entry("exact", "a.example.com"),
        entry("deeper", "*.b.example.com"),
    ]
    assert await found(table, headers={"host": "A.example.com:8080"}) == "exact"
    assert await found(table, headers={"host": "x.b.example.com"}) == "deeper"
    assert await found(table, headers={"host": "c.example.com"}) == "wild"
    assert await found(table, headers={"host": "example.com"}) == "any"


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("*.a.com", "x.a.com", True),
        ("*.a.com", "x.y.a.com", True),
        ("*.a.com", "a.com", False),
        ("*.a.com", ".a.com", False),
        ("a.com", "b.a.com", False),
        ("*", "anything", True),
    ],
)
def test_wildcards_stand_for_whole_labels(pattern, host, fits):
    assert hostname_matches(pattern, host) is fits


async def test_the_path_is_compared_as_it_came():
    table = [entry("secret", path={"path_prefix": "/secret"}), entry("all")]
    assert await found(table, "GET", "/%73ecret") == "all"
    assert await found(table, "GET", "//secret") == "all"


async def test_a_model_is_matched_by_the_longest_name():
    table = [
        entry("any", model="*"),
        entry("gpt", model="gpt-*"),
        entry("mini", model="*-mini"),
        entry("exact", model="gpt-4"),
    ]
    assert await found(table, "POST", "/", body=b"gpt-4") == "exact"
    assert await found(table, "POST", "/", body=b"gpt-5") == "gpt"
    assert await found(table, "POST", "/", body=b"o-mini") == "mini"
    assert await found(table, "POST", "/", body=b"claude") == "any"


async def test_models_of_one_length_come_in_the_order_of_the_file():
    table = [entry("suffix", model="*abcd"), entry("prefix", model="abcd*")]
    assert await found(table, "POST", "/", body=b"abcdabcd") == "suffix"


async def test_a_body_that_cannot_be_read_finds_the_route_without_a_model_and_waits_there():
    exchange = http("POST", "/")
    route = await RouteTable([entry("m", model="*"), entry("listing")]).find(exchange)
    assert route.name == "listing"
    assert isinstance(exchange.unread, InvalidRequest)


async def test_a_listener_sets_the_place():
    exchange = http()
    table = RouteTable([entry("r")])
    await Listener("l", "*", Place(), compile_chain([]), table).find(exchange)
    assert exchange.place.route == "r"


async def test_routes_that_read_calls_in_different_ways_share_a_path():
    """The second protocol is asked for what the first has read already."""
    other = Spoken()
    host, match, route = entry("b", model="b")
    table = [entry("a", model="a"), (host, match, Route("b", "", compile_chain([]), other, Place(route="b")))]
    assert await found(table, "POST", "/", body=b"a") == "a"
    assert await found(table, "POST", "/", body=b"b") == "b"
    with pytest.raises(NotFound):
        await found(table, "POST", "/", body=b"c")


async def test_what_is_remembered_of_a_request_is_no_answer_to_another():
    table = RouteTable(
        [entry("model", model="m"), entry("header", headers={"x": {"exact": "1"}}), entry("get", method="GET")]
    )
    for _ in range(2):
        assert (await table.find(http("POST", "/", body=b"m"))).name == "model"
        assert (await table.find(http("GET", "/", body=b"n"))).name == "get"
        assert (await table.find(http("POST", "/", headers={"x": "1"}, body=b"n"))).name == "header"
        with pytest.raises(NotFound):
            await table.find(http("POST", "/", headers={"x": "2"}, body=b"n"))


async def test_what_is_remembered_is_bounded():
    table = RouteTable([entry("model", model="m*")])
    for number in range(3000):
        await table.find(http("POST", f"/{number}", body=b"m%d" % number))
    assert len(table._known) <= 1024 and len(table._candidates) == 1
    (candidates,) = table._candidates.values()
    assert len(candidates._asked) <= 1024


async def test_long_paths_find_their_route_and_are_not_kept():
    table = RouteTable([entry("model", model="m*")])
    assert (await table.find(http("POST", "/" + "x" * 5000, body=b"m" * 100))).name == "model"
    assert not table._known
