"""What the gateway relies on, whatever the plugin does."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic
import pytest
from agentgateway_bedrock.plugin import Bedrock

from agentgateway.errors import InvalidRequest
from agentgateway.exchange import Headers, Outgoing
from agentgateway.llm.calls import LlmCall
from agentgateway.testing import DialectContract, ProviderContract, chat, make

GOLDEN = Path(__file__).parent / "golden"


class TestProviderContract(ProviderContract):
    name = "bedrock"
    config = {"region": "us-east-1", "guardrailIdentifier": "gr1", "guardrailVersion": "DRAFT"}


class TestDialectContract(DialectContract):
    name = "converse"
    call = json.loads((GOLDEN / "tools.request.json").read_text())
    reply = json.loads((GOLDEN / "tools.reply.json").read_text())
    spoken = "WZPZ"


def bedrock(**config: str) -> Bedrock:
    made: Bedrock = make("agentgateway.providers", "bedrock", {"region": "eu-west-1", **config})
    return made


def finished(provider: Bedrock, call: LlmCall, **headers: str) -> Outgoing:
    outgoing = Outgoing("POST", provider.url, provider.path(call), Headers.of(headers))
    provider.finish(outgoing, call)
    return outgoing


def asking(model: str, *, stream: bool = False) -> LlmCall:
    return chat(model=model, stream=stream).call.translated(chat(speaks="converse").call.dialect)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("us-east-1", "https://bedrock-runtime.us-east-1.amazonaws.com"),
        ("us-gov-west-1", "https://bedrock-runtime.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_region_says_where_it_is(region: str, url: str) -> None:
    assert make("agentgateway.providers", "bedrock", {"region": region}).url == url


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("amazon.nova-lite-v1:0", False, "/model/amazon.nova-lite-v1%3A0/converse"),
        ("amazon.nova-lite-v1:0", True, "/model/amazon.nova-lite-v1%3A0/converse-stream"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
            False,
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2F"
            "us.anthropic.claude-sonnet-4-20250514-v1%3A0/converse",
        ),
        ("a/../b?c#d", False, "/model/a%2F..%2Fb%3Fc%23d/converse"),
    ],
)
def test_the_model_stands_in_the_path(model: str, stream: bool, path: str) -> None:
    assert bedrock().path(asking(model, stream=stream)) == path


def test_the_operators_guardrail_is_in_every_call() -> None:
    call = asking("m")
    call.document["guardrailConfig"] = {"guardrailIdentifier": "weak", "guardrailVersion": "1", "trace": "enabled"}
    finished(bedrock(guardrailIdentifier="strong", guardrailVersion="3"), call)
    assert json.loads(call.body())["guardrailConfig"] == {
        "guardrailIdentifier": "strong",
        "guardrailVersion": "3",
    }


@pytest.mark.parametrize("config", [{"guardrailIdentifier": "x"}, {"guardrailVersion": "1"}, {"guardrailVersion": "0"}])
def test_half_a_guardrail_is_refused(config: dict[str, str]) -> None:
    with pytest.raises(pydantic.ValidationError):
        bedrock(**config)


def test_a_region_is_needed() -> None:
    with pytest.raises(pydantic.ValidationError):
        make("agentgateway.providers", "bedrock", {})


def test_it_says_what_is_signed_for_and_what_it_accepts() -> None:
    outgoing = finished(bedrock(), asking("m", stream=True))
    assert outgoing.scope == ("bedrock", "eu-west-1")
    assert outgoing.headers.get("accept") == "application/vnd.amazon.eventstream"
    assert finished(bedrock(), asking("m")).headers.get("accept") == "application/json"


def test_beta_features_of_claude_go_into_the_body() -> None:
    call = asking("eu.anthropic.claude-sonnet-4-5")
    outgoing = finished(bedrock(), call, **{"anthropic-beta": "context-1m-2025-08-07, x"})
    assert "anthropic-beta" not in outgoing.headers
    assert call.document["additionalModelRequestFields"]["anthropic_beta"] == ["context-1m-2025-08-07", "x"]
    call = asking("amazon.nova-lite-v1:0")
    finished(bedrock(), call, **{"anthropic-beta": "x"})
    assert "additionalModelRequestFields" not in call.document


def test_metadata_may_come_in_a_header() -> None:
    call = asking("m")
    outgoing = finished(bedrock(), call, **{"x-bedrock-metadata": '{"team":"red"}'})
    assert "x-bedrock-metadata" not in outgoing.headers
    assert call.document["requestMetadata"] == {"team": "red"}
    with pytest.raises(InvalidRequest):
        finished(bedrock(), asking("m"), **{"x-bedrock-metadata": '{"team":1}'})
