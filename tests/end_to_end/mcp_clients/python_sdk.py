"""The Python SDK's client (2.x)."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import mcp_types as types
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from steps import WAIT, filled, heard, pages, run


class Session:
    def __init__(self, url: str, mode: str) -> None:
        self.heard: list[Any] = []
        self.changed: set[str] = set()
        self.client = Client(
            sse_client(url) if url.endswith("/sse") else url,
            mode=mode,
            cache=None,
            log_level="debug",
            sampling_callback=self.sample,
            elicitation_callback=self.elicit,
            list_roots_callback=self.roots,
            logging_callback=self.log,
            message_handler=self.message,
        )

    def opened(self) -> AbstractAsyncContextManager[Any]:
        return self.client

    def about(self) -> tuple[str, Any]:
        return self.client.protocol_version, self.client.server_capabilities

    async def sample(self, context: Any, params: Any) -> types.CreateMessageResult:
        self.heard.append(["sampling", params.messages[0].content.text])
        content = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        self.heard.append(["elicitation", params.message])
        return types.ElicitResult(action="accept", content=filled(params.requested_schema))

    async def roots(self, context: Any) -> types.ListRootsResult:
        self.heard.append(["roots"])
        return types.ListRootsResult(roots=[types.Root(uri="file:///srv/root", name="root")])

    async def log(self, params: Any) -> None:
        self.heard.append(["log", params.level, params.data])

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.heard.append(["progress", done, total])

    async def message(self, message: Any) -> None:
        if isinstance(message, Exception):
            self.heard.append(["exception", repr(message)])
        elif message.method.endswith(("list_changed", "resources/updated")):
            self.changed.add(message.method)

    async def step(self, name: str, *given: Any) -> Any:
        client = self.client
        match name:
            case "tools":
                return await pages("tools", lambda cursor: client.list_tools(cursor=cursor))
            case "prompts":
                return await pages("prompts", lambda cursor: client.list_prompts(cursor=cursor))
            case "resources":
                return await pages("resources", lambda cursor: client.list_resources(cursor=cursor))
            case "templates":
                return await pages("resource_templates", lambda cursor: client.list_resource_templates(cursor=cursor))
            case "call":
                return await client.call_tool(*given, progress_callback=self.progress)
            case "read":
                return await client.read_resource(*given)
            case "prompt":
                return await client.get_prompt(*given)
            case "complete":
                prompt, argument, value = given
                reference = types.PromptReference(type="ref/prompt", name=prompt)
                return await client.complete(reference, {"name": argument, "value": value})
            case "change":
                return await self.change(*given)
        raise ValueError(name)

    async def change(self, tool: str, arguments: Any, method: str, uri: str = "") -> str:
        if self.client.protocol_version >= "2026":
            return await self.listen(tool, arguments, [uri] if uri else [])
        if uri:
            await self.client.subscribe_resource(uri)
        return await heard(self.changed, method, lambda: self.client.call_tool(tool, arguments))

    async def listen(self, tool: str, arguments: Any, uris: list[str]) -> str:
        wanted = self.client.listen(tools_list_changed=True, prompts_list_changed=True, resource_subscriptions=uris)
        async with asyncio.timeout(WAIT), wanted as subscription:
            await self.client.call_tool(tool, arguments)
            async for event in subscription:
                return type(event).__name__
        raise ValueError("the subscription ended")


run(Session, MCPError)
