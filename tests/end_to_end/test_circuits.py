"""What is seen of a guard that failed so often that nobody asks it any more."""

import httpx
import pytest

from agentgateway.testing import Upstream
from agentgateway.testing.upstreams import reply

CALL = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
WELL = reply(200, {"action": {"reason": "nothing"}})


@pytest.mark.parametrize("answer", [reply(500, {}), WELL], ids=["failing", "working"])
async def test_the_metric_and_the_dump_tell_of_each_guard(serve, client: httpx.AsyncClient, answer: bytes) -> None:
    async with Upstream(answer) as service:
        webhook = f"{{webhook: {{target: {{host: '{service.address}'}}}}"
        gateway = await serve(f"""
            config: {{adminAddr: 127.0.0.1:0, statsAddr: 127.0.0.1:0, readinessAddr: "off"}}
            gateways: {{default: {{port: 0, address: 127.0.0.1}}}}
            llm:
              policies:
                guardrails:
                  response: [{{regex: {{rules: [{{pattern: secret}}]}}}}]
              models:
              - name: m
                provider: simulator
                guardrails:
                  request:
                  - {webhook}, name: outside, circuitBreaker: {{failures: 2, duration: 1h}}}}
        """)
        for _ in range(3):
            await client.post(gateway.url + "/v1/chat/completions", json=CALL)
        metrics = (await client.get(gateway.urls["stats"] + "/metrics")).text
        dump = (await client.get(gateway.urls["admin"] + "/config_dump")).json()
        broken = answer is not WELL
        assert len(service.received) == (2 if broken else 3)
    lines = {line for line in metrics.splitlines() if line.startswith("agentgateway_guardrail_circuit_open")}
    outside = 'guard="outside",phase="Request",at="llm.models[0].guardrails.request[0]"'
    regex = 'guard="regex",phase="Response",at="llm.policies.guardrails.response[0]"'
    assert lines == {
        f"agentgateway_guardrail_circuit_open{{{outside}}} {int(broken)}",
        f"agentgateway_guardrail_circuit_open{{{regex}}} 0",
    }
    told = {guard["guard"]: (guard["at"], guard["failures"], guard["openFor"] > 3500) for guard in dump["guards"]}
    assert told == {
        "outside": ("llm.models[0].guardrails.request[0]", 2 if broken else 0, broken),
        "regex": ("llm.policies.guardrails.response[0]", 0, False),
    }
