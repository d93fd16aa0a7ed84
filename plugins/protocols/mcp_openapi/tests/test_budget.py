"""Documents that would take for ever to check something against."""

import pytest

from agentgateway.errors import ConfigError
from agentgateway.testing.upstreams import reply

pytestmark = pytest.mark.timeout(30)
TOO_MUCH = "too much to check against the schema of the document"


def branching(word="allOf"):
    """Nine definitions, each but the last six times in the one before: 6^8 ways through them."""
    parts = [{"$ref": f"#/components/schemas/S{level + 1}"} for level in range(8) for _ in range(6)]
    schemas = {f"S{level}": {"type": "object", word: parts[level * 6 : level * 6 + 6]} for level in range(8)}
    return {**schemas, "S8": {"type": "object"}}


def taking(schema):
    content = {"application/json": {"schema": schema}}
    return {"/x": {"post": {"operationId": "make", "requestBody": {"content": content}}}}


async def test_references_that_branch_end_with_an_error_and_not_the_worker(opened, document):
    first = {"$ref": "#/components/schemas/S0"}
    async with opened(document(taking(first), components={"schemas": branching()})) as asked:
        assert TOO_MUCH in await asked.refused("make", {"body": {}})
        assert "is not of type 'object'" in await asked.refused("make", {"body": 7})


async def test_so_does_a_value_of_which_each_level_is_looked_at_twice(opened, document):
    again = {"properties": {"a": {"$ref": "#/components/schemas/T"}}}
    first = {"$ref": "#/components/schemas/T"}
    value = {}
    for _ in range(40):
        value = {"a": value}
    async with opened(document(taking(first), components={"schemas": {"T": {"allOf": [again, again]}}})) as asked:
        assert TOO_MUCH in await asked.refused("make", {"body": value})
        assert await asked.sent("make", {"body": {"a": {"a": {}}}})


async def test_so_does_looking_for_what_nobody_has_looked_at(opened, document):
    parts = {letter: {"$ref": "#/components/schemas/S0"} for letter in "abcdef"}
    schemas = branching()
    for level in range(8):
        schemas[f"S{level}"] = {"dependentSchemas": dict(zip("abcdef", schemas[f"S{level}"]["allOf"], strict=True))}
    first = {"unevaluatedProperties": False, "dependentSchemas": parts}
    async with opened(document(taking(first), components={"schemas": schemas})) as asked:
        assert TOO_MUCH in await asked.refused("make", {"body": dict.fromkeys("abcdef", 1)})


async def test_an_answer_is_checked_no_longer_than_that(opened, document):
    first = {"type": "object", "allOf": [{"$ref": "#/components/schemas/S0"}]}
    answers = {"200": {"description": "fine", "content": {"application/json": {"schema": first}}}}
    paths = {"/x": {"get": {"operationId": "get", "responses": answers}}}
    async with opened(document(paths, components={"schemas": branching()}), reply(200, {"a": 1})) as asked:
        got = await asked.call("get")
        assert got["isError"] is True and TOO_MUCH in got["content"][0]["text"]
        assert got["content"][1]["text"] == '{"a":1}'


@pytest.mark.parametrize(
    ("items", "differ"),
    [
        ([1, 1.0], False),
        ([1, True, "1", [1], [True], {"a": 1}, {"a": True}, None], True),
        ([{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}], False),
        ([{"a": one} for one in range(30_000)], True),
    ],
)
async def test_items_of_which_no_two_are_the_same(opened, document, items, differ):
    async with opened(document(taking({"type": "array", "uniqueItems": True}))) as asked:
        if differ:
            assert await asked.sent("make", {"body": items})
        else:
            assert "body: two items are the same" in await asked.refused("make", {"body": items})


def test_tools_that_repeat_a_large_definition_too_often_are_refused(document, built):
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Large"}}}
    paths = {
        f"/{number}": {"post": {"operationId": f"make{number}", "requestBody": {"content": content}}}
        for number in range(9)
    }
    large = {"type": "object", "description": "x" * (8 << 20)}
    with pytest.raises(ConfigError, match="more than 64 MiB: include fewer operations"):
        built(document(paths, components={"schemas": {"Large": large}}), include=None)
