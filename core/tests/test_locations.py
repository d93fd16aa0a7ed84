"""Places of credentials: found, taken out, put in."""

import pytest
from pydantic import TypeAdapter, ValidationError

from agentgateway.errors import ConfigError, InternalError
from agentgateway.exchange import Body, Exchange, Headers, Outgoing, Request
from agentgateway.expressions import ExpressionSyntaxError, compile
from agentgateway.interfaces import Host
from agentgateway.locations import BEARER, CookieSpot, HeaderSpot, HeaderSpots, Location, QuerySpot, WritableLocation
from agentgateway.settings import Secret
from agentgateway.variables import environment

CANARY = "canary-8c1f2e"


class ExpressionHost(Host):
    def expression(self, source):
        try:
            return compile(source, environment())
        except ExpressionSyntaxError as error:
            raise ConfigError(str(error), path="test") from error


def asking(target: str = "/", *fields: tuple[str, str]) -> Exchange:
    headers = Headers([(name.encode(), value.encode("latin-1")) for name, value in fields])
    return Exchange(Request("GET", target, headers, Body()))


def outgoing(target: str = "/", *fields: tuple[str, str]) -> Outgoing:
    headers = Headers([(name.encode(), value.encode()) for name, value in fields])
    return Outgoing("POST", "http://127.0.0.1:9", target, headers)


def location(value: object) -> Location:
    return TypeAdapter(Location).validate_python(value)


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["Bearer abc", "bearer abc", "BEARER   abc  "])
def test_a_bearer_token_is_found_whatever_the_case_of_its_scheme(value):
    assert BEARER.extract(asking("/", ("authorization", value))) == "abc"


@pytest.mark.parametrize("value", ["Basic abc", "Bearer", "Bearer ", "Bearerabc", ""])
def test_another_scheme_or_nothing_after_it_is_no_credential(value):
    assert BEARER.extract(asking("/", ("authorization", value))) is None


def test_a_header_without_prefix_is_taken_whole():
    assert HeaderSpot("x-api-key").extract(asking("/", ("x-api-key", "abc"))) == "abc"


def test_a_header_that_is_not_there_is_none():
    assert HeaderSpot("x-api-key").extract(asking()) is None


def test_removing_a_header_leaves_no_second_one_of_that_name():
    exchange = asking("/", ("authorization", "Bearer a"), ("accept", "*/*"), ("authorization", "Bearer b"))
    BEARER.remove(exchange)
    assert list(exchange.request.headers) == [("accept", "*/*")]


def test_attaching_a_header_replaces_what_the_client_sent():
    sent = outgoing("/", ("authorization", "Bearer client"), ("authorization", "Basic other"))
    BEARER.attach(sent, Secret("own"))
    assert sent.headers.all("authorization") == ["Bearer own"]
    assert sent.pinned == set()


def test_attaching_may_ask_providers_to_leave_the_header_there():
    sent = outgoing()
    HeaderSpot("x-key").attach(sent, Secret("own"), pinned=True)
    assert sent.pinned == {"x-key"}


@pytest.mark.parametrize("added", ["{}\r\nx-admin: 1", "{}\0", "{}\u20ac", " {}", "{}\n"])
def test_a_credential_that_would_break_the_header_is_refused_and_not_shown(added):
    sent = outgoing()
    with pytest.raises(InternalError) as caught:
        BEARER.attach(sent, Secret(added.format(CANARY)))
    assert CANARY not in f"{caught.value!r} {caught.value} {caught.value.detail} {caught.value.message}"
    assert list(sent.headers) == []


@pytest.mark.parametrize("pinned", [True, False])
def test_a_credential_that_stays_the_same_is_attached_alike(pinned):
    fields = (("x-key", "client"), ("accept", "*/*"), ("x-key", "again"))
    for spot in (BEARER, HeaderSpot("x-key", "Token "), QuerySpot("key"), CookieSpot("session")):
        once, prepared = outgoing("/p?key=client", *fields), outgoing("/p?key=client", *fields)
        spot.attach(once, Secret("own"), pinned=pinned)
        attach = spot.attaching(Secret("own"), pinned=pinned)
        attach(outgoing())
        attach(prepared)
        assert (prepared.headers.raw, prepared.target) == (once.headers.raw, once.target)
        assert prepared.pinned == once.pinned


@pytest.mark.parametrize("spot", [BEARER, QuerySpot("key"), CookieSpot("session")])
def test_what_attaches_a_credential_does_not_show_it(spot):
    attach = spot.attaching(Secret(CANARY))
    assert CANARY not in f"{attach!r} {attach} {vars(attach)}"


def test_a_prepared_credential_that_would_break_the_header_is_refused_and_not_shown():
    with pytest.raises(InternalError) as caught:
        BEARER.attaching(Secret(f"{CANARY}\r\n"))
    assert CANARY not in f"{caught.value!r} {caught.value.detail}"


# --- credentials that are recognised ----------------------------------------------------------------------------------

KNOWN = {"abc": "ada", "def": "bob"}
PLACE = HeaderSpots(BEARER, HeaderSpot("x-key"))


@pytest.mark.parametrize("spot", [HeaderSpot("x-key"), CookieSpot("x-key"), QuerySpot("x-key")])
def test_a_recognised_credential_is_taken_out_and_another_stays(spot):
    for credential, taken in (("abc", True), ("other", False)):
        exchange = asking(f"/?x-key={credential}", ("x-key", credential), ("cookie", f"x-key={credential}"))
        found, unknown = spot.take(exchange, KNOWN.get)
        assert (found, unknown) == (("ada", []) if taken else (None, [spot]))
        assert spot.extract(exchange) == (None if taken else credential)


def test_nothing_presented_is_nothing_taken():
    for place in (BEARER, PLACE):
        exchange = asking("/", ("authorization", "Basic abc"), ("accept", "*/*"))
        assert place.take(exchange, KNOWN.get) == (None, [])
        assert len(exchange.request.headers.raw) == 2


@pytest.mark.parametrize(
    ("fields", "found", "unknown", "left"),
    [
        ([("accept", "a"), ("authorization", "Bearer abc")], "ada", 0, ["accept"]),
        ([("x-key", "def"), ("accept", "a")], "bob", 0, ["accept"]),
        ([("x-key", "other"), ("accept", "a")], None, 1, ["x-key", "accept"]),
        ([("x-key", "def"), ("authorization", "Bearer abc")], "ada", 0, []),
        ([("x-key", "def"), ("authorization", "Bearer other")], "bob", 1, ["authorization"]),
        ([("x-key", "def"), ("authorization", "Basic abc")], "bob", 0, ["authorization"]),
        ([("x-key", "other"), ("authorization", "Bearer other")], None, 2, ["x-key", "authorization"]),
        ([("authorization", "Bearer abc"), ("authorization", "Bearer def")], "ada", 0, []),
        ([("authorization", "Bearer other"), ("authorization", "Bearer abc")], None, 1, ["authorization"] * 2),
        ([("authorization", "Basic abc"), ("authorization", "Bearer abc")], "ada", 0, []),
    ],
)
def test_of_several_headers_the_first_place_counts_and_every_recognised_credential_leaves(fields, found, unknown, left):
    exchange = asking("/", *fields)
    recognised, wrong = PLACE.take(exchange, KNOWN.get)
    assert (recognised, len(wrong)) == (found, unknown)
    assert [name for name, _ in exchange.request.headers] == left
    for spot in wrong:
        spot.remove(exchange)
    assert not any("other" in value for _, value in exchange.request.headers)


# --- query ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/p?key=a%2Bb", "/p?x=1&key=a%2Bb&y=2", "/p?k%65y=a%2Bb", "/p?key=&key=a%2Bb"])
def test_a_parameter_is_found_in_any_spelling(target):
    assert QuerySpot("key").extract(asking(target)) == "a+b"


@pytest.mark.parametrize("target", ["/p", "/p?", "/p?keys=a", "/p?key", "/p?key=", "/key=a", "/p?KEY=a"])
def test_a_parameter_that_is_not_there_is_none(target):
    assert QuerySpot("key").extract(asking(target)) is None


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("/p?key=a", "/p"),
        ("/p?x=%2f+%20&key=a&y", "/p?x=%2f+%20&y"),
        ("/p?key=a&k%65y=b&x=1&key", "/p?x=1"),
        ("/p%2f?key=a", "/p%2f"),
        ("/p?x=1", "/p?x=1"),
    ],
)
def test_removing_a_parameter_leaves_the_others_as_they_were_written(target, left):
    exchange = asking(target)
    QuerySpot("key").remove(exchange)
    assert exchange.request.target == left
    assert (exchange.request.path, exchange.request.query) == (left.partition("?")[0], left.partition("?")[2])


def test_attaching_a_parameter_encodes_it_and_replaces_the_clients():
    sent = outgoing("/p?key=client&x=1")
    QuerySpot("key").attach(sent, Secret("a&b=c d\r\n"))
    assert sent.target == "/p?x=1&key=a%26b%3Dc%20d%0D%0A"


# --- cookies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["session=abc", "a=1; session=abc; b=2", 'a=1;session="abc"', "session=; session=abc"])
def test_a_cookie_is_found(line):
    assert CookieSpot("session").extract(asking("/", ("cookie", line))) == "abc"


def test_a_cookie_is_found_in_a_second_header_as_http2_sends_them():
    assert CookieSpot("session").extract(asking("/", ("cookie", "a=1"), ("cookie", "session=abc"))) == "abc"


@pytest.mark.parametrize("line", ["sessions=abc", "session", "Session=abc", "", ";"])
def test_a_cookie_that_is_not_there_is_none(line):
    assert CookieSpot("session").extract(asking("/", ("cookie", line))) is None


def test_removing_a_cookie_leaves_the_others():
    exchange = asking("/", ("cookie", "a=1; session=x"), ("cookie", "b=2; session=y"))
    CookieSpot("session").remove(exchange)
    assert exchange.request.headers.all("cookie") == ["a=1; b=2"]


def test_removing_the_only_cookie_removes_the_header():
    exchange = asking("/", ("cookie", "session=x"))
    CookieSpot("session").remove(exchange)
    assert "cookie" not in exchange.request.headers


def test_attaching_a_cookie_keeps_the_others():
    sent = outgoing("/", ("cookie", "a=1; session=client"))
    CookieSpot("session").attach(sent, Secret("own"))
    assert sent.headers.all("cookie") == ["a=1; session=own"]


@pytest.mark.parametrize("value", [f"{CANARY};a=b", f"{CANARY} x", f"{CANARY},", f'"{CANARY}', f"{CANARY}\r\n"])
def test_a_credential_that_would_break_the_cookie_is_refused_and_not_shown(value):
    with pytest.raises(InternalError) as caught:
        CookieSpot("session").attach(outgoing(), Secret(value))
    assert CANARY not in f"{caught.value!r} {caught.value.detail}"


# --- expressions ------------------------------------------------------------------------------------------------------


def test_an_expression_finds_the_credential_and_leaves_it_there():
    spot = location({"expression": 'request.headers["x-key"]'}).readable(ExpressionHost())
    exchange = asking("/", ("x-key", "abc"))
    assert spot.extract(exchange) == "abc"
    spot.remove(exchange)
    assert exchange.request.headers.get("x-key") == "abc"


@pytest.mark.parametrize("source", ['request.headers["absent"]', "1 + 1", '""'])
def test_an_expression_that_finds_no_string_finds_nothing(source):
    assert location({"expression": source}).readable(ExpressionHost()).extract(asking()) is None


def test_an_expression_that_does_not_compile_stops_the_start():
    with pytest.raises(ConfigError):
        location({"expression": "no.such.variable"}).readable(ExpressionHost())


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ({"header": {"name": "X-Key"}}, HeaderSpot),
        ({"queryParameter": {"name": "key"}}, QuerySpot),
        ({"cookie": {"name": "session"}}, CookieSpot),
    ],
)
def test_each_kind_of_location_compiles(written, kind):
    assert type(location(written).readable(ExpressionHost())) is kind
    assert type(TypeAdapter(WritableLocation).validate_python(written).spot()) is kind


def test_a_header_is_named_in_any_case():
    assert (
        location({"header": {"name": "X-Key"}}).readable(ExpressionHost()).extract(asking("/", ("x-key", "a"))) == "a"
    )


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"header": {"name": "a"}, "cookie": {"name": "b"}},
        {"header": {"name": "a b"}},
        {"header": {"name": "a", "prefix": "x\r\n"}},
        {"header": {"name": "a", "prefix": "x", "suffix": "y"}},
        {"cookie": {"name": "a;b"}},
        {"queryParameter": {"name": ""}},
        {"body": {"name": "a"}},
    ],
)
def test_a_wrong_location_is_refused(written):
    with pytest.raises(ValidationError):
        location(written)


def test_a_location_to_write_to_has_no_expression():
    with pytest.raises(ValidationError):
        TypeAdapter(WritableLocation).validate_python({"expression": "request.path"})
