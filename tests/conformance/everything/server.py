"""The server: every method of both eras, over the tools, prompts and resources beside this file."""

from collections.abc import Collection
from typing import Any

import mcp_types as types
import resources
from broken import FAULTS, UNPROTECTED, UNSEALED
from calls import Call, InputRequired, Json
from events import Events
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from prompts import PROMPTS  # its import brings the tools of questions.py
from starlette.applications import Starlette
from tools import TOOLS, ToolFailed

Context = ServerRequestContext[Any, Any]
NAME, VERSION = "everything", "1.0.0"
HINT = CacheHint(ttl_ms=60_000, scope="public")
CACHED = ("server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list")
RETRY = 50
"""Milliseconds after which a client comes back to a stream that was closed before the answer."""


def result(**members: Any) -> Json:
    """What ends a request; the SDK leaves `resultType` out where the protocol does not know it."""
    return {"resultType": "complete", **members}


class Everything(Server[Any]):
    """Says in the handshake too that its lists may change."""

    def create_initialization_options(self, *args: Any, **named: Any) -> InitializationOptions:
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changes, **named)


class Handlers:
    """What the server does, by method."""

    def __init__(self, bus: InMemorySubscriptionBus, checked: bool) -> None:
        self.bus = bus
        self.checked = checked

    async def list_tools(self, context: Context, params: Any) -> Json:
        return result(tools=[tool.listed() for tool in TOOLS.values()])

    async def call_tool(self, context: Context, params: types.CallToolRequestParams) -> Json:
        tool = TOOLS.get(params.name)
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        call = Call(context, params.name, params.arguments or {}, self.bus, self.checked)
        try:
            return result(content=await tool.serve(call))
        except InputRequired as asking:
            return asking.result
        except ToolFailed as error:
            return result(content=[{"type": "text", "text": str(error)}], isError=True)

    async def list_prompts(self, context: Context, params: Any) -> Json:
        return result(prompts=[prompt.listed() for prompt in PROMPTS.values()])

    async def get_prompt(self, context: Context, params: types.GetPromptRequestParams) -> Json:
        prompt = PROMPTS.get(params.name)
        if prompt is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        call = Call(context, params.name, params.arguments or {}, self.bus, self.checked)
        try:
            return result(description=prompt.description, messages=await prompt.serve(call))
        except InputRequired as asking:
            return asking.result

    async def list_resources(self, context: Context, params: Any) -> Json:
        return result(resources=resources.listed())

    async def list_templates(self, context: Context, params: Any) -> Json:
        return result(resourceTemplates=resources.listed_templates())

    async def read_resource(self, context: Context, params: types.ReadResourceRequestParams) -> Json:
        return result(contents=resources.read(str(params.uri)))

    async def complete(self, context: Context, params: types.CompleteRequestParams) -> Json:
        known = ("paris", "park", "party", "test", "tester")
        values = [value for value in known if value.startswith(params.argument.value)]
        return result(completion={"values": values, "total": len(values), "hasMore": False})

    async def accept(self, context: Context, params: Any) -> Json:
        """What changes nothing that this server does: a level of logging, a subscription to one session's resources."""
        return {}


def made(faults: Collection[str] = ()) -> Everything:
    """The server, with some of `FAULTS`."""
    bus = InMemorySubscriptionBus()
    handlers = Handlers(bus, checked=UNSEALED not in faults)
    server = Everything(
        NAME,
        version=VERSION,
        title="Everything",
        instructions="Every method of the protocol, for tests.",
        cache_hints={**dict.fromkeys(CACHED, HINT), "resources/read": HINT},
        get_tool_input_schema=lambda name: TOOLS[name].schema if name in TOOLS else None,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_subscribe_resource=handlers.accept,
        on_unsubscribe_resource=handlers.accept,
        on_subscriptions_listen=ListenHandler(bus),
        on_completion=handlers.complete,
        on_set_logging_level=handlers.accept,
    )
    if UNSEALED not in faults:
        server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    for fault in faults:
        if laid_over := FAULTS[fault]:
            server.middleware.insert(0, laid_over)
    return server


def application(faults: Collection[str] = ()) -> Starlette:
    """Streamable HTTP at `/mcp`."""
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False) if UNPROTECTED in faults else None
    return made(faults).streamable_http_app(event_store=Events(), retry_interval=RETRY, transport_security=security)
