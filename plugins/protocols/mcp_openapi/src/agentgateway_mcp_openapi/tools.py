"""From a document to the tools that it stands for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from pydantic_core import to_json

from agentgateway_mcp_openapi.bodies import KINDS, BodyForm, Field, header_of, kind_of
from agentgateway_mcp_openapi.config import OpenApiConfig, Selection
from agentgateway_mcp_openapi.document import Document, DocumentError, read
from agentgateway_mcp_openapi.headers import may_be_set
from agentgateway_mcp_openapi.naming import names
from agentgateway_mcp_openapi.operations import Check, Operation, template_of
from agentgateway_mcp_openapi.outputs import Answers
from agentgateway_mcp_openapi.parameters import Parameter, read_parameter
from agentgateway_mcp_openapi.schemas import Schema, Schemas
from agentgateway_mcp_openapi.servers import Servers
from agentgateway_mcp_openapi.urls import Base, UnsafeUrl

LONGEST_TITLE = 64
"""Bytes, as in the reference."""
MOST_LISTED = 64 * 1024 * 1024
"""Bytes of all tools: each has the definitions that it needs for itself."""
BYTES = {"type": "string", "contentEncoding": "base64"}
SAMPLE = "x"
PLACES = ("path", "query", "header", "cookie")


@dataclass(frozen=True, slots=True)
class Found:
    """An operation of the document before it is anything else."""

    path: str
    method: str
    item: dict[str, Any]
    operation: dict[str, Any]
    name: str

    @property
    def where(self) -> str:
        return f"paths.{self.path}.{self.method}"


@dataclass(frozen=True, slots=True)
class Api:
    """What a document comes to: the tools as `tools/list` has them, in JSON; the operations by name; where they are."""

    title: str
    version: str
    base: Base
    listed: bytes
    operations: dict[str, Operation]


@dataclass(frozen=True, slots=True)
class Draft:
    """A tool whose schemas are translated and not yet settled."""

    found: Found
    base: Base
    parameters: tuple[Parameter, ...]
    body: BodyForm | None
    schema: Schema
    answer: Schema | None = None


def build(text: str, config: OpenApiConfig) -> Api:
    """Raises `DocumentError`."""
    from agentgateway_mcp_openapi.checking import check_schema, checking, patterns_in  # loads jsonschema

    document = read(text)
    servers, schemas = Servers(config, document), Schemas(document)
    credentials = credentials_of(document)
    seen: set[bytes] = set()
    answers = Answers(document, lambda schema: check_schema(schema, "", seen))
    drafts = [draft(one, document, servers, schemas, credentials) for one in selected(document, config)]
    if config.output_schemas:
        drafts = [replace(one, answer=answers.translate(one.found.operation, one.found.where)) for one in drafts]
    schemas.settle()
    answers.settle()
    for name, schema in schemas.all().items():
        check_schema(schema, f"$ref {name}", seen)
    patterns = patterns_in([*schemas.all().values(), *(one.schema for one in drafts)])
    check_of = checking(patterns)
    tools: list[bytes] = []
    operations: dict[str, Operation] = {}
    left = MOST_LISTED
    for one in drafts:
        check_schema(one.schema, one.found.where, seen)
        definitions = schemas.closure([one.schema])
        schema = {**one.schema, **({"$defs": definitions} if definitions else {})}
        answer = answers.whole(one.answer) if one.answer is not None else None
        tools.append(to_json(tool(one.found, schema, answer)))
        left -= len(tools[-1])
        if left < 0:
            raise DocumentError(f"the tools would take more than {MOST_LISTED >> 20} MiB: include fewer operations")
        fits = check_of(answer, "the answer") if answer is not None else None
        operations[one.found.name] = operation_of(one, check_of(schema), fits)
    info = document.root.get("info")
    info = info if isinstance(info, dict) else {}
    title, version = info.get("title"), info.get("version")
    return Api(str(title or "OpenAPI"), str(version or "0"), servers.base, b"[%b]" % b",".join(tools), operations)


def operation_of(one: Draft, check: Check, fits: Check | None) -> Operation:
    found = one.found
    template = template_of(found.path, one.parameters, found.where)
    target = one.base.path + "".join(piece if isinstance(piece, str) else SAMPLE for piece in template)
    try:
        one.base.prove(target)
    except UnsafeUrl as error:
        raise DocumentError(f"{found.where}: the path cannot be used: {error}") from None
    return Operation(found.name, found.method.upper(), one.base, template, one.parameters, one.body, check, fits)


def selected(document: Document, config: OpenApiConfig) -> Iterator[Found]:
    """The operations that the configuration wants. Raises `DocumentError` for a selection that fits none."""
    every = list(document.operations())
    identifiers = [(method, path, identifier(operation)) for path, method, _, operation in every]
    given = [one for _, _, one in identifiers if one is not None]
    if len(set(given)) < len(given):
        twice = next(one for one in given if given.count(one) > 1)
        raise DocumentError(f"paths: two operations have the operationId {twice[:80]!r}")
    found = [
        Found(path, method, item, operation, name)
        for (path, method, item, operation), name in zip(every, names(identifiers), strict=True)
    ]
    if len({one.name for one in found}) < len(found):
        raise DocumentError("paths: two operations come to the same name; give them an operationId")
    for kind, rules in (("include", config.include), ("exclude", config.exclude)):
        for index, rule in enumerate(rules):
            if not any(fits(rule, one) for one in found):
                raise DocumentError(f"{kind}[{index}] fits no operation of the document")
    for one in found:
        wanted = not config.include or any(fits(rule, one) for rule in config.include)
        if wanted and not any(fits(rule, one) for rule in config.exclude):
            yield one


def identifier(operation: dict[str, Any]) -> str | None:
    given = operation.get("operationId")
    return given if isinstance(given, str) and given else None


def fits(rule: Selection, one: Found) -> bool:
    tags = one.operation.get("tags")
    return (
        (rule.operation_id is None or fnmatchcase(identifier(one.operation) or one.name, pattern(rule.operation_id)))
        and (rule.tag is None or (isinstance(tags, list) and rule.tag in tags))
        and (rule.method is None or rule.method == one.method)
        and (rule.path is None or fnmatchcase(one.path, pattern(rule.path)))
    )


def pattern(text: str) -> str:
    """`*` is the only wildcard."""
    return text.replace("[", "[[]").replace("?", "[?]")


def credentials_of(document: Document) -> frozenset[tuple[str, str]]:
    """Where the document's security schemes put credentials: location and name, lower-case."""
    components = document.root.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    found = set()
    for name, given in schemes.items() if isinstance(schemes, dict) else ():
        scheme = document.resolved(given, f"components.securitySchemes.{name}")
        if scheme.get("type") == "apiKey":
            found.add((str(scheme.get("in")), str(scheme.get("name")).lower()))
    return frozenset(found)


def draft(
    one: Found,
    document: Document,
    servers: Servers,
    schemas: Schemas,
    credentials: frozenset[tuple[str, str]],
) -> Draft:
    """Raises `DocumentError`."""
    properties: dict[str, Any] = {}
    required: list[str] = []
    parameters: list[Parameter] = []
    groups: dict[str, Schema] = {}
    for given in merged(one, document):
        refused = frozenset(name for place, name in credentials if place == given.get("in"))
        parameter = read_parameter(given, refused, one.where)
        if is_settable(parameter, credentials):
            parameters.append(parameter)
            group = groups.setdefault(parameter.location, {"type": "object", "properties": {}})
            group["properties"][parameter.name] = value_schema(given, schemas, f"{one.where}.{parameter.label}")
            if given.get("required") is True or parameter.location == "path":
                group.setdefault("required", []).append(parameter.name)
    for place in PLACES:
        if place in groups:
            properties[place] = {**groups[place], "additionalProperties": False}
            if "required" in groups[place]:
                required.append(place)
    body, schema, needed = body_of(one, document, schemas)
    if body is not None:
        properties["body"] = schema
        if needed:
            required.append("body")
    whole: Schema = {"type": "object", "properties": properties}
    if required:
        whole["required"] = required
    whole["additionalProperties"] = False
    return Draft(one, servers.of(one.item, one.operation, one.where), tuple(parameters), body, whole)


def is_settable(parameter: Parameter, credentials: frozenset[tuple[str, str]]) -> bool:
    """Whether callers may set it. What they may not, the target's policies may."""
    if (parameter.location, parameter.name.lower()) in credentials:
        return False
    return parameter.location != "header" or may_be_set(parameter.name)


def merged(one: Found, document: Document) -> list[dict[str, Any]]:
    """The parameters of the path and of the operation, which wins, by place and name; those of the path first."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for holder in (one.item, one.operation):
        given = holder.get("parameters")
        given = [] if given is None else given
        if not isinstance(given, list):
            raise DocumentError(f"{one.where}.parameters: expected a list")
        for index, entry in enumerate(given):
            parameter = document.resolved(entry, f"{one.where}.parameters[{index}]")
            name = str(parameter.get("name"))
            place = str(parameter.get("in"))
            found[(place, name.lower() if place == "header" else name)] = parameter
    return list(found.values())


def value_schema(given: dict[str, Any], schemas: Schemas, where: str) -> Schema:
    """The schema of a parameter's value, with the parameter's description."""
    content = given.get("content")
    if isinstance(content, dict):
        ((media, entry),) = content.items() if len(content) == 1 else (("", None),)
        if not isinstance(entry, dict) or kind_of(media) != "json":
            raise DocumentError(f"{where}.content: expected one media type, JSON")
        schema = schemas.translate(entry.get("schema", {}), f"{where}.schema")
    else:
        schema = schemas.translate(given.get("schema", {}), f"{where}.schema")
    for key in ("description", "deprecated"):
        if given.get(key) and key not in schema:
            schema = {**schema, key: given[key]}
    return schema


def body_of(one: Found, document: Document, schemas: Schemas) -> tuple[BodyForm | None, Schema, bool]:
    """What the operation takes as its body, its schema, and whether there must be one."""
    if "requestBody" not in one.operation:
        return None, {}, False
    where = f"{one.where}.requestBody"
    given = document.resolved(one.operation["requestBody"], where)
    content = given.get("content")
    if not isinstance(content, dict) or not content:
        return None, {}, False
    media_type = min(content, key=lambda media: KINDS.index(kind_of(media)))
    media = document.resolved(content[media_type] or {}, f"{where}.content")
    kind = kind_of(media_type)
    fields: dict[str, Field] = {}
    if kind == "binary":
        schema: Schema = {**BYTES}
    elif kind == "text":
        schema = {"type": "string"}
    elif kind in ("form", "multipart"):
        schema, fields = form_of(media, document, schemas, where, parts=kind == "multipart")
    else:
        schema = schemas.translate(media.get("schema", {}), f"{where}.schema")
    if given.get("description") and "description" not in schema:
        schema = {**schema, "description": given["description"]}
    return BodyForm(kind, header_of(media_type, kind), fields), schema, given.get("required") is True


def form_of(
    media: dict[str, Any], document: Document, schemas: Schemas, where: str, *, parts: bool
) -> tuple[Schema, dict[str, Field]]:
    """The schema of a form, in which files are base64, and how each of its fields is sent."""
    given = document.resolved(media.get("schema") or {"type": "object"}, f"{where}.schema")
    schema = schemas.translate(given, f"{where}.schema")
    encodings = media.get("encoding")
    encodings = encodings if isinstance(encodings, dict) else {}
    described = given.get("properties")
    fields: dict[str, Field] = {}
    for name, entry in (described if isinstance(described, dict) else {}).items():
        encoding = encodings.get(name)
        encoding = encoding if isinstance(encoding, dict) else {}
        value = document.resolved(entry, f"{where}.{name}") if isinstance(entry, dict) else {}
        inner = value.get("items")
        item = document.resolved(inner, f"{where}.{name}.items") if isinstance(inner, dict) else {}
        if parts and (is_file(value, encoding) or is_file(item, encoding)):
            put = {**BYTES} if is_file(value, encoding) else {"type": "array", "items": {**BYTES}}
            about = {"description": value["description"]} if isinstance(value.get("description"), str) else {}
            schema["properties"][name] = {**put, **about}
            fields[name] = Field(None, part_type(encoding), True)
        else:
            fields[name] = Field(style_of(name, encoding), part_type(encoding), False)
    return schema, fields


def is_file(schema: dict[str, Any], encoding: dict[str, Any]) -> bool:
    if schema.get("type") == "string" and schema.get("format") == "binary":
        return True
    if "contentMediaType" in schema:
        return "contentEncoding" not in schema
    return not schema and kind_of(str(encoding.get("contentType", "text/plain"))) == "binary"


def part_type(encoding: dict[str, Any]) -> str:
    first = str(encoding.get("contentType", "")).partition(",")[0].strip()
    return header_of(first, "binary") if first and "*" not in first else ""


def style_of(name: str, encoding: dict[str, Any]) -> Parameter | None:
    if not {"style", "explode", "allowReserved"} & set(encoding):
        return None
    picked: dict[str, Any] = {key: encoding[key] for key in ("style", "explode", "allowReserved") if key in encoding}
    return read_parameter({"name": name, "in": "query", **picked}, frozenset(), name)


def tool(one: Found, schema: Schema, answer: Schema | None) -> dict[str, Any]:
    """The tool as `tools/list` has it."""
    summary = one.operation.get("summary")
    summary = summary if isinstance(summary, str) else ""
    about = one.operation.get("description")
    described = about if isinstance(about, str) and about else summary or one.name
    made: dict[str, Any] = {"name": one.name, "description": described, "inputSchema": schema}
    if answer is not None:
        made["outputSchema"] = answer
    if summary:
        made["title"] = summary.encode("utf-8", "replace")[:LONGEST_TITLE].decode("utf-8", "ignore")
    hints: dict[str, bool] = {"readOnlyHint": one.method in ("get", "head", "options")}
    if not hints["readOnlyHint"]:
        hints |= {"destructiveHint": one.method != "post", "idempotentHint": one.method in ("put", "delete")}
    made["annotations"] = hints
    return made
