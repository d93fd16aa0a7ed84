"""The requests that are made: a call of about 1.8 KB, the same streamed, and one of about 200 KB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILLER = "You are a helpful assistant for ACME Corp. Answer concisely and cite the handbook section. "
TICKET = "The printer on floor 3 is jammed again. "
PARAGRAPH = 'Lorem ipsum dolor sit amet, "quoted" text\n and more words here. '


def call(*, stream: bool = False, turns: int = 0) -> bytes:
    """A chat completions request; `turns` adds turns of 1 KB to the conversation."""
    messages = [
        {"role": "system", "content": FILLER * 8},
        {"role": "user", "content": "Summarise the following ticket: " + TICKET * 18},
        {"role": "assistant", "content": "Sure."},
        {"role": "user", "content": 'Now in French "please" été.'},
    ]
    messages += [{"role": ("user", "assistant")[i % 2], "content": PARAGRAPH * 15} for i in range(turns)]
    document: dict[str, Any] = {
        "model": "mock-model",
        "messages": messages,
        "temperature": 0.2,
        "max_completion_tokens": 256,
        "stream": stream,
        "user": "u-123",
    }
    if stream:
        document["stream_options"] = {"include_usage": True}
    return json.dumps(document).encode()


def write(folder: Path) -> dict[str, Path]:
    """The requests as files, by name: `small`, `stream`, `large`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, body in {"small": call(), "stream": call(stream=True), "large": call(turns=200)}.items():
        files[name] = folder / f"{name}.json"
        files[name].write_bytes(body)
    return files
