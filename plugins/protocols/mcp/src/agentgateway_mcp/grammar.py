"""Where in a message the protocol's own words stand: names, addresses, kinds, marks, encoded bytes. All else is text.

Of the schemas of 2024-11-05 to 2026-07-28 with tasks, https://modelcontextprotocol.io/specification, and MCP Apps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agentgateway_mcp.texts import FREE, Place, Rule, own

# What stands in messages of both sides

INFO = own("name", "version", "websiteUrl", icons=own("src", "mimeType", "sizes", "sizes[]", "theme"))
META = Place(
    frozenset(
        (
            *("progressToken", "traceparent", "tracestate", "baggage", "ui/resourceUri"),
            *(f"io.modelcontextprotocol/{name}" for name in ("protocolVersion", "logLevel", "subscriptionId")),
        )
    ),
    within={
        "io.modelcontextprotocol/serverInfo": INFO,
        "io.modelcontextprotocol/clientInfo": own("title", *INFO.own, icons=INFO.within["icons"]),
        "io.modelcontextprotocol/related-task": own("taskId"),
        "ui": own("resourceUri", "visibility[]"),
    },
)
ANNOTATED: dict[str, Rule] = {
    "_meta": META,
    "annotations": own("audience[]", "lastModified"),
    "icons": INFO.within["icons"],
}
CONTENTS = own("uri", "mimeType", "blob", **ANNOTATED)
LINK = own("type", "uri", "name", "mimeType", **ANNOTATED)


def block(holder: dict[str, Any]) -> Place:
    """A block of content, by its type. One that nobody knows has no words but that."""
    kind = holder.get("type")
    return BLOCKS.get(kind, UNKNOWN_BLOCK) if isinstance(kind, str) else UNKNOWN_BLOCK


UNKNOWN_BLOCK = own("type", **ANNOTATED)
BLOCKS = {
    "image": own("type", "data", "mimeType", **ANNOTATED),
    "audio": own("type", "data", "mimeType", **ANNOTATED),
    "resource": own("type", resource=CONTENTS, **ANNOTATED),
    "resource_link": LINK,
    "tool_use": own("type", "id", "name", **ANNOTATED),
    "tool_result": own("type", "toolUseId", content=block, **ANNOTATED),
}


def schema(_: dict[str, Any]) -> Place:
    return SCHEMA


SCHEMAS = Place(each=schema)
SCHEMA = own(
    *("type", "type[]", "format", "$ref", "$schema", "$id", "$anchor", "contentEncoding", "contentMediaType"),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas", "$defs", "definitions"), SCHEMAS),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems", "items", "not", "if", "then", "else"), schema),
    **dict.fromkeys(("additionalProperties", "propertyNames", "contains", "contentSchema"), schema),
    **dict.fromkeys(("unevaluatedItems", "unevaluatedProperties"), schema),
)
TOOL = own(
    "name", inputSchema=SCHEMA, outputSchema=SCHEMA, execution=own("taskSupport"), **{**ANNOTATED, "annotations": FREE}
)
MESSAGES = own("role", content=block, _meta=META)

# What servers say

TASK_WORDS = ("taskId", "status", "createdAt", "lastUpdatedAt")
ERROR = FREE


def result(holder: dict[str, Any]) -> Place:
    return TASK if "taskId" in holder else RESULT


def question(holder: dict[str, Any]) -> Place:
    """A message of a server, or a question in a result."""
    method = holder.get("method")
    return SERVERS.get(method, UNKNOWN) if isinstance(method, str) else UNKNOWN


RESULT = own(
    *("resultType", "protocolVersion", "supportedVersions[]", "nextCursor", "cacheScope", "requestState"),
    _meta=META,
    content=block,
    contents=CONTENTS,
    messages=MESSAGES,
    tools=TOOL,
    prompts=own("name", arguments=own("name"), **ANNOTATED),
    resources=own("uri", "name", "mimeType", **ANNOTATED),
    resourceTemplates=own("uriTemplate", "name", "mimeType", **ANNOTATED),
    serverInfo=INFO,
    inputRequests=Place(each=question, keyed=True),
    task=own(*TASK_WORDS, _meta=META),
    tasks=own(*TASK_WORDS, _meta=META),
)
TASK = replace(RESULT, own=RESULT.own | set(TASK_WORDS), within={**RESULT.within, "result": result})
SAID = {
    "notifications/message": own("level", _meta=META),
    "notifications/progress": own("progressToken", _meta=META),
    "notifications/cancelled": own("requestId", _meta=META),
    "notifications/resources/updated": own("uri", _meta=META),
    "notifications/elicitation/complete": own("elicitationId", _meta=META),
    "notifications/subscriptions/acknowledged": own(
        _meta=META, notifications=own("resourceSubscriptions[]", "taskIds[]")
    ),
    "notifications/tasks/status": TASK,
    "notifications/tasks": TASK,
    "elicitation/create": own("mode", "elicitationId", requestedSchema=SCHEMA, _meta=META),
    "sampling/createMessage": own(
        "includeContext",
        messages=MESSAGES,
        tools=TOOL,
        toolChoice=own("mode"),
        modelPreferences=own(hints=own("name")),
        _meta=META,
    ),
}
"""Parameters of servers' requests and notifications."""
MESSAGE_WORDS = ("jsonrpc", "id", "method")
UNKNOWN = own(*MESSAGE_WORDS, result=result, error=ERROR, params=own(_meta=META))
SERVERS = {method: own(*MESSAGE_WORDS, result=result, error=ERROR, params=params) for method, params in SAID.items()}

# What clients say


def answer(holder: dict[str, Any]) -> Place:
    """What a client answers to a question: a model's words (sampling), its roots, or what its user filled in."""
    return ANSWERED if "action" in holder else SAMPLED


ANSWERED = own("action", _meta=META)
SAMPLED = own("model", "stopReason", "role", content=block, roots=own("uri"), _meta=META)
RESPONSES: dict[str, Rule] = {"inputResponses": Place(each=answer, keyed=True), "_meta": META}
SENT = {
    "initialize": own("protocolVersion", clientInfo=META.within["io.modelcontextprotocol/clientInfo"], _meta=META),
    "tools/call": own("name", "requestState", **RESPONSES),
    "prompts/get": own("name", "requestState", **RESPONSES),
    "completion/complete": own(ref=own("type", "name", "uri"), _meta=META),
    "logging/setLevel": own("level", _meta=META),
    "subscriptions/listen": own(_meta=META, notifications=own("resourceSubscriptions[]", "taskIds[]")),
    "notifications/cancelled": own("requestId", _meta=META),
    "notifications/progress": own("progressToken", _meta=META),
    **dict.fromkeys(
        ("resources/read", "resources/subscribe", "resources/unsubscribe"), own("uri", "requestState", **RESPONSES)
    ),
    **dict.fromkeys(("tasks/get", "tasks/result", "tasks/update", "tasks/cancel"), own("taskId", **RESPONSES)),
    **dict.fromkeys(
        ("tools/list", "prompts/list", "resources/list", "resources/templates/list", "tasks/list"),
        own("cursor", _meta=META),
    ),
}
"""Parameters of clients' requests and notifications."""
METHODS = frozenset(SENT) | {
    *("ping", "server/discover", "notifications/initialized", "notifications/roots/list_changed"),
}
"""What clients may ask by the specification."""
CLIENTS = {method: own(*MESSAGE_WORDS, params=params) for method, params in SENT.items()}
CLIENT_RESPONSE = own(*MESSAGE_WORDS, result=answer, params=own(_meta=META))


def asked(holder: dict[str, Any]) -> Place:
    """A message of a client."""
    method = holder.get("method")
    return CLIENTS.get(method, CLIENT_RESPONSE) if isinstance(method, str) else CLIENT_RESPONSE
