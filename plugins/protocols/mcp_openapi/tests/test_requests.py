"""What a call comes to on the wire: parameters in every style, bodies of every kind."""

import base64
from email import message_from_bytes

import pytest

LIST, OBJECT = ["a", "b c"], {"k": "v", "l": "w&x"}


def operation(parameter, method="get", path="/x"):
    return {path: {method: {"operationId": "ask", "parameters": [parameter]}}}


def with_body(content_type, schema=None, **media):
    content = {content_type: {"schema": schema or {}, **media}}
    return {"/x": {"post": {"operationId": "send", "requestBody": {"required": True, "content": content}}}}


@pytest.mark.parametrize(
    ("style", "value", "query"),
    [
        ({}, "a b&c=d", "q=a%20b%26c%3Dd"),
        ({}, 1.5, "q=1.5"),
        ({}, 2.0, "q=2"),
        ({}, True, "q=true"),
        ({}, None, "q"),
        ({}, "", "q="),
        ({}, "../..", "q=..%2F.."),
        ({}, LIST, "q=a&q=b%20c"),
        ({}, [], None),
        ({"explode": False}, LIST, "q=a,b%20c"),
        ({"style": "spaceDelimited", "explode": False}, LIST, "q=a%20b%20c"),
        ({"style": "pipeDelimited", "explode": False}, LIST, "q=a%7Cb%20c"),
        ({}, OBJECT, "k=v&l=w%26x"),
        ({"explode": False}, OBJECT, "q=k,v,l,w%26x"),
        ({"style": "deepObject"}, {"a": 1, "b": {"c": 2}}, "q%5Ba%5D=1&q%5Bb%5D%5Bc%5D=2"),
        ({"allowReserved": True}, "a/b?c&d#e", "q=a/b?c%26d%23e"),
        ({"content": {"application/json": {}}}, {"a": [1]}, "q=%7B%22a%22%3A%5B1%5D%7D"),
        ({}, [{"a": 1}], "q=%7B%22a%22%3A1%7D"),
    ],
)
async def test_query_parameters(style, value, query, opened):
    async with opened(operation({"name": "q", "in": "query", **style})) as asked:
        request = await asked.sent("ask", {"query": {"q": value}})
        assert request.target == ("/x" if query is None else f"/x?{query}")


@pytest.mark.parametrize(
    ("style", "value", "path"),
    [
        ({}, LIST, "a,b%20c"),
        ({}, OBJECT, "k,v,l,w%26x"),
        ({"explode": True}, OBJECT, "k=v,l=w%26x"),
        ({"style": "label"}, "a", ".a"),
        ({"style": "label", "explode": True}, LIST, ".a.b%20c"),
        ({"style": "label"}, LIST, ".a,b%20c"),
        ({"style": "matrix"}, "a", ";p=a"),
        ({"style": "matrix"}, LIST, ";p=a,b%20c"),
        ({"style": "matrix", "explode": True}, LIST, ";p=a;p=b%20c"),
        ({"style": "matrix", "explode": True}, OBJECT, ";k=v;l=w%26x"),
        ({"content": {"application/json": {}}}, {"a": "/"}, "%7B%22a%22%3A%22%2F%22%7D"),
    ],
)
async def test_path_parameters(style, value, path, opened):
    async with opened(operation({"name": "p", "in": "path", **style}, path="/x/{p}/y")) as asked:
        assert (await asked.sent("ask", {"path": {"p": value}})).target == f"/x/{path}/y"


@pytest.mark.parametrize(
    ("style", "value", "header"),
    [
        ({}, "a b", "a b"),
        ({}, LIST, "a,b c"),
        ({}, {"k": 1, "l": 2}, "k,1,l,2"),
        ({"explode": True}, {"k": 1, "l": 2}, "k=1,l=2"),
        ({"content": {"application/json": {}}}, {"é": 1}, '{"\\u00e9":1}'),
        ({}, None, None),
    ],
)
async def test_header_parameters(style, value, header, opened):
    async with opened(operation({"name": "X-Tag", "in": "header", **style})) as asked:
        assert (await asked.sent("ask", {"header": {"X-Tag": value}})).headers.get("x-tag") == header


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\0", "日本"])
async def test_a_header_that_would_not_be_one_is_refused(value, opened):
    async with opened(operation({"name": "X-Tag", "in": "header"})) as asked:
        assert "header.X-Tag" in await asked.refused("ask", {"header": {"X-Tag": value}})
        assert "header.X-Tag" in await asked.refused("ask", {"header": {"X-Tag": [value]}})
        assert "header.X-Tag" in await asked.refused("ask", {"header": {"X-Tag": {value: 1}}})


@pytest.mark.parametrize(
    ("style", "value", "cookie"),
    [
        ({}, "a; sid=1", "c=a%3B%20sid%3D1"),
        ({}, LIST, "c=a; c=b%20c"),
        ({"explode": False}, LIST, "c=a,b%20c"),
        ({}, OBJECT, "k=v; l=w%26x"),
        ({"content": {"application/json": {}}}, {"a": 1}, "c=%7B%22a%22%3A1%7D"),
    ],
)
async def test_cookie_parameters(style, value, cookie, opened):
    async with opened(operation({"name": "c", "in": "cookie", **style})) as asked:
        assert (await asked.sent("ask", {"cookie": {"c": value}})).headers["cookie"] == cookie


@pytest.mark.parametrize("place", ["query", "cookie"])
async def test_an_object_cannot_bring_a_credential(place, opened, document):
    schemes = {"a": {"type": "apiKey", "in": place, "name": "Key"}}
    whole = document(operation({"name": "filter", "in": place}), components={"securitySchemes": schemes})
    async with opened(whole) as asked:
        assert "not for callers" in await asked.refused("ask", {place: {"filter": {"key": "x"}}})


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_json_bodies_are_sent_as_json_also_when_they_are_null(opened):
    async with opened(with_body("application/vnd.api+json")) as asked:
        request = await asked.sent("send", {"body": {"a": [1, None]}})
        assert request.headers["content-type"] == "application/vnd.api+json"
        assert request.body == b'{"a":[1,null]}'
        assert (await asked.sent("send", {"body": None})).body == b"null"


async def test_a_body_that_is_left_out_is_not_sent(opened):
    paths = {"/x": {"post": {"operationId": "send", "requestBody": {"content": {"application/json": {}}}}}}
    async with opened(paths) as asked:
        request = await asked.sent("send", {})
        assert request.body == b""
        assert "content-type" not in request.headers


async def test_forms_are_sent_as_forms(opened):
    encoding = {"tags": {"style": "form", "explode": False}, "where": {"style": "deepObject"}}
    async with opened(
        with_body(
            "application/x-www-form-urlencoded",
            {"type": "object", "properties": {"tags": {}, "where": {}}},
            encoding=encoding,
        )
    ) as asked:
        value = {"a": "x&y=z", "b": [1, 2], "c": {"d": 1}, "tags": ["p", "q"], "where": {"k": "v"}, "n": None}
        request = await asked.sent("send", {"body": value})
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert request.body == b"a=x%26y%3Dz&b=1&b=2&c=%7B%22d%22%3A1%7D&tags=p,q&where%5Bk%5D=v&n="


async def test_files_go_as_parts_of_a_form(opened):
    properties = {
        "photo": {"type": "string", "format": "binary", "description": "A picture"},
        "more": {"type": "array", "items": {"contentMediaType": "image/png"}},
        "about": {"type": "object"},
        "name": {"type": "string"},
    }
    encoding = {"photo": {"contentType": "image/png, image/jpeg"}}
    async with opened(
        with_body("multipart/form-data", {"type": "object", "properties": properties}, encoding=encoding)
    ) as asked:
        schema = (await asked.tools())["send"]["inputSchema"]["properties"]["body"]["properties"]
        assert schema["photo"] == {"type": "string", "contentEncoding": "base64", "description": "A picture"}
        data = base64.b64encode(b"\x89PNG\r\n").decode()
        value = {"photo": data, "more": [data, data], "about": {"a": 1}, "name": 'R"\r\nx', "n": 1, 'q"\r\nz: 1': "x"}
        request = await asked.sent("send", {"body": value})
        head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
        parts = message_from_bytes(head + request.body).get_payload()
        names = [part.get_param("name", header="content-disposition") for part in parts]
        assert names == ["photo", "more", "more", "about", "name", "n", "q%22%0D%0Az: 1"]
        assert parts[0].get_content_type() == "image/png"
        assert parts[0].get_filename() == "photo"
        assert parts[0].get_payload(decode=True) == b"\x89PNG\r\n"
        assert parts[3].get_content_type() == "application/json"
        assert "expected base64" in await asked.refused("send", {"body": {"photo": "not base64!"}})


async def test_bytes_are_base64_and_text_is_text(opened):
    async with opened(with_body("application/octet-stream")) as asked:
        request = await asked.sent("send", {"body": base64.b64encode(b"\0\xff").decode()})
        assert (request.headers["content-type"], request.body) == ("application/octet-stream", b"\0\xff")
        assert "expected base64" in await asked.refused("send", {"body": "@@"})
    async with opened(with_body("application/xml; charset=utf-8")) as asked:
        request = await asked.sent("send", {"body": "<é/>"})
        assert (request.headers["content-type"], request.body) == ("application/xml; charset=utf-8", "<é/>".encode())


@pytest.mark.parametrize(
    ("types", "sent"),
    [
        (["multipart/form-data", "application/json"], "application/json"),
        (["text/plain", "application/x-www-form-urlencoded"], "application/x-www-form-urlencoded"),
        (["*/*"], "application/json"),
        (["application/json; a=\r\nx: y"], "application/json"),
    ],
)
async def test_of_several_types_the_plainest_is_sent(types, sent, opened):
    content = {one: {} for one in types}
    async with opened({"/x": {"post": {"operationId": "send", "requestBody": {"content": content}}}}) as asked:
        assert (await asked.sent("send", {"body": {"a": 1}})).headers["content-type"] == sent


async def test_a_form_is_an_object(opened):
    async with opened(with_body("application/x-www-form-urlencoded")) as asked:
        assert "is not of type 'object'" in await asked.refused("send", {"body": [1]})
    async with opened(with_body("multipart/form-data", {"description": "whatever"})) as asked:
        assert "expected an object" in await asked.refused("send", {"body": [1]})


# --- checks -----------------------------------------------------------------------------------------------------------


async def test_wrong_arguments_are_told_so_that_a_model_can_do_better(opened):
    schema = {"type": "object", "required": ["name"], "properties": {"age": {"type": "integer", "minimum": 0}}}
    async with opened(with_body("application/json", schema)) as asked:
        text = await asked.refused("send", {"body": {"age": -1}, "query": {}})
        assert text.splitlines()[0] == "Invalid arguments for send:"
        assert "body: 'name' is a required property" in text
        assert "body.age: -1 is less than the minimum of 0" in text
        assert "arguments: unknown: 'query' (known: body)" in text
        assert "'body' is a required property" in await asked.refused("send", {})
        long = await asked.refused("send", {"body": "x" * 100_000})
        assert len(long) < 1000


async def test_patterns_are_matched_in_linear_time_and_those_that_cannot_be_are_left_to_the_api(opened):
    properties = {
        "slow": {"pattern": "^(a+)+$"},
        "ahead": {"pattern": "(?=x)"},
        "ecma": {"pattern": r"^\p{L}+$"},
        "broken": {"pattern": "("},
    }
    rest = {"patternProperties": {"^x-": {"type": "integer"}, "(?!a)b": {}}, "additionalProperties": False}
    async with opened(with_body("application/json", {"properties": properties, **rest})) as asked:
        assert "does not match" in await asked.refused("send", {"body": {"slow": "a" * 5000 + "!"}})
        assert "does not match" in await asked.refused("send", {"body": {"ecma": "1"}})
        await asked.sent("send", {"body": {"ahead": "y", "ecma": "é", "broken": "x", "x-a": 1}})
        assert "body.x-a" in await asked.refused("send", {"body": {"x-a": "y"}})


async def test_what_no_property_names_is_checked_by_the_schema_of_the_others(opened):
    schema = {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}, "propertyNames": {"maxLength": 3}}
    async with opened(with_body("application/json", schema)) as asked:
        await asked.sent("send", {"body": {"a": "x", "b": 1}})
        assert "body.b" in await asked.refused("send", {"body": {"b": "x"}})
    closed = {"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}
    async with opened(with_body("application/json", closed)) as asked:
        await asked.sent("send", {"body": {"a": "x"}})
        assert "Unevaluated" in await asked.refused("send", {"body": {"b": "x"}})


async def test_arguments_without_end_are_refused(opened, document):
    node = {"properties": {"n": {"$ref": "#/components/schemas/N"}}}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/N"}}}
    paths = {"/x": {"post": {"operationId": "send", "requestBody": {"content": content}}}}
    async with opened(document(paths, components={"schemas": {"N": node}})) as asked:
        value = {}
        for _ in range(400):
            value = {"n": value}
        assert "too deeply" in await asked.refused("send", {"body": value})
