"""Canaries in every field that holds a secret, errors of every kind, and a search of everything the gateway says."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from agentgateway._host.cli import main
from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

CANARIES = {
    name: f"canary-{name}-4f1d9c"
    for name in ("client", "rival", "upstream", "backend", "vendor", "file", "passing", "jwk", "url", "environment")
}
CHAT = {"model": "openai", "messages": [{"role": "user", "content": "hi"}]}
CONFIG = """
config:
  adminAddr: 127.0.0.1:0
  statsAddr: 127.0.0.1:0
  readinessAddr: "off"
  logging: {{level: debug, format: {format}}}
gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
frontendPolicies:
  accessLog:
    add:
      key: apiKey.key
      who: apiKey
backends:
  - name: kept
    host: "{upstream}"
    policies: {{backendAuth: {{key: canary-backend-4f1d9c}}}}
routes:
  - name: plain
    matches: [{{path: {{pathPrefix: /plain}}}}]
    backends: [{{backend: kept}}]
  - name: dead
    matches: [{{path: {{pathPrefix: /dead}}}}]
    backends: [{{host: "127.0.0.1:1", policies: {{backendAuth: {{key: {{file: secret.key}}}}}}}}]
  - name: token
    matches: [{{path: {{pathPrefix: /token}}}}]
    policies:
      jwtAuth:
        issuer: https://login.example.com/
        audiences: [gateway]
        jwks: {{url: "http://user:canary-url-4f1d9c@127.0.0.1:1/jwks?key=canary-url-4f1d9c"}}
    backends: [{{internal: {{}}}}]
llm:
  gateways: default
  policies:
    apiKey:
      mode: strict
      keys: [{{key: canary-client-4f1d9c, metadata: {{user: ada}}}}, {{key: canary-rival-4f1d9c, allowedModels: []}}]
  models:
    - name: openai
      provider: openAI
      params: {{apiKey: canary-upstream-4f1d9c, hostOverride: "{upstream}"}}
    - name: anthropic
      provider: anthropic
      params: {{apiKey: {{file: secret.key}}, hostOverride: "{upstream}"}}
    - name: vendor
      provider: openAI
      params: {{hostOverride: "{upstream}"}}
    - name: environment
      provider: openAI
      params: {{apiKey: $A_SECRET, hostOverride: "{upstream}"}}
    - name: dead
      provider: openAI
      params: {{apiKey: canary-upstream-4f1d9c, hostOverride: "127.0.0.1:1"}}
"""
ENVIRONMENT = {"OPENAI_API_KEY": CANARIES["vendor"], "A_SECRET": CANARIES["environment"]}


def leaked(*texts: str) -> set[str]:
    return {name for name, canary in CANARIES.items() if any(canary in text for text in texts)}


async def command(*arguments: str, folder: Path) -> str:
    """All that a command says."""
    program = str(Path(sys.executable).with_name("agentgateway"))
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        cwd=folder,
        env=ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return said.decode()


def answers(request: Received) -> bytes | AsyncIterator[bytes]:
    """An upstream that fails in the way its path or body asks for; a vendor's error quotes no key, as vendors do."""
    if b"hang up" in request.body:
        return cut()
    if b"refuse" in request.body:
        return reply(401, {"error": {"message": "Incorrect API key provided", "type": "invalid_request_error"}})
    if b"nonsense" in request.body:
        return b"\x00\x01 this is no HTTP\r\n\r\n"
    return reply(200, b"not what was asked for")


async def cut() -> AsyncIterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
    raise ConnectionResetError


@pytest.mark.parametrize("form", ["json", "text"])
async def test_no_secret_is_in_anything_a_running_gateway_says(
    serve: Any, client: httpx.AsyncClient, tmp_path: Path, form: str
) -> None:
    (tmp_path / "secret.key").write_text(CANARIES["file"] + "\n")
    said: list[str] = []
    async with Upstream(answers) as upstream:
        gateway = await serve(CONFIG.format(upstream=upstream.address, format=form), env=ENVIRONMENT)
        url = next(url for name, url in gateway.urls.items() if name not in ("admin", "stats"))
        for word in ("hi", "hang up", "refuse", "nonsense"):
            for model in ("openai", "anthropic", "vendor", "environment", "dead", "none"):
                for path in ("/v1/chat/completions", "/v1/messages"):
                    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": word}]}
                    answered = await client.post(
                        url + path,
                        json=body,
                        headers={
                            "authorization": f"Bearer {CANARIES['client']}",
                            "x-secret": CANARIES["passing"],
                            "cookie": f"session={CANARIES['passing']}",
                            "proxy-authorization": CANARIES["passing"],
                        },
                    )
                    said.append(repr((answered.headers, answered.text)))
        for headers in (
            {"authorization": f"Bearer {CANARIES['rival']}"},
            {"authorization": f"Bearer {CANARIES['passing']}"},
            {"x-api-key": CANARIES["passing"]},
            {"authorization": CANARIES["passing"]},
        ):
            for path in ("/v1/chat/completions", "/token", f"/token?access_token={CANARIES['passing']}", "/dead"):
                answered = await client.post(url + path, json=CHAT, headers=headers)
                said.append(repr((answered.headers, answered.text)))
        for path in ("/plain", "/dead", "/plain?key=" + CANARIES["passing"]):
            answered = await client.get(url + path)
            said.append(repr((answered.headers, answered.text)))
        seen = json.dumps([[received.headers, received.target] for received in upstream.received])
        assert leaked(seen) >= {"upstream", "backend", "vendor", "environment", "file"}  # they do go where they belong
        assert "client" not in leaked(seen)

        admin, stats = (listening(gateway.log, name) for name in ("admin", "stats"))
        said += [(await client.get(admin + "/config_dump")).text, (await client.get(stats + "/metrics")).text]
        assert '"chains"' in said[-2] and "agentgateway_requests_total" in said[-1]
        good = gateway.file.read_text()
        for broken in (
            good.replace("mode: strict", "mode: strange"),
            good.replace("Authorization", "x") + "\n  x: 1\n",
        ):
            before = gateway.log.count("the previous one stays in use")
            gateway.rewrite(broken)
            async with asyncio.timeout(10):
                while gateway.log.count("the previous one stays in use") == before:
                    await asyncio.sleep(0.02)
        await gateway.stop()
    assert len(gateway.access) > 40
    assert leaked(*said) == set()
    assert leaked(gateway.log) == set()
    assert leaked(*gateway.access) == set()
    for arguments in (["explain"], ["validate"]):
        gateway.file.write_text(good)
        told = await command(*arguments, str(gateway.file), folder=tmp_path)
        assert told and leaked(told) == set()


def listening(log: str, name: str) -> str:
    (line,) = [line for line in log.splitlines() if f"({name})" in line]
    return line.partition("listening on ")[2].partition(" ")[0]


SPOILED = {
    "a type": ("mode: strict", "mode: 5"),
    "a word": ("mode: strict", "mode: strange"),
    "a key beside a key": ("canary-client-4f1d9c, ", "canary-client-4f1d9c, kee: canary-client-4f1d9c, "),
    "a key twice": ("canary-rival-4f1d9c", "canary-client-4f1d9c"),
    "a key as a list": ("key: canary-client-4f1d9c", "key: [canary-client-4f1d9c]"),
    "a key as a mapping": ("key: canary-client-4f1d9c", "key: {canary-client-4f1d9c: 1}"),
    "a key with a blank": ("key: canary-client-4f1d9c", "key: 'canary-client-4f1d9c x'"),
    "a key with a colour": ("key: canary-client-4f1d9c", "key: 'canary-client-4f1d9c \\u00e9'"),
    "a key for a hash": ("key: canary-client-4f1d9c", "keyHash: canary-client-4f1d9c"),
    "a hash of another kind": ("key: canary-client-4f1d9c", "keyHash: 'sha256:canary-client-4f1d9c'"),
    "a key as a file name": ("key: canary-client-4f1d9c", "key: {file: canary-client-4f1d9c, x: 1}"),
    "an upstream key with a line end": ("apiKey: canary-upstream-4f1d9c", 'apiKey: "canary-upstream-4f1d9c\\r\\nx: y"'),
    "an upstream key as a list": ("apiKey: canary-upstream-4f1d9c", "apiKey: [canary-upstream-4f1d9c]"),
    "a backend key without its field": ("{key: canary-backend-4f1d9c}", "canary-backend-4f1d9c"),
    "keys that are no key set": ('{url: "http://user', '{file: secret.key, x: "http://user'),
    "a key set from elsewhere": ("http://user", "ftp://user"),
    "a key set as text": ('{url: "http://user:canary-url-4f1d9c@127.0.0.1:1/jwks?key=', '"{\\"keys\\": [}'),
    "a key set in a secret's file": (
        '{url: "http://user:canary-url-4f1d9c@127.0.0.1:1/jwks?key=',
        "{file: secret.key} #",
    ),
    "a variable that is not set": ("$A_SECRET", "$canary_A_SECRET"),
    "broken YAML after a secret": ("canary-upstream-4f1d9c, ", "canary-upstream-4f1d9c: {, "),
    "a tag on a secret": ("apiKey: canary-upstream-4f1d9c", "apiKey: !secret canary-upstream-4f1d9c"),
    "an alias of a secret": ("apiKey: canary-upstream-4f1d9c", "apiKey: *canary-upstream-4f1d9c"),
    "a host with a password": ('host: "{upstream}"', 'host: "http://u:canary-url-4f1d9c@h:1"'),
}


@pytest.mark.parametrize(("good", "bad"), SPOILED.values(), ids=SPOILED)
def test_no_error_of_a_configuration_quotes_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: str, bad: str
) -> None:
    (tmp_path / "secret.key").write_text(CANARIES["file"])
    text = CONFIG.replace("{{", "{").replace("}}", "}")
    assert good in text
    text = text.replace(good, bad).replace("{upstream}", "127.0.0.1:1").replace("{format}", "text")
    file = tmp_path / "spoiled.yaml"
    file.write_text(text)
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - ENVIRONMENT.keys():
        monkeypatch.delenv(name)
    said = CliRunner(env=ENVIRONMENT).invoke(main, ["validate", str(file)]).output  # a process each takes two seconds
    assert said.startswith(f"error: {file}:"), said
    assert "Traceback" not in said
    allowed = {"client"} if "file: canary-client" in bad else set()  # the name of a file is no secret
    assert leaked(said) <= allowed, said


async def test_the_schema_and_the_list_of_plugins_know_no_environment(tmp_path: Path) -> None:
    assert leaked(await command("schema", folder=tmp_path), await command("plugins", folder=tmp_path)) == set()
