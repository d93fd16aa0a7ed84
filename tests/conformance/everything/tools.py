"""The tools that answer by themselves; the names and the answers are those that the conformance suite looks for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import contents
from calls import Call
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged
from mcp_types import (
    PromptListChangedNotification,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
    ResourceUpdatedNotificationParams,
    ToolListChangedNotification,
)

Serve = Callable[[Call], Awaitable[list[dict[str, Any]]]]
STEP = 0.05
"""Seconds between two notifications of one tool: a client has to see them come one by one."""


@dataclass(frozen=True)
class Tool:
    """`serve` returns content blocks."""

    name: str
    description: str
    serve: Serve
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "object"})

    def listed(self) -> dict[str, Any]:
        return {"name": self.name, "description": self.description, "inputSchema": self.schema}


TOOLS: dict[str, Tool] = {}


def tool(description: str, **properties: Any) -> Callable[[Serve], Serve]:
    """Offer a function as a tool of its name; every property is required."""
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = list(properties)

    def offer(serve: Serve) -> Serve:
        TOOLS[serve.__name__] = Tool(serve.__name__, description, serve, schema)
        return serve

    return offer


@tool("Answers with a sentence.")
async def test_simple_text(call: Call) -> list[dict[str, Any]]:
    return [contents.text("This is a simple text response for testing.")]


@tool("Answers with an image.")
async def test_image_content(call: Call) -> list[dict[str, Any]]:
    return [contents.image()]


@tool("Answers with a sound.")
async def test_audio_content(call: Call) -> list[dict[str, Any]]:
    return [contents.audio()]


@tool("Answers with a resource.")
async def test_embedded_resource(call: Call) -> list[dict[str, Any]]:
    return [contents.resource("test://embedded-resource", "This is an embedded resource content.")]


@tool("Answers with a sentence, an image and a resource.")
async def test_multiple_content_types(call: Call) -> list[dict[str, Any]]:
    return [
        contents.text("Multiple content types test:"),
        contents.image(),
        contents.resource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ]


@tool("Fails.")
async def test_error_handling(call: Call) -> list[dict[str, Any]]:
    raise ToolFailed("This tool intentionally returns an error for testing")


class ToolFailed(Exception):
    """What a tool raises to answer with `isError`."""


@tool("Logs three lines.")
async def test_tool_with_logging(call: Call) -> list[dict[str, Any]]:
    for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await call.log(line)
        await asyncio.sleep(STEP)
    return [contents.text("Three lines logged.")]


@tool("Logs a line, if the client wants any.")
async def test_logging_tool(call: Call) -> list[dict[str, Any]]:
    await call.log("Logging tool called")
    return [contents.text("A line logged, if you wanted any.")]


@tool("Says three times how far it is.")
async def test_tool_with_progress(call: Call) -> list[dict[str, Any]]:
    for done in (0, 50, 100):
        await call.progress(done, 100)
        await asyncio.sleep(STEP)
    return [contents.text("Done in three steps.")]


@tool("Closes the stream before it answers, so that the client has to come back for the answer.")
async def test_reconnection(call: Call) -> list[dict[str, Any]]:
    if call.context.close_sse_stream is not None:
        await call.context.close_sse_stream()
    await asyncio.sleep(2 * STEP)
    return [contents.text("You have come back.")]


@tool("Says that the list of tools has changed.")
async def test_trigger_tool_change(call: Call) -> list[dict[str, Any]]:
    await call.bus.publish(ToolsListChanged())
    if not call.modern:
        await call.context.session.send_notification(ToolListChangedNotification())
    return [contents.text("Said so.")]


@tool("Says that the list of prompts has changed.")
async def test_trigger_prompt_change(call: Call) -> list[dict[str, Any]]:
    await call.bus.publish(PromptsListChanged())
    if not call.modern:
        await call.context.session.send_notification(PromptListChangedNotification())
    return [contents.text("Said so.")]


@tool("Says that the list of resources has changed.")
async def test_trigger_resource_change(call: Call) -> list[dict[str, Any]]:
    await call.bus.publish(ResourcesListChanged())
    if not call.modern:
        await call.context.session.send_notification(ResourceListChangedNotification())
    return [contents.text("Said so.")]


@tool("Says that a resource has changed.", uri={"type": "string"})
async def test_update_resource(call: Call) -> list[dict[str, Any]]:
    uri = call.arguments["uri"]
    await call.bus.publish(ResourceUpdated(uri))
    if not call.modern:
        params = ResourceUpdatedNotificationParams(uri=uri)
        await call.context.session.send_notification(ResourceUpdatedNotification(params=params))
    return [contents.text("Said so.")]


@tool("Repeats a region that also has to stand in a header.", region={"type": "string", "x-mcp-header": "Region"})
async def test_header_parameter(call: Call) -> list[dict[str, Any]]:
    return [contents.text(f"region={call.arguments['region']}")]


async def _schema_kept(call: Call) -> list[dict[str, Any]]:
    return [contents.text("The schema is what matters.")]


TOOLS["json_schema_2020_12_tool"] = Tool(
    "json_schema_2020_12_tool",
    "Tool with JSON Schema 2020-12 features",
    _schema_kept,
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
)
