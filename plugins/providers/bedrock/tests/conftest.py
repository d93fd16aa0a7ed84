"""The dialect under test, and streams as a vendor sends them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from agentgateway_bedrock.converse import Converse
from agentgateway_bedrock.frames import event, exception

from agentgateway.llm.dialects.completions import Completions
from agentgateway.llm.dialects.messages import Messages

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def converse() -> Converse:
    return Converse()


@pytest.fixture
def messages() -> Messages:
    return Messages()


@pytest.fixture
def completions() -> Completions:
    return Completions()


@pytest.fixture
def golden() -> Callable[[str], Any]:
    """A transcript of the vendor's documentation: `golden("tools.reply")`."""

    def read(name: str) -> Any:
        return json.loads((GOLDEN / f"{name}.json").read_text())

    return read


@pytest.fixture
def framed() -> Callable[[Iterable[dict[str, Any]]], bytes]:
    """Events as boto3 shows them, `{"messageStop": {…}}`, on the wire."""

    def write(events: Iterable[dict[str, Any]]) -> bytes:
        out = b""
        for one in events:
            ((name, payload),) = one.items()
            out += exception(name, payload) if name.endswith("Exception") else event(name, payload)
        return out

    return write
