"""The services that guards ask, as their vendors publish them: words in a text say what they find."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from agentgateway_auth_aws.testing import Endpoint
from google.cloud import modelarmor_v1 as armor

from agentgateway.testing import Received
from agentgateway.testing.upstreams import reply

Json = dict[str, Any]
KEY = "key-of-the-operator"
MASKED = "***"
AWS = Endpoint("bedrock", "eu-west-1", {"AKID": KEY}, {})


@dataclass(frozen=True)
class Service:
    """A guard that asks: `config` of it for an address, `masks` whether it can, `answer` to what path. A service
    without one speaks gRPC."""

    name: str
    config: Callable[[str], Json]
    masks: bool
    path: str = ""
    answer: Callable[[Received, str, str], Json] | None = None


def webhook(request: Received, mask: str, block: str) -> Json:
    body = request.json()["body"]
    messages = body["messages"] if request.target == "/request" else [each["message"] for each in body["choices"]]
    whole = json.dumps(messages)
    if block in whole:
        return {"action": {"body": "refused by the webhook", "status_code": 403, "reason": whole}}
    if mask not in whole:
        return {"action": {"reason": "fine"}}
    shown = [{**each, "content": each["content"].replace(mask, MASKED)} for each in messages]
    masked = {"messages": shown} if request.target == "/request" else {"choices": [{"message": one} for one in shown]}
    return {"action": {"body": masked, "reason": whole}}


def azure(request: Received, mask: str, block: str) -> Json:
    assert request.headers["ocp-apim-subscription-key"] == KEY
    severity = 6 if block in request.json()["text"] else 0
    found = [{"category": one, "severity": severity} for one in ("Hate", "SelfHarm", "Sexual", "Violence")]
    return {"blocklistsMatch": [], "categoriesAnalysis": found}


def moderations(request: Received, mask: str, block: str) -> Json:
    assert request.headers["authorization"] == f"Bearer {KEY}"
    flags = [block in text for text in request.json()["input"]]
    return {"id": "modr-1", "model": "m", "results": [{"flagged": one, "categories": {"hate": one}} for one in flags]}


def bedrock(request: Received, mask: str, block: str) -> Json:
    AWS.verify(request.method, request.target, request.headers, request.body)
    texts = [each["text"]["text"] for each in request.json()["content"]]
    whole = " ".join(texts)
    if block in whole:
        topic = {"name": "x", "type": "DENY", "action": "BLOCKED"}
        return intervened(["Sorry."], {"topicPolicy": {"topics": [topic]}})
    if mask not in whole:
        return {"action": "NONE", "outputs": [], "assessments": [], "usage": {}}
    entity = {"match": mask, "type": "NAME", "action": "ANONYMIZED"}
    policy = {"sensitiveInformationPolicy": {"piiEntities": [entity], "regexes": []}}
    return intervened([text.replace(mask, MASKED) for text in texts], policy)


def intervened(texts: list[str], assessment: Json) -> Json:
    outputs = [{"text": text} for text in texts]
    return {"action": "GUARDRAIL_INTERVENED", "outputs": outputs, "assessments": [assessment], "usage": {}}


def keyed(**config: Any) -> Json:
    return {**config, "policies": {"backendAuth": {"key": KEY}}}


def signed(url: str) -> Json:
    aws = {"accessKeyId": "AKID", "secretAccessKey": KEY}
    return {
        **{"guardrailIdentifier": "gr1", "guardrailVersion": "1", "region": "eu-west-1", "endpoint": url},
        "policies": {"backendAuth": {"aws": aws}},
    }


SERVICES = {
    one.name: one
    for one in (
        Service("webhook", lambda url: {"target": url}, True, "/re", webhook),
        Service(
            "azureContentSafety",
            lambda url: keyed(endpoint=url, analyzeText={}),
            *(False, "/contentsafety/", azure),
        ),
        Service("openAIModeration", lambda url: keyed(baseUrl=f"{url}/v1"), False, "/v1/moderations", moderations),
        Service("bedrockGuardrails", signed, True, "/guardrail/", bedrock),
        Service("googleModelArmor", lambda url: {"templateId": "t", "projectId": "p", "endpoint": url}, False),
    )
}


def judge(mask: str, block: str) -> Callable[[Received], bytes]:
    """All of those that speak HTTP, at one address."""
    paths = {service.path: service.answer for service in SERVICES.values() if service.answer is not None}

    def answer(request: Received) -> bytes:
        (found,) = (each for path, each in paths.items() if request.target.startswith(path))
        return reply(200, found(request, mask, block))

    return answer


Judgement = Callable[[str], Awaitable[armor.SanitizationResult]]


@asynccontextmanager
async def model_armor(judgement: Judgement) -> AsyncIterator[str]:
    """Google's Model Armor over gRPC; its address."""

    async def prompt(request: armor.SanitizeUserPromptRequest, _: Any) -> armor.SanitizeUserPromptResponse:
        found = await judgement(request.user_prompt_data.text)
        return armor.SanitizeUserPromptResponse(sanitization_result=found)

    async def answer(request: armor.SanitizeModelResponseRequest, _: Any) -> armor.SanitizeModelResponseResponse:
        found = await judgement(request.model_response_data.text)
        return armor.SanitizeModelResponseResponse(sanitization_result=found)

    prompts = armor.SanitizeUserPromptRequest.deserialize, armor.SanitizeUserPromptResponse.serialize
    answers = armor.SanitizeModelResponseRequest.deserialize, armor.SanitizeModelResponseResponse.serialize
    methods = {
        "SanitizeUserPrompt": grpc.unary_unary_rpc_method_handler(prompt, *prompts),
        "SanitizeModelResponse": grpc.unary_unary_rpc_method_handler(answer, *answers),
    }
    server = grpc.aio.server()
    service = "google.cloud.modelarmor.v1.ModelArmor"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"http://127.0.0.1:{port}"
    await server.stop(0)


def judging(block: str, asked: list[str]) -> Judgement:
    async def judgement(text: str) -> armor.SanitizationResult:
        asked.append(text)
        states = armor.FilterMatchState
        state = states.MATCH_FOUND if block in text else states.NO_MATCH_FOUND
        return armor.SanitizationResult(filter_match_state=state, invocation_result=armor.InvocationResult.SUCCESS)

    return judgement


async def silent(_: str) -> armor.SanitizationResult:
    await asyncio.Event().wait()
    return armor.SanitizationResult()


async def saying_nothing(_: str) -> armor.SanitizationResult:
    return armor.SanitizationResult()
