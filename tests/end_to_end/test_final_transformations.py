"""`finalTransformation`: the last word on the provider's own document, before it is signed."""

import json
from typing import Any

import pytest
from agentgateway_auth_aws.testing import Endpoint

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

ENDPOINT = Endpoint("bedrock", "eu-west-1", {"AKIDFILE": "canary-in-the-file"}, {})
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
BEDROCK = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello."}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    "metrics": {"latencyMs": 7},
}


def answer(request: Received) -> bytes:
    if request.target == "/v1/messages":
        return reply(200, ANTHROPIC)
    ENDPOINT.verify(request.method, request.target, request.headers, request.body)
    return reply(200, BEDROCK)


CONFIG = """
llm:
  port: 0
  providers:
  - name: shared
    provider: anthropic
    params: {{apiKey: k, hostOverride: "{address}"}}
    defaults:
      finalTransformation:
        max_tokens: llmRequest.max_tokens / 2
        metadata: '{{"user_id": request.headers["x-user"]}}'
  models:
  - name: claude
    provider: {{reference: shared}}
    overrides: {{max_tokens: 100}}
    transformation: {{temperature: "0.25"}}
    finalTransformation:
      top_k: size(llmRequest.messages)
      temperature: llmRequest.nowhere
      service_tier: 'llmRequest.system[0].text == "Be brief." ? "standard_only" : "auto"'
  - name: bedrock
    provider: {{bedrock: {{guardrailIdentifier: g1, guardrailVersion: "1"}}}}
    params: {{hostOverride: "{address}", awsRegion: eu-west-1, model: eu.anthropic.claude-sonnet-4-5-v1:0}}
    auth: {{aws: {{accessKeyId: AKIDFILE, secretAccessKey: canary-in-the-file}}}}
    finalTransformation:
      inferenceConfig: '{{"maxTokens": llmRequest.inferenceConfig.maxTokens + 1}}'
      guardrailConfig: '{{"guardrailIdentifier": llmRequest.guardrailConfig.guardrailIdentifier + "-b"}}'
  - {{name: "*", provider: anthropic, params: {{apiKey: k, hostOverride: "{address}"}}}}
"""
CALL = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ],
    "max_tokens": 8,
    "temperature": 1,
}


@pytest.fixture
async def send(serve, client):
    async with Upstream(answer) as upstream:
        gateway = await serve(CONFIG.format(address=upstream.address))

        async def made(model: str, path: str = "/v1/chat/completions", **fields: Any) -> dict[str, Any]:
            call = {"model": model, **(fields or CALL)}
            answered = await client.post(gateway.url + path, json=call, headers={"x-user": "ada"})
            assert answered.status_code == 200, answered.text
            sent: dict[str, Any] = json.loads(upstream.received[-1].body)
            return sent

        made.gateway = gateway
        yield made


async def test_values_are_computed_on_the_translated_document(send):
    sent = await send("claude")
    assert sent["max_tokens"] == 50
    assert sent["metadata"] == {"user_id": "ada"}
    assert sent["service_tier"] == "standard_only"
    assert sent["top_k"] == 1


async def test_a_value_that_cannot_be_computed_removes_its_key(send):
    assert "temperature" not in await send("claude")


async def test_a_call_that_is_not_translated_gets_them_too(send):
    said = {"max_tokens": 8, "system": [{"type": "text", "text": "Go on."}], "messages": CALL["messages"][1:]}
    sent = await send("claude", "/v1/messages", **said)
    assert (sent["service_tier"], sent["max_tokens"], sent["system"]) == ("auto", 50, said["system"])


async def test_they_come_after_the_provider_and_before_the_signature(send):
    """The vendor verifies the signature of what it gets."""
    sent = await send("bedrock")
    assert sent["inferenceConfig"] == {"maxTokens": 9}
    assert sent["guardrailConfig"] == {"guardrailIdentifier": "g1-b"}


async def test_other_models_and_the_clients_own_call_stay_as_they_are(send):
    assert (await send("other"))["max_tokens"] == 8
    line = await send.gateway.logged("http.status=200")
    assert "other" in line


FULL = """
gateways: {{default: {{port: 0, policies: {{ai: {{finalTransformations: {{top_k: "1", top_p: "0.5"}}}}}}}}}}
routes:
- backends:
  - ai: {{provider: {{anthropic: {{model: m}}}}, hostOverride: "{address}"}}
    policies:
      backendAuth: {{key: k}}
      ai: {{finalTransformations: {{top_k: llmRequest.top_k + 1}}}}
"""


async def test_every_level_has_its_say_the_backend_last(serve, client):
    async with Upstream(answer) as upstream:
        gateway = await serve(FULL.format(address=upstream.address))
        answered = await client.post(gateway.url + "/v1/chat/completions", json={"model": "x", **CALL})
        assert answered.status_code == 200, answered.text
        sent = json.loads(upstream.received[0].body)
        assert (sent["top_k"], sent["top_p"]) == (2, 0.5)
