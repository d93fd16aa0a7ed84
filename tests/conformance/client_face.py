"""A client of the official suite that is the gateway: an SDK client does what a scenario asks, and the gateway is
between it and the suite's server. Users log in by following the gateway's links, as a browser would.

    python -m tests.conformance.client_face URL             # one scenario, as the suite's environment names it
    python -m tests.conformance.client_face --serve SOCKET  # one after the other, for client_command.py
"""

import asyncio
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import httpx2
import mcp_types as types
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from ..end_to_end.conftest import Serve, serving
from ..end_to_end.zygote import Zygote

T = TypeVar("T")
MODERN = "2026-07-28"
KEY = "the-key-of-ada"
DOCUMENT = "https://conformance-test.local/client-metadata.json"
"""The client ID metadata document that the suite expects."""
LOGINS = 5
"""How often a user logs in for one request before they give up."""
QUIET = 0.3
"""Seconds after which no more scenarios are waited for: the suite starts all of them at once."""
EXTENSIONS = ("client-credentials", "dpop", "enterprise-managed", "wif-jwt")
"""Scenarios that the suite runs and does not count: other ways to log in than a user's own."""
CONFIG = """
config: {adminAddr: "off", statsAddr: "off", readinessAddr: "off", store: {url: "memory:"}}
gateways: {default: {port: 0, address: 127.0.0.1}}
routes:
"""
ROUTE = """
- name: "{place}"
  matches: [{{path: {{pathPrefix: /{place}/mcp}}}}]
  policies:
    apiKey: {{keys: [{{key: {key}, metadata: {{user: ada}}}}], location: {{header: {{name: x-api-key}}}}}}
  backends:
  - mcp:
      targets:
      - name: suite
        mcp: {{host: "{url}"}}
        login: {{authorizationCode: {login}}}
"""


class Scenario:
    """One scenario: what the suite says of it, and the gateway's URL."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self.name = given["MCP_CONFORMANCE_SCENARIO"]
        modern = given.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "") >= MODERN
        self.mode = "auto" if self.name == "request-metadata" else MODERN if modern else "legacy"
        self.context: dict[str, Any] = json.loads(given.get("MCP_CONFORMANCE_CONTEXT") or "{}")
        self.url = given["url"]
        self.gateway = ""

    @property
    def login(self) -> dict[str, Any]:
        """How users log in: `client_id`s that the suite has are those of its authorization server."""
        if "issuer" not in self.context:
            return {"clientMetadataUrl": DOCUMENT}
        client, secret = self.context["client_id"], self.context["client_secret"]
        return {"issuer": self.context["issuer"], "clientId": client, "clientSecret": secret}

    async def run(self) -> None:
        """Raises whatever goes wrong."""
        for _ in range(LOGINS):
            try:
                async with httpx2.AsyncClient(headers={"x-api-key": KEY}) as http:
                    server = streamable_http_client(self.gateway, http_client=http)
                    async with Client(server, mode=self.mode, elicitation_callback=self.elicit, cache=None) as client:
                        return await STEPS.get(self.name, listed_and_called)(self, client)
            except BaseExceptionGroup as errors:
                if (url := link_in(only(errors))) is None:
                    raise
                await log_in(url)
            except MCPError as error:
                if (url := link_in(error)) is None:
                    raise
                await log_in(url)
        raise RuntimeError("logged in too often")

    async def logged_in(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What is answered once the user has logged in."""
        for _ in range(LOGINS):
            try:
                return await ask()
            except MCPError as error:
                if (url := link_in(error)) is None:
                    raise
                await log_in(url)
        raise RuntimeError("logged in too often")

    async def elicit(self, context: Any, params: Any) -> types.ElicitResult:
        if params.mode == "url":
            await log_in(params.url)
            return types.ElicitResult(action="accept")
        fields = params.requested_schema.get("properties", {})
        kinds = {"boolean": True, "string": "text", "integer": 1, "number": 1.5}
        filled = {name: one.get("default", kinds.get(one.get("type"))) for name, one in fields.items()}
        return types.ElicitResult(action="accept", content=filled)


def only(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup) and len(errors.exceptions) == 1:
        errors = errors.exceptions[0]
    return errors


def link_in(error: BaseException) -> str | None:
    """Where an error sends the user, if it does."""
    data = error.data if isinstance(error, MCPError) else None
    if not isinstance(data, dict):
        return None
    elicitations = data.get("elicitations")
    return elicitations[0]["url"] if elicitations else data.get("url")


async def log_in(url: str) -> None:
    """What a user does: open the page, press the button, and go where they are sent."""
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        asked = await browser.get(url)
        if "<form" in asked.text:
            await browser.post(url, headers={"origin": "{0.scheme}://{0.netloc}".format(urlsplit(url))})


# --- what scenarios ask -----------------------------------------------------------------------------------------------


async def listed_and_called(scenario: Scenario, client: Client) -> None:
    """Every tool that there is, with arguments that fit."""
    tools = (await scenario.logged_in(client.list_tools)).tools
    for tool in tools:
        await scenario.logged_in(lambda tool=tool: client.call_tool(tool.name, filled(tool.input_schema)))


def filled(schema: dict[str, Any]) -> dict[str, Any]:
    values = {"number": 3, "integer": 3, "string": "text", "boolean": True, "array": [], "object": {}}
    return {name: values.get(one.get("type")) for name, one in schema.get("properties", {}).items()}


async def listed(scenario: Scenario, client: Client) -> None:
    await client.list_tools()


async def as_told(scenario: Scenario, client: Client) -> None:
    await client.list_tools()
    for call in scenario.context["toolCalls"]:
        await client.call_tool(call["name"], call["arguments"])


async def everything(scenario: Scenario, client: Client) -> None:
    await listed_and_called(scenario, client)
    for resource in (await client.list_resources()).resources:
        await client.read_resource(str(resource.uri))
    for prompt in (await client.list_prompts()).prompts:
        await client.get_prompt(prompt.name)


async def echoed(scenario: Scenario, client: Client) -> None:
    focal, echo = (await client.list_tools()).tools
    await client.call_tool(echo.name, {"schema": focal.input_schema})


STEPS = {
    "initialize": listed,
    "http-standard-headers": everything,
    "http-custom-headers": as_told,
    "json-schema-ref-no-deref": listed,
    "json-schema-2020-12-preservation": echoed,
}


# --- who asks ---------------------------------------------------------------------------------------------------------


class Gateways:
    """One gateway for all scenarios that come together, each with a route of its own."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._waiting: list[tuple[Scenario, asyncio.Future[str]]] = []
        self._quiet: asyncio.TimerHandle | None = None
        self._start: asyncio.Task[None] | None = None

    async def place(self, scenario: Scenario) -> str:
        """The URL at which the scenario's server is to be had through a gateway."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[str] = loop.create_future()
        self._waiting.append((scenario, found))
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = loop.call_later(QUIET, self._begin)
        return await found

    def _begin(self) -> None:
        self._start = asyncio.create_task(self._serve_all(self._waiting))
        self._waiting = []

    async def _serve_all(self, waiting: list[tuple[Scenario, asyncio.Future[str]]]) -> None:
        routes = [
            ROUTE.format(place=place, key=KEY, url=scenario.url, login=json.dumps(scenario.login))
            for place, (scenario, _) in enumerate(waiting)
        ]
        served = await self._serve(CONFIG + "".join(routes))
        for place, (_, found) in enumerate(waiting):
            found.set_result(f"http://127.0.0.1:{served.port}/{place}/mcp")


async def play(gateways: Gateways, given: Mapping[str, str]) -> None:
    scenario = Scenario(given)
    if not any(name in scenario.name for name in EXTENSIONS):
        scenario.gateway = await gateways.place(scenario)
        await scenario.run()


async def attend(gateways: Gateways, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One `client_command.py`: what went wrong, and the exit code."""
    try:
        await play(gateways, json.loads(await reader.readline()))
        writer.write(b"0\n")
    except Exception:
        writer.write(traceback.format_exc().encode() + b"\n1\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, closing(Zygote()) as zygote:
        async with serving(Path(folder), "edge", zygote if sys.argv[1] == "--serve" else None) as serve:
            gateways = Gateways(serve)
            if sys.argv[1] != "--serve":
                return await play(gateways, {"url": sys.argv[-1], **os.environ})
            await asyncio.start_unix_server(lambda *ends: attend(gateways, *ends), sys.argv[2])
            print("listening on", sys.argv[2], flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # the SDK deprecates what the older era needs
    asyncio.run(main())
