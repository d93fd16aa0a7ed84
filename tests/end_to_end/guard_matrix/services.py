"""The services that guards ask, as their vendors publish them, in one server: words in a text say what they find."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentgateway_auth_aws.testing import Endpoint

from agentgateway.testing import Received
from agentgateway.testing.upstreams import reply

Json = dict[str, Any]
KEY = "key-of-the-operator"
MASKED = "***"
AWS = Endpoint("bedrock", "eu-west-1", {"AKID": KEY}, {})


@dataclass(frozen=True)
class Service:
    """A guard that asks: `config` of it for an address, `masks` whether it can, `answer` to what path."""

    name: str
    config: Callable[[str], Json]
    masks: bool
    path: str
    answer: Callable[[Received, str, str], Json]


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
    )
}


def judge(mask: str, block: str) -> Callable[[Received], bytes]:
    """All of them at one address."""

    def answer(request: Received) -> bytes:
        (service,) = (one for one in SERVICES.values() if request.target.startswith(one.path))
        return reply(200, service.answer(request, mask, block))

    return answer
