"""Whatever arguments say, a request stays below its base."""

import posixpath
import unicodedata
from urllib.parse import unquote, urlsplit

import pytest
from agentgateway_mcp_openapi.operations import Operation, template_of
from agentgateway_mcp_openapi.parameters import ArgumentError, Parameter
from agentgateway_mcp_openapi.urls import Base, UnsafeUrl, climbs
from hypothesis import example, given, settings
from hypothesis import strategies as st

BASE = Base("https://api.example.com:8443", "/api/v1")
STYLES = ("simple", "label", "matrix")
PIECES = (
    *("..", ".", "/", "\\", "%2e", "%2E%2e", "%2f", "%5c", "%252e", "%25", ";", ";a=b", "?", "#", "@", ":", "//"),
    *("%00", "\0", "\r\n", " ", "\t", "．", "／", "。", "‥", "․", "∕", "⁄", "＼", "\u200b", "\u202e", "\ufeff"),
    *("%c0%ae", "%c0%af", "%u002e", "%uff0e", "%ef%bc%8e", "evil.example", "http://evil.example", "admin", "a", "é"),
)
HOSTILE = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


def operation(style: str = "simple", explode: bool = False) -> Operation:
    owner = Parameter("owner", "path", style, explode)
    pet = Parameter("pet", "path", "simple", False)
    query = Parameter("q", "query", "form", True)
    template = template_of("/owners/{owner}/pets/{pet}.json", [owner, pet], "paths")
    return Operation("find", "GET", BASE, template, (owner, pet, query), None, lambda arguments: "")


def target(
    owner: object, pet: object = "rex", query: object = "x", style: str = "simple", explode: bool = False
) -> str:
    arguments = {"path": {"owner": owner, "pet": pet}, "query": {"q": query}}
    return operation(style, explode).request(arguments).target


def lenient(path: str) -> list[str]:
    """What servers might make of a path, one after the other."""
    readings = [path]
    for _ in range(10):
        readings.append(unquote(readings[-1]))
    plain = [unicodedata.normalize("NFKC", one).replace("\\", "/") for one in readings]
    without = ["/".join(segment.partition(";")[0].strip() for segment in one.split("/")) for one in plain]
    return [posixpath.normpath(one) for one in (*readings, *plain, *without)]


@settings(max_examples=300, deadline=None)
@given(owner=HOSTILE, pet=HOSTILE, query=HOSTILE, style=st.sampled_from(STYLES), explode=st.booleans())
@example(owner="..", pet="..", query="", style="simple", explode=False)
@example(owner="..%2f..%2fadmin", pet="x", query="", style="simple", explode=False)
@example(owner="%2e%2e/%2e%2e/%2e%2e/admin", pet="x", query="", style="simple", explode=False)
@example(owner=".", pet="x", query="", style="label", explode=True)
def test_no_argument_leads_out_of_the_base(owner, pet, query, style, explode):
    try:
        made = target(owner, pet, query, style, explode)
    except ArgumentError:
        return
    parts = urlsplit(BASE.url + made)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example.com:8443", "")
    assert parts.path.count("/") == "/api/v1/owners/x/pets/x".count("/")
    assert parts.path.startswith("/api/v1/owners/")
    assert made.isascii() and made.isprintable() and " " not in made
    for reading in lenient(parts.path):
        assert reading.startswith("/api/v1/owners/"), reading


@settings(max_examples=100, deadline=None)
@given(value=st.one_of(st.lists(HOSTILE, max_size=4), st.dictionaries(HOSTILE, HOSTILE, max_size=4)))
def test_no_list_and_no_object_leads_out_of_the_base(value):
    for style in STYLES:
        for explode in (True, False):
            try:
                made = target(value, style=style, explode=explode)
            except ArgumentError:
                continue
            for reading in lenient(made.partition("?")[0]):
                assert reading.startswith("/api/v1/owners/"), reading


@settings(max_examples=300, deadline=None)
@given(path=st.lists(st.sampled_from(PIECES), max_size=10).map("".join))
def test_a_target_that_is_proven_stays_wherever_it_came_from(path):
    made = f"/api/v1/{path}"
    try:
        BASE.prove(made)
    except UnsafeUrl:
        return
    for reading in lenient(made.partition("?")[0]):
        assert reading == "/api/v1" or reading.startswith("/api/v1/"), reading


@pytest.mark.parametrize(
    "value",
    [
        *("..", ".", "../admin", "..\\admin", "a/../../admin", "%2e%2e", "%2E%2E%2Fadmin", "%252e%252e%252fadmin"),
        *("..;/admin", "..;a=b", "%c0%ae%c0%ae%c0%afadmin", "%u002e%u002e", "．．／admin", "。。", "‥/x", "․․/x"),
        *("..%00/", "..\u200b", ". .", "a/%2e%2e/b", "x/..", "/..", "...", "..\u3000", "..∕admin", "..⁄admin"),
    ],
)
def test_what_a_server_might_read_as_a_dot_segment_is_refused(value):
    operation = Operation("get", "GET", BASE, ("/", Parameter("id", "path", "simple", False)), (), None, lambda _: "")
    with pytest.raises(ArgumentError):
        operation.request({"path": {"id": value}})


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("group/project", "group%2Fproject"),
        ("v1.2", "v1.2"),
        ("..a", "..a"),
        ("a;b=c?d#e", "a%3Bb%3Dc%3Fd%23e"),
        ("100%", "100%25"),
        ("é/ü", "%C3%A9%2F%C3%BC"),
        ("a b", "a%20b"),
        ("back\\slash", "back%5Cslash"),
        (7, "7"),
        (7.0, "7"),
        (True, "true"),
    ],
)
def test_what_is_harmless_is_sent_percent_encoded(value, written):
    assert target(value).startswith(f"/api/v1/owners/{written}/pets/rex.json")


@pytest.mark.parametrize("value", ["", None, [], {}, ["a", ""], "a\r\nb", "a\0b", "\ud800"])
def test_a_path_has_no_empty_parts_no_control_characters_and_only_characters(value):
    with pytest.raises(ArgumentError):
        target(value)


@pytest.mark.parametrize(
    "path",
    [
        *("//evil.example/api/v1/x", "/other", "/api/v10/x", "/api", "/api/v1/../x", "/api/v1/%2e%2e/x"),
        *(
            "/api/v1/x#y",
            "/api/v1/x y",
            "/api/v1/x\\y",
            "/api/v1/%zz",
            "/api/v1/é",
            "api/v1",
            "",
            "/api/v1/" + "x" * 20000,
        ),
    ],
)
def test_a_target_outside_of_the_base_is_refused(path):
    with pytest.raises(UnsafeUrl):
        BASE.prove(path)


def test_layers_of_encoding_are_looked_through_to_the_end():
    value = ".."
    for _ in range(7):
        value = "".join(f"%{ord(character):02x}" for character in value)[:600]
    assert climbs("/api/" + "%25" * 3 + "2e") is False
    assert climbs("/api/" + "%2525252e%2525252e/x")
    assert climbs("/api/%" + "25" * 9 + "41")  # more layers than anybody needs
