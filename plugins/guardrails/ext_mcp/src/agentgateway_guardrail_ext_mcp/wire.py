"""The messages of the gRPC service `agentgateway.dev.ext_mcp.ExtMcp`, as the reference's `ext_mcp.proto` has them:
names and numbers of fields, from which the runtime makes classes. Loads protobuf."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

PACKAGE = "agentgateway.dev.ext_mcp"
STRUCT = ".google.protobuf.Struct"
NUMBERS = {"string": 9, "message": 11, "bytes": 12, "enum": 14}
"""`FieldDescriptorProto.Type`."""
CODES = ("UNKNOWN", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "INVALID")
RESULT = {"pass": (1, "Pass"), "mutated": (2, "bytes"), "error": (3, "AuthorizationError")}
"""One of them."""
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Pass": {},
    "McpHeader": {"key": (1, "string"), "value": (2, "bytes")},
    "HeaderMutation": {"set": (1, "McpHeader*"), "remove": (2, "string*")},
    "AuthorizationError": {"code": (1, "Code"), "reason": (2, "string"), "mcp_error": (3, "bytes?")},
    "McpRequest": {
        "service_names": (1, "string*"),
        "method": (2, "string"),
        "metadata_context": (3, STRUCT),
        "mcp_request": (4, "bytes?"),
        "headers": (5, "McpHeader*"),
    },
    "McpResponse": {
        "service_names": (1, "string*"),
        "method": (2, "string"),
        "metadata_context": (3, STRUCT),
        "mcp_response": (4, "bytes"),
    },
    "McpRequestResult": {"header_mutation": (4, "HeaderMutation"), "metadata": (5, STRUCT)},
    "McpResponseResult": {},
}
"""Fields by name: the number, and the type; `*` is repeated, `?` optional."""


def classes() -> dict[str, Any]:
    """A class for each message, by name. They are in a pool of their own: others may have the same names."""
    file = descriptor_pb2.FileDescriptorProto(name="ext_mcp.proto", package=PACKAGE, syntax="proto3")
    file.dependency.append("google/protobuf/struct.proto")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        if name.endswith("Result"):
            message.oneof_decl.add(name="result")
            for field, (number, kind) in RESULT.items():
                add(message, field, number, kind).oneof_index = 0
        for field, (number, kind) in fields.items():
            add(message, field, number, kind)
        if name == "AuthorizationError":
            codes = message.enum_type.add(name="Code")
            for number, code in enumerate(CODES):
                codes.value.add(name=code, number=number)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    named = pool.FindMessageTypeByName
    found = {name: message_factory.GetMessageClass(named(f"{PACKAGE}.{name}")) for name in MESSAGES}
    return {**found, "Struct": message_factory.GetMessageClass(named(STRUCT[1:]))}


def add(message: Any, name: str, number: int, kind: str) -> Any:
    """A field."""
    bare = kind.rstrip("*?")
    field = message.field.add(name=name, number=number, label=3 if kind.endswith("*") else 1)
    if bare in NUMBERS:
        field.type = NUMBERS[bare]
    elif bare == "Code":
        field.type, field.type_name = NUMBERS["enum"], f".{PACKAGE}.{message.name}.Code"
    else:
        field.type, field.type_name = NUMBERS["message"], bare if bare[0] == "." else f".{PACKAGE}.{bare}"
    if kind.endswith("?"):
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
    return field
