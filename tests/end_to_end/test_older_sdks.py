"""The official SDKs of the major before through a gateway, each in a process of its own that tells what it saw.

`make install` puts them where this environment's own packages, the newest majors, do not see them.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agentgateway.testing import Received, Upstream

from .matrix import vendors as matrix
from .matrix.cases import CASES
from .matrix.transcripts import pieces, played, streamed, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")
OLDER = Path(sys.prefix) / "older"
SCRIPTS = Path(__file__).with_name("older")
VENDORS = {kind: vendor for vendor in reversed(matrix.VENDORS) for kind in vendor.provider if not vendor.simulated}
"""One row of the matrix for each provider."""
SPOKEN = ("completions", "responses", "messages", "converse")
"""How paths end, and the folders of transcripts."""
CLIENTS = {
    "openai": ("2.", {"stop": "stop", "tools": "tool_calls", "error": ["RateLimitError", 429]}),
    "anthropic": ("0.", {"stop": "end_turn", "tools": "tool_use", "error": ["RateLimitError", 429]}),
    "google": ("1.", {"stop": "STOP", "tools": "STOP", "error": ["ClientError", 429]}),
}


@pytest.fixture(scope="module")
def face() -> str:
    """One will do: what SDKs send does not depend on their age."""
    return "edge"


def answer(request: Received) -> Any:
    """The vendor's transcript, by the path and by what is said."""
    end = request.target.partition("?")[0].rpartition("/")[2].rpartition(":")[2]
    streams = "stream" in end.lower() or request.json().get("stream", False)
    folder = next((name for name in SPOKEN if end.startswith(name)), "gemini")
    if b"Too much." in request.body:
        return b"".join(whole((folder,), "rate-limit"))
    name = "tools" if b"get_weather" in request.body else "text"
    return played(pieces(*streamed((folder,), name))) if streams else b"".join(whole((folder,), name))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(serve_all: Callable[..., Any]) -> AsyncIterator[str]:
    async with Upstream(answer) as upstream:
        models = [
            {
                "name": name,
                "provider": vendor.provider,
                "params": {"apiKey": "k", "hostOverride": upstream.address, "model": vendor.model},
            }
            for name, vendor in VENDORS.items()
        ]
        gateway = await serve_all(f"llm: {json.dumps({'port': 0, 'models': models})}\n")
        yield gateway.url


async def told(sdk: str, url: str) -> Any:
    """What the process of that SDK saw."""
    assert OLDER.is_dir(), "the older SDKs are not there: run `make install`"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SCRIPTS / f"{sdk}_sdk.py"), url, *VENDORS),
        env={**os.environ, "PYTHONPATH": str(OLDER)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return json.loads(out)


@pytest.mark.parametrize("sdk", CLIENTS)
async def test_an_older_sdk_reaches_every_provider(url: str, sdk: str) -> None:
    version, words = CLIENTS[sdk]
    seen = await told(sdk, url)
    assert seen["version"].startswith(version)
    assert seen["models"] == sorted(VENDORS)
    text, used = CASES["text"].seen.text, CASES["text"].seen.usage
    assert used is not None
    called = [[list(call) for call in CASES["tools"].seen.calls], words["tools"]]
    error = [*words["error"], CASES["rate-limit"].seen.error]
    for model in VENDORS:
        assert seen["chat"][model] == {
            "text": text,
            "usage": [used.input, used.output],
            "stop": words["stop"],
            "streamed": text,
            "streamed usage": [used.input, used.output],
            "tools": called,
            "streamed tools": called,
            "error": error,
            "streamed error": error,
        }
        if "responses" in seen:
            assert seen["responses"][model] == {
                "text": text,
                "usage": [used.input, used.output],
                "streamed": text,
                "streamed usage": [used.input, used.output],
                "error": error,
            }
