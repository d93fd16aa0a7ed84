"""Documents as tools: versions, references, translation, servers, selection, names."""

import json

import pytest
from agentgateway_mcp_openapi.naming import names
from agentgateway_mcp_openapi.tools import build
from pydantic import ValidationError

from agentgateway.errors import ConfigError
from agentgateway.testing import LoopbackHost, make

GET = {"get": {"operationId": "get"}}
YAML = """
openapi: 3.0.3
info: {title: Pets, version: 1.0}
servers: [{url: https://pets.example.com/v2}]
paths:
  /pets/{petId}:
    get:
      operationId: getPet
      summary: One pet
      parameters:
      - {name: petId, in: path, required: true, schema: {type: integer}, example: 2020-01-01}
      responses:
        200: {description: fine}
"""


def listed(server):
    return {tool["name"]: tool for tool in json.loads(server._api.listed)}


def schema_of(server, name):
    return listed(server)[name]["inputSchema"]


def body_of(document, built, schema, version="3.0.3", **components):
    content = {"application/json": {"schema": schema}}
    paths = {"/x": {"post": {"operationId": "make", "requestBody": {"content": content}}}}
    made = schema_of(built(document(paths, version, components={"schemas": components})), "make")
    return made["properties"]["body"], made.get("$defs", {})


def test_yaml_is_read_with_dates_and_statuses_as_text(built):
    tool = listed(built(YAML, host=None))["getPet"]
    assert tool["title"] == tool["description"] == "One pet"
    assert tool["inputSchema"] == {
        "type": "object",
        "properties": {
            "path": {
                "type": "object",
                "properties": {"petId": {"type": "integer"}},
                "required": ["petId"],
                "additionalProperties": False,
            }
        },
        "required": ["path"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("form", ["text", "inline text", "inline", "in place", "file"])
def test_a_document_stands_where_one_likes(form, tmp_path, document):
    whole = document({"/x": GET})
    (tmp_path / "api.json").write_text(json.dumps(whole))
    shapes = {
        "text": json.dumps(whole),
        "inline text": {"inline": json.dumps(whole)},
        "inline": {"inline": whole},
        "in place": whole,
        "file": {"file": "api.json"},
    }
    config = {"schema": shapes[form], "host": "api.test:8080"}
    server = make("agentgateway.mcp_targets", "openapi", config, LoopbackHost(), tmp_path)
    assert list(listed(server)) == ["get"]
    assert server.endpoint == "api.test:8080"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"swagger": "2.0", "paths": {}}', "Swagger 2.0"),
        ('{"openapi": "4.0.0", "paths": {}}', "3.0 or 3.1"),
        ("[]", "expected an object"),
        ('{"openapi": "3.1.0", ', "no JSON"),
        ("openapi: 3.1.0\npaths: {/x: [", "no YAML on line"),
        ("openapi: 3.1.0\npaths: {/x: {get: {}, get: {}}}", "no YAML"),
        ("openapi: 3.1.0\npaths: &a {/x: *a}", "deeper"),
        ('{"openapi": "3.1.0", "paths": {"x": {}}}', "does not begin with /"),
        ('{"openapi": "3.1.0", "paths": {"/x": 1}}', "expected an object"),
    ],
)
def test_what_cannot_be_a_document_is_refused_with_its_reason(text, said, built):
    with pytest.raises(ConfigError, match=said) as caught:
        built(text)
    assert caught.value.path == "mcp.targets[0].openapi.schema"


def test_aliases_cannot_blow_a_document_up(built):
    lines = ["openapi: 3.1.0", "paths: {}", "a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for before, after in zip("abcdefg", "bcdefgh", strict=True):
        lines.append(f"{after}: &{after} [{', '.join([f'*{before}'] * 10)}]")
    with pytest.raises(ConfigError, match="more than"):
        built("\n".join(lines))


# --- references and schemas -------------------------------------------------------------------------------------------


def test_cycles_stay_references(document, built):
    node = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/N"}}},
    }
    body, definitions = body_of(document, built, {"$ref": "#/components/schemas/N"}, N=node)
    assert body == {"$ref": "#/$defs/N"}
    assert definitions["N"]["properties"]["children"]["items"] == {"$ref": "#/$defs/N"}


def test_only_what_a_tool_needs_is_in_its_definitions(document, built):
    body, definitions = body_of(
        document, built, {"$ref": "#/components/schemas/A"}, A={"type": "string"}, B={"type": "null"}
    )
    assert list(definitions) == ["A"]


def test_definitions_of_one_name_in_two_places_are_told_apart(document, built):
    paths = {
        "/x": {
            "post": {
                "operationId": "make",
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "properties": {
                                    "a": {"$ref": "#/components/schemas/Pet"},
                                    "b": {"$ref": "#/components/parameters/p/schema/properties/Pet"},
                                }
                            }
                        }
                    }
                },
            }
        }
    }
    components = {
        "schemas": {"Pet": {"type": "string"}},
        "parameters": {"p": {"schema": {"properties": {"Pet": {"type": "integer"}}}}},
    }
    made = schema_of(built(document(paths, components=components)), "make")
    assert made["$defs"] == {"Pet": {"type": "string"}, "Pet_2": {"type": "integer"}}


async def test_references_that_only_lead_to_each_other_are_cut(opened, document):
    pet = {"oneOf": [{"$ref": "#/components/schemas/Cat"}], "discriminator": {"propertyName": "kind"}}
    cat = {"allOf": [{"$ref": "#/components/schemas/Pet"}, {"required": ["lives"]}]}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}
    paths = {"/x": {"post": {"operationId": "make", "requestBody": {"content": content}}}}
    async with opened(document(paths, components={"schemas": {"Pet": pet, "Cat": cat}})) as asked:
        await asked.sent("make", {"body": {"lives": 9}})
        assert "'lives' is a required property" in await asked.refused("make", {"body": {}})


@pytest.mark.parametrize(
    "reference", ["other.yaml#/X", "https://evil.example/x.json", "#anchor", "#/components/schemas/No"]
)
def test_references_that_lead_out_or_nowhere_are_errors_and_nothing_is_fetched(reference, document, built):
    with pytest.raises(ConfigError, match="leads (outside|nowhere)"):
        body_of(document, built, {"properties": {"a": {"$ref": reference}}})


def test_parameters_and_path_items_that_lead_in_circles_are_errors(document, built):
    loop = {"a": {"$ref": "#/components/parameters/b"}, "b": {"$ref": "#/components/parameters/a"}}
    paths = {"/x": {"get": {"parameters": [{"$ref": "#/components/parameters/a"}]}}}
    with pytest.raises(ConfigError, match="back to itself"):
        built(document(paths, components={"parameters": loop}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        (
            {"nullable": True, "allOf": [{"type": "string"}]},
            {"anyOf": [{"allOf": [{"type": "string"}]}, {"type": "null"}]},
        ),
        ({"type": "number", "minimum": 1, "exclusiveMinimum": True}, {"type": "number", "exclusiveMinimum": 1}),
        ({"type": "number", "maximum": 1, "exclusiveMaximum": False}, {"type": "number", "maximum": 1}),
        ({"type": "string", "example": "x", "xml": {}, "x-go": 1}, {"type": "string", "examples": ["x"]}),
        ({"$ref": "#/components/schemas/S", "nullable": True}, {"$ref": "#/$defs/S"}),
        (
            {"properties": {"id": {"readOnly": True}, "nullable": {"type": "string"}}, "required": ["id", "nullable"]},
            {"properties": {"nullable": {"type": "string"}}, "required": ["nullable"]},
        ),
        ({"enum": [{"nullable": True, "$ref": "x"}]}, {"enum": [{"nullable": True, "$ref": "x"}]}),
    ],
)
def test_schemas_of_3_0_are_said_in_today_s_words(old, new, document, built):
    assert body_of(document, built, old, S={"type": "string"})[0] == new


def test_schemas_of_3_1_are_left_as_they_are(document, built):
    schema = {"type": ["string", "null"], "exclusiveMinimum": 1, "examples": ["x"], "$ref": "#/components/schemas/S"}
    assert body_of(document, built, schema, "3.1.0", S={})[0] == schema | {"$ref": "#/$defs/S"}


def test_a_schema_that_is_none_is_an_error_with_its_place(document, built):
    with pytest.raises(ConfigError, match=r"paths\./x\.post.*not a schema"):
        body_of(document, built, {"type": "strnig"})
    with pytest.raises(ConfigError, match=r"\$ref S.*not a schema"):
        body_of(document, built, {"$ref": "#/components/schemas/S"}, S={"required": True})


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_of_a_path_are_merged_with_the_operation_s_own_which_win(document, built):
    shared = [
        {"name": "id", "in": "path", "schema": {"type": "string"}},
        {"name": "verbose", "in": "query", "schema": {"type": "string"}},
        {"name": "theme", "in": "cookie", "schema": {"type": "string"}},
    ]
    own = [{"name": "verbose", "in": "query", "required": True, "schema": {"type": "boolean"}, "description": "More"}]
    paths = {"/x/{id}": {"parameters": shared, "get": {"operationId": "get", "parameters": own}}}
    made = schema_of(built(document(paths)), "get")
    assert list(made["properties"]) == ["path", "query", "cookie"]
    assert made["properties"]["query"]["properties"] == {"verbose": {"type": "boolean", "description": "More"}}
    assert made["required"] == ["path", "query"]


def test_headers_and_credentials_that_callers_must_not_set_are_no_parameters(document, built):
    barred = ["Authorization", "Cookie", "HOST", "Content-Type", "Transfer-Encoding", "Connection", "X-Api-Key"]
    barred += ["X-Forwarded-Host", "Proxy-Authorization", "X-HTTP-Method-Override", "Tenant-Key", "Accept", "bad name"]
    parameters = [{"name": name, "in": "header", "schema": {}} for name in [*barred, "X-Request-Tag"]]
    parameters += [{"name": "key", "in": "query", "schema": {}}, {"name": "sid", "in": "cookie", "schema": {}}]
    schemes = {
        "a": {"type": "apiKey", "in": "header", "name": "tenant-key"},
        "b": {"type": "apiKey", "in": "query", "name": "key"},
        "c": {"type": "apiKey", "in": "cookie", "name": "sid"},
        "d": {"type": "http", "scheme": "bearer"},
    }
    paths = {"/x": {"get": {"operationId": "get", "parameters": parameters}}}
    made = schema_of(built(document(paths, components={"securitySchemes": schemes})), "get")
    assert list(made["properties"]) == ["header"]
    assert list(made["properties"]["header"]["properties"]) == ["X-Request-Tag"]


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ({"name": "a", "in": "body"}, "one of path"),
        ({"in": "query"}, "has a `name`"),
        ({"name": "a", "in": "query", "style": "matrix"}, "no style"),
        ({"name": "a", "in": "query", "content": {"text/csv": {}}}, "one media type, JSON"),
    ],
)
def test_parameters_that_make_no_sense_are_errors(parameter, said, document, built):
    with pytest.raises(ConfigError, match=said):
        built(document({"/x": {"get": {"parameters": [parameter]}}}))


def test_parameters_that_are_no_list_are_an_error(document, built):
    with pytest.raises(ConfigError, match=r"paths\./x\.get\.parameters: expected a list"):
        built(document({"/x": {"get": {"parameters": {}}}}))


def test_a_variable_of_a_path_that_nothing_describes_is_an_error(document, built):
    with pytest.raises(ConfigError, match="no parameter describes"):
        built(document({"/x/{id}": GET}))


@pytest.mark.parametrize(
    ("path", "said"),
    [("/a/../b", "dot segments"), ("/%2e%2e/b", "dot segments"), ("//a", "begins with `//`"), ("/%zz", "characters")],
)
def test_a_path_that_leads_elsewhere_by_itself_is_an_error(path, said, document, built):
    with pytest.raises(ConfigError, match=f"cannot be used: .*{said}"):
        built(document({path: GET}))


# --- servers ----------------------------------------------------------------------------------------------------------


def base(server):
    (operation,) = server._api.operations.values()
    return operation.base.url + operation.base.path


SERVERS = [
    {"url": "https://a.example/v1/"},
    {
        "url": "https://{region}.b.example/v2",
        "description": "B",
        "variables": {"region": {"default": "eu", "enum": ["eu", "us"]}},
    },
]


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({}, "https://a.example/v1"),
        ({"server": 1}, "https://eu.b.example/v2"),
        ({"server": "B", "serverVariables": {"region": "us"}}, "https://us.b.example/v2"),
        ({"server": "https://a.example/v1/"}, "https://a.example/v1"),
        ({"host": "api.test:81"}, "http://api.test:81/v1"),
        ({"host": "https://api.test", "server": 1}, "https://api.test/v2"),
        ({"host": "https://API.test/base/"}, "https://api.test/base"),
        ({"host": "api.test", "port": 81, "path": "/base"}, "http://api.test:81/base"),
        ({"host": "http://[::1]:81"}, "http://[::1]:81/v1"),
    ],
)
def test_operations_live_where_document_and_configuration_say(config, where, document, built):
    assert base(built(document({"/x": GET}, servers=SERVERS), **{"host": None, **config})) == where


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"server": 2}, "has 2"),
        ({"server": "C"}, "no server"),
        ({"server": 1, "serverVariables": {"region": "mars"}}, "enum"),
    ],
)
def test_a_server_that_is_not_there_is_an_error(config, said, document, built):
    with pytest.raises(ConfigError, match=said):
        built(document({"/x": GET}, servers=SERVERS), host=None, **config)


def test_a_document_that_does_not_say_where_its_api_is_needs_a_host(document, built):
    with pytest.raises(ConfigError, match="set `host`"):
        built(document({"/x": GET}), host=None)
    assert base(built(document({"/x": GET}))) == "http://api.test"


def test_an_operation_may_have_a_path_of_its_own_and_no_other_host(document, built):
    item = {"get": {"operationId": "get", "servers": [{"url": "/uploads"}]}}
    assert base(built(document({"/x": item}, servers=[{"url": "/v1"}]))) == "http://api.test/uploads"
    away = {"get": {"operationId": "get", "servers": [{"url": "https://uploads.example"}]}}
    whole = document({"/x": away, "/y": {"get": {}}}, servers=[{"url": "https://a.example"}])
    with pytest.raises(ConfigError, match="server of its own"):
        built(whole, host=None)
    built(whole, host=None, exclude=[{"operationId": "get"}])


@pytest.mark.parametrize(
    "url", ["ftp://a.example", "https://u:p@a.example", "https://a.example/?x=1", "https://a.example/a/../b"]
)
def test_a_server_s_url_with_more_than_an_address_is_an_error(url, document, built):
    with pytest.raises(ConfigError, match=r"not the URL|cannot be used"):
        built(document({"/x": GET}, servers=[{"url": url}]), host=None)


@pytest.mark.parametrize(
    "config",
    [
        {"host": "https://u:p@a.example"},
        {"host": "ftp://a.example"},
        {"host": "https://a.example/?q=1"},
        {"host": "a b"},
        {"host": "a.example:81", "port": 82},
        {"host": "a.example/base", "path": "/other"},
        {"host": None, "path": "/other"},
        {"include": [{}]},
        {"include": [{"method": "trace"}]},
        {"unknown": 1},
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(config, document, built):
    with pytest.raises(ValidationError):
        built(document({"/x": GET}), **config)


# --- selection and names ----------------------------------------------------------------------------------------------

SHOP = {
    "/pets": {
        "get": {"operationId": "listPets", "tags": ["pets"]},
        "post": {"operationId": "addPet", "tags": ["pets"]},
    },
    "/pets/{id}": {
        "parameters": [{"name": "id", "in": "path", "schema": {}}],
        "get": {"operationId": "getPet", "tags": ["pets"]},
        "delete": {"tags": ["pets", "admin"]},
    },
    "/orders": {"get": {"operationId": "listOrders", "tags": ["orders"]}, "trace": {"operationId": "trace"}},
}


@pytest.mark.parametrize(
    ("config", "left"),
    [
        ({}, ["listPets", "addPet", "getPet", "delete_pets_id", "listOrders"]),
        ({"include": [{"tag": "pets"}]}, ["listPets", "addPet", "getPet", "delete_pets_id"]),
        ({"include": [{"tag": "pets", "method": "GET"}]}, ["listPets", "getPet"]),
        ({"include": [{"operationId": "list*"}]}, ["listPets", "listOrders"]),
        ({"include": [{"path": "/pets/*"}], "exclude": [{"method": "delete"}]}, ["getPet"]),
        ({"exclude": [{"tag": "admin"}, {"operationId": "addPet"}]}, ["listPets", "getPet", "listOrders"]),
        ({"exclude": [{"operationId": "delete_pets_id"}]}, ["listPets", "addPet", "getPet", "listOrders"]),
    ],
)
def test_operations_are_chosen_by_id_tag_method_and_path(config, left, document, built):
    assert list(listed(built(document(SHOP), **config))) == left


@pytest.mark.parametrize("kind", ["include", "exclude"])
def test_a_choice_that_fits_nothing_is_an_error(kind, document, built):
    with pytest.raises(ConfigError, match=rf"{kind}\[0\] fits no operation"):
        built(document(SHOP), **{kind: [{"operationId": "lsitPets"}]})


def test_two_operations_of_one_id_are_an_error(document, built):
    with pytest.raises(ConfigError, match="two operations"):
        built(document({"/x": GET, "/y": GET}))


def test_names_are_unique_fit_mcp_and_never_take_a_given_one():
    given = [
        ("get", "/pets/{petId}", None),
        ("get", "/pets-{petId}", None),
        ("get", "/pets/petId", None),
        ("get", "/a", "get_pets_petId"),
        ("post", "/b", "do it!"),
        ("post", "/c", "do it?"),
        ("get", "/" + "long/" * 40, None),
        ("get", "/", None),
    ]
    found = names(given)
    assert len(set(found)) == len(found)
    assert found[3] == "get_pets_petId"
    assert found[1] == "get_pets-petId"
    assert found[0].startswith("get_pets_petId_") and found[2].startswith("get_pets_petId_")
    assert found[4].startswith("do_it_") and found[5].startswith("do_it_")
    assert len(found[6]) == 64
    assert found[7] == "get"
    for name in found:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def test_a_name_does_not_depend_on_the_order_of_the_document():
    given = [("get", "/a b", None), ("get", "/a_b", None), ("get", "/c", None), ("post", "/a", "pets/list")]
    assert names(given)[2:] == ["get_c", "pets_list"]
    assert names([("get", "/", "_private.")]) == ["_private."]
    assert dict(zip(given, names(given), strict=True)) == dict(zip(given[::-1], names(given[::-1]), strict=True))


def test_tools_say_what_their_methods_promise(document, built):
    tools = listed(built(document(SHOP)))
    assert tools["getPet"]["annotations"] == {"readOnlyHint": True}
    assert tools["delete_pets_id"]["annotations"]["destructiveHint"] is True
    assert tools["addPet"]["annotations"] == {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": False}


def test_a_title_is_cut_between_characters(document, built):
    tool = listed(built(document({"/x": {"get": {"operationId": "get", "summary": "é" * 40, "description": "d"}}})))[
        "get"
    ]
    assert tool["title"] == "é" * 32
    assert tool["description"] == "d"


def test_building_twice_gives_the_same_bytes(document, built):
    text = json.dumps(document(SHOP))
    config = built(document(SHOP)).config
    assert build(text, config).listed == build(text, config).listed
