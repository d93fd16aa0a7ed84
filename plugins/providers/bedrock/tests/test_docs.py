"""`docs/dialects.md` lists every field that the dialect knows, with its fate; and AWS's own model has no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from agentgateway_bedrock.converse import Converse

PAGE = Path(__file__).parents[4] / "docs" / "dialects.md"
ROW = re.compile(r"^\| `([^`]+)` \| (carried|refused|dropped) \|", re.MULTILINE)


def listed(title: str) -> dict[str, str]:
    """Fields and fates of the table under that heading."""
    _, found, rest = PAGE.read_text().partition(f"## {title}\n")
    assert found, f"no section {title}"
    return dict(ROW.findall(rest.partition("\n## ")[0]))


def test_the_page_lists_what_the_dialect_does() -> None:
    assert listed("`converse`: calls") == dict(Converse.fields)
    assert listed("`converse`: replies") == dict(Converse.reply_fields)
    assert listed("To `converse`") == dict(Converse.inexpressible)


def shape(name: str) -> Any:
    return botocore.session.Session().get_service_model("bedrock-runtime").shape_for(name)


@pytest.mark.parametrize("name", ["ConverseRequest", "ConverseStreamRequest"])
def test_every_field_of_a_call_has_a_fate(name: str) -> None:
    assert set(shape(name).members) - {"modelId"} - set(Converse.fields) == set()


def test_every_block_has_a_fate() -> None:
    known = {field.partition("[].content[")[2].partition("]")[0] for field in Converse.fields}
    assert set(shape("ContentBlock").members) - known == set()


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("ImageBlock", "messages[].content[image]."),
        ("DocumentBlock", "messages[].content[document]."),
        ("ToolUseBlock", "messages[].content[toolUse]."),
        ("ToolResultBlock", "messages[].content[toolResult]."),
        ("ReasoningContentBlock", "messages[].content[reasoningContent]."),
        ("CachePointBlock", "messages[].content[cachePoint]."),
        ("SearchResultBlock", "messages[].content[searchResult]."),
        ("CitationsContentBlock", "messages[].content[citationsContent]."),
        ("InferenceConfiguration", "inferenceConfig."),
        ("ToolConfiguration", "toolConfig."),
        ("ToolSpecification", "toolConfig.tools[toolSpec]."),
        ("ToolChoice", "toolConfig.toolChoice."),
        ("OutputConfig", "outputConfig."),
        ("ServiceTier", "serviceTier."),
    ],
)
def test_every_field_inside_has_a_fate(name: str, prefix: str) -> None:
    known = {field.removeprefix(prefix) for field in Converse.fields if field.startswith(prefix)}
    assert set(shape(name).members) - known == set()


def test_every_field_of_a_reply_has_a_fate() -> None:
    assert set(shape("ConverseResponse").members) - set(Converse.reply_fields) == set()
    told = {f"usage.{name}" for name in shape("TokenUsage").members}
    assert told - set(Converse.reply_fields) == set()


def test_every_reason_to_stop_is_known() -> None:
    text = PAGE.read_text()
    assert [reason for reason in shape("StopReason").enum if f"`{reason}`" not in text] == []
