"""The Python SDK's client (1.x); it knows the older era only."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from mcp import ClientSession, McpError, types
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client
from pydantic import AnyUrl
from steps import filled, heard, pages, run


class Session:
    def __init__(self, url: str, mode: str) -> None:
        self.heard: list[Any] = []
        self.changed: set[str] = set()
        self.url = url

    def opened(self) -> AbstractAsyncContextManager[Any]:
        return self._opened()

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        transport = sse_client if self.url.endswith("/sse") else streamablehttp_client
        async with transport(self.url) as (read, write, *_):
            self.client = ClientSession(
                read,
                write,
                sampling_callback=self.sample,
                elicitation_callback=self.elicit,
                list_roots_callback=self.roots,
                logging_callback=self.log,
                message_handler=self.message,
            )
            async with self.client:
                self.server = await self.client.initialize()
                yield

    def about(self) -> tuple[str, Any]:
        return str(self.server.protocolVersion), self.server.capabilities

    async def sample(self, context: Any, params: Any) -> types.CreateMessageResult:
        self.heard.append(["sampling", params.messages[0].content.text])
        content = types.TextContent(type="text", text="sampled")
        return types.CreateMessageResult(role="assistant", content=content, model="none")

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        self.heard.append(["elicitation", params.message])
        return types.ElicitResult(action="accept", content=filled(params.requestedSchema))

    async def roots(self, context: Any) -> types.ListRootsResult:
        self.heard.append(["roots"])
        return types.ListRootsResult(roots=[types.Root(uri=AnyUrl("file:///srv/root"), name="root")])

    async def log(self, params: Any) -> None:
        self.heard.append(["log", params.level, params.data])

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.heard.append(["progress", done, total])

    async def message(self, message: Any) -> None:
        if isinstance(message, Exception):
            self.heard.append(["exception", repr(message)])
        elif isinstance(message, types.ServerNotification) and message.root.method.endswith(
            ("list_changed", "updated")
        ):
            self.changed.add(message.root.method)

    async def step(self, name: str, *given: Any) -> Any:
        client = self.client
        match name:
            case "tools":
                return await pages("tools", client.list_tools)
            case "prompts":
                return await pages("prompts", client.list_prompts)
            case "resources":
                return await pages("resources", client.list_resources)
            case "templates":
                return await pages("resourceTemplates", client.list_resource_templates)
            case "call":
                return await client.call_tool(*given, progress_callback=self.progress)
            case "read":
                return await client.read_resource(AnyUrl(given[0]))
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
        if uri:
            await self.client.subscribe_resource(AnyUrl(uri))
        return await heard(self.changed, method, lambda: self.client.call_tool(tool, arguments))


run(Session, McpError)
