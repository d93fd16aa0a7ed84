"""Output schemas: which tools have one, and that every result of such a tool is what its schema says."""

import json

import pytest
from jsonschema import Draft202012Validator

from agentgateway.testing.upstreams import reply

PET = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True, "format": "int64"},
        "name": {"type": "string", "pattern": "^(?!x)"},
        "password": {"type": "string", "writeOnly": True},
        "friend": {"$ref": "#/components/schemas/Pet"},
    },
}
REX = {"id": 7, "name": "Rex", "friend": {"id": 8, "name": "Tom"}}
REF = {"$ref": "#/components/schemas/Pet"}


def json_of(schema, media="application/json"):
    return {"description": "fine", "content": {media: {"schema": schema}}}


def operation(*answers, **more):
    """A GET with these answers of success: schemas, or whole responses."""
    responses = {str(200 + index): one if "description" in one else json_of(one) for index, one in enumerate(answers)}
    responses["default"] = json_of({"type": "object", "required": ["error"]})
    return {"/pet": {"get": {"operationId": "getPet", "responses": responses, **more}}}


def with_pets(document, *answers, pet=PET, **parts):
    return document(operation(*answers), "3.0.3", components={"schemas": {"Pet": pet, **parts}})


async def the_schema(opened, described, **config):
    async with opened(described, **config) as asked:
        return (await asked.tools())["getPet"].get("outputSchema")


async def test_an_object_is_described_with_what_it_refers_to_and_cycles_cost_nothing(opened, document):
    schema = await the_schema(opened, with_pets(document, REF))
    assert (schema["type"], schema["$ref"]) == ("object", "#/$defs/Pet")
    assert schema["$defs"]["Pet"]["properties"] == {
        "id": {"type": "integer"},
        "name": {"type": "string"},
        "friend": {"$ref": "#/$defs/Pet"},
    }
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(REX)
    assert not Draft202012Validator(schema).is_valid({"name": "Rex"})


async def test_a_list_is_the_member_data(opened, document):
    described = with_pets(document, {"type": "array", "items": REF})
    schema = await the_schema(opened, described)
    assert schema["properties"]["data"] == {"type": "array", "items": {"$ref": "#/$defs/Pet"}}
    async with opened(described, reply(200, [REX])) as asked:
        result = await asked.call("getPet")
        assert result["structuredContent"] == {"data": [REX]} and result["isError"] is False


LARGE = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(2000)}}


@pytest.mark.parametrize(
    "answers",
    [
        [{"type": "string"}],
        [{}],
        [{"properties": {"a": {}}}],
        [{**PET, "nullable": True}],
        [{"type": "object"}, {"description": "nothing", "content": {}}],
        [{"type": "object"}, {"type": "object", "required": ["a"]}],
        [{"description": "text", "content": {"application/json": {"schema": PET}, "text/plain": {}}}],
        [{"description": "nothing"}],
        [{"$ref": "#/components/schemas/Nowhere"}],
        [{"type": "object", "properties": {"a": {"type": "nonsense"}}}],
        [{"anyOf": [{"type": "object"}, {"type": "string"}]}],
        [{"$ref": "#/components/schemas/Endless"}],
        [LARGE],
        [],
    ],
    ids=lambda answers: json.dumps(answers)[:60],
)
async def test_what_is_not_always_one_kind_of_object_is_not_described(opened, document, answers):
    endless = {"anyOf": [{"$ref": "#/components/schemas/Endless"}] * 4}
    described = with_pets(document, *answers, Endless=endless)
    assert await the_schema(opened, described) is None
    async with opened(described, reply(200, {"any": "thing"})) as asked:
        assert (await asked.call("getPet"))["isError"] is False


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [REF, {"required": ["name"]}]},
        {"oneOf": [REF, {"type": "object", "required": ["other"]}]},
        {"type": ["object"]},
    ],
    ids=lambda schema: next(iter(schema)),
)
async def test_compositions_of_objects_are_objects(opened, document, schema):
    assert (await the_schema(opened, with_pets(document, schema)))["type"] == "object"


async def test_it_can_be_left_out(opened, document):
    described = with_pets(document, REF)
    assert await the_schema(opened, described, outputSchemas=False) is None
    async with opened(described, reply(200, {"id": "seven"}), outputSchemas=False) as asked:
        assert (await asked.call("getPet"))["structuredContent"] == {"id": "seven"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(200, {"id": "seven", "name": "Rex"}), "id: 'seven' is not of type 'integer'"),
        (reply(200, {"id": 7, "name": "x" * 50_000, "friend": 1}), "friend: 1 is not of type 'object'"),
        (reply(200, [REX]), "the answer: 'id' is a required property"),
        (reply(204, b""), "it is no JSON"),
        (reply(200, b"hello", headers={"content-type": "text/plain"}), "it is no JSON"),
    ],
    ids=["type", "large", "list", "nothing", "text"],
)
async def test_an_answer_that_is_something_else_is_an_error_with_the_answer(opened, document, answer, said):
    async with opened(with_pets(document, REF), answer) as asked:
        result = await asked.call("getPet")
        assert result["isError"] is True and "structuredContent" not in result
        first, *rest = result["content"]
        assert first["text"].startswith("The API succeeded, but") and said in first["text"]
        assert rest


@pytest.mark.parametrize("status", [301, 404, 500])
async def test_a_failure_need_not_fit(opened, document, status):
    async with opened(with_pets(document, REF), reply(status, {"error": "no such pet"})) as asked:
        result = await asked.call("getPet")
        assert result["isError"] is True and f"HTTP {status}" in result["content"][0]["text"]
