"""FastMCP's client."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import mcp_types as types
from fastmcp import Client
from mcp import MCPError
from steps import filled, heard, run


class Session:
    def __init__(self, url: str, mode: str) -> None:
        self.heard: list[Any] = []
        self.changed: set[str] = set()
        self.client = Client(
            url,
            mode=mode,
            cache=False,
            roots=self.roots,
            sampling_handler=self.sample,
            elicitation_handler=self.elicit,
            log_handler=self.log,
            progress_handler=self.progress,
            message_handler=self.message,
        )

    def opened(self) -> AbstractAsyncContextManager[Any]:
        return self.client

    def about(self) -> tuple[str, Any]:
        return self.client.session.protocol_version, self.client.session.server_capabilities

    async def sample(self, messages: Any, params: Any, context: Any) -> str:
        self.heard.append(["sampling", messages[0].content.text])
        return "sampled"

    async def elicit(self, message: str, response_type: Any, params: Any, context: Any) -> Any:
        self.heard.append(["elicitation", message])
        return filled(params.requested_schema)

    async def roots(self, context: Any) -> list[types.Root]:
        self.heard.append(["roots"])
        return [types.Root(uri="file:///srv/root", name="root")]

    async def log(self, message: Any) -> None:
        self.heard.append(["log", message.level, message.data])

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.heard.append(["progress", done, total])

    async def message(self, message: Any) -> None:
        method = getattr(message, "method", "")
        if method.endswith(("list_changed", "resources/updated")):
            self.changed.add(method)

    async def step(self, name: str, *given: Any) -> Any:
        client = self.client
        match name:
            case "tools":
                return await client.list_tools()
            case "prompts":
                return await client.list_prompts()
            case "resources":
                return await client.list_resources()
            case "templates":
                return await client.list_resource_templates()
            case "call":
                return await client.call_tool_mcp(*given)
            case "read":
                return await client.read_resource_mcp(*given)
            case "prompt":
                return await client.get_prompt_mcp(*given)
            case "complete":
                prompt, argument, value = given
                reference = types.PromptReference(type="ref/prompt", name=prompt)
                return await client.complete_mcp(reference, {"name": argument, "value": value})
            case "change":
                return await self.change(*given)
        raise ValueError(name)

    async def change(self, tool: str, arguments: Any, method: str, uri: str = "") -> str:
        if self.client.session.protocol_version >= "2026":
            return "this client does not listen in the newer era"
        if uri:
            await self.client.session.subscribe_resource(uri)
        return await heard(self.changed, method, lambda: self.client.call_tool_mcp(tool, arguments))


run(Session, MCPError)
