"""Names that stand for several models, as a client meets them."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

MODELS = """
llm:
  port: 0
  models:
  - name: broken
    visibility: internal
    provider: {simulator: {fail: {error: 503}}}
    health: {eviction: {duration: 60s}}
  - name: private
    visibility: internal
    provider: {simulator: {reply: "private: {text}"}}
    authorization: {rules: ['default(request.headers["x-user"], "") == "ada"']}
  - name: guarded
    visibility: internal
    provider: {simulator: {reply: "guarded: {text} call me at 555-0100"}}
    guardrails:
      request: [{regex: {action: reject, rules: [{pattern: forbidden}]}, rejection: {status: 422, body: not here}}]
      response: [{regex: {rules: [{pattern: "555-[0-9]+"}]}}]
  - {name: edited, visibility: internal, provider: {simulator: {reply: "{model}: {text}"}}, overrides: {max_tokens: 2}}
  - {name: "family/*", visibility: internal, provider: {simulator: {reply: "{model}: {text}"}}}
  - {name: plain, provider: {simulator: {reply: "plain: {text}", directives: false}}}
  virtualModels:
  - {name: allowed, routing: {failover: {targets: [{model: private}, {model: plain, priority: 1}]}}}
  - {name: alone, routing: {failover: {targets: [{model: private}]}}}
  - name: careful
    routing:
      failover: {targets: [{model: broken}, {model: guarded, priority: 1}, {model: plain, priority: 2}]}
  - {name: short, routing: {failover: {targets: [{model: edited}, {model: plain, priority: 1}]}}}
  - {name: healing, routing: {failover: {targets: [{model: broken}, {model: plain, priority: 1}]}}}
  - {name: wild, routing: {weighted: {targets: [{model: family/one}]}}}
  - name: tiered
    routing: {conditional: {targets: [{when: 'llmRequest.user == "vip"', model: family/big}, {model: plain}]}}
  - {name: picky, routing: {conditional: {targets: [{when: 'llmRequest.user == "vip"', model: plain}]}}}
  - {name: unlucky, routing: {conditional: {targets: [{when: "true", model: broken}, {model: plain}]}}}
"""


@pytest.fixture
async def ask(serve, client):
    gateway = await serve(MODELS)

    async def send(model: str, text: str = "hi", *, headers: dict[str, str] | None = None, **fields):
        call = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        return await client.post(gateway.url + "/v1/chat/completions", json=call, headers=headers)

    send.gateway = gateway
    return send


def said(answer) -> str:
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


async def test_a_target_that_the_caller_may_not_use_is_passed_over(ask):
    assert said(await ask("allowed", headers={"x-user": "ada"})) == "private: hi"
    assert said(await ask("allowed", headers={"x-user": "eve"})) == "plain: hi"
    assert (await ask("alone", headers={"x-user": "eve"})).status_code == 403


async def test_a_targets_guards_hold_when_the_call_comes_to_it_by_failing_over(ask):
    refused = await ask("careful", "a forbidden word")
    assert (refused.status_code, refused.json()["error"]["message"]) == (422, "not here")
    line = await ask.gateway.logged("http.status=422")
    assert "retry.attempt=1" in line and "reason=Guardrail" in line
    assert said(await ask("careful")) == "guarded: hi call me at <masked>"


async def test_a_targets_guards_hold_on_streams(ask):
    answer = await ask("careful", stream=True)
    assert "555" not in answer.text and "<masked>" in answer.text


async def test_edits_of_one_target_stay_with_it(ask):
    assert said(await ask("short", "one two three")) == "edited: one"
    assert said(await ask("short", "[[simulate error=503]] one two three", max_tokens=50)).startswith("plain: ")


async def test_what_failed_is_left_alone_afterwards(ask):
    assert said(await ask("healing")) == "plain: hi"
    assert said(await ask("healing", "again")) == "plain: again"
    first, second = [line async for line in lines(ask.gateway, 2)]
    assert "retry.attempt=1" in first and "retry.attempt" not in second


async def lines(gateway, count: int):
    async with asyncio.timeout(10):
        while len(gateway.access) < count:
            await asyncio.sleep(0.01)
    for line in gateway.access:
        yield line


async def test_a_name_that_fits_a_pattern_is_what_the_provider_is_asked_for(ask):
    assert said(await ask("wild")) == "family/one: hi"


async def test_the_first_condition_that_holds_decides_and_nothing_else_is_asked(ask):
    assert said(await ask("tiered", user="vip")) == "family/big: hi"
    assert said(await ask("tiered", user="ann")) == "plain: hi"
    assert said(await ask("tiered")) == "plain: hi"
    nobody = await ask("picky")
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (400, "virtual_model_no_matching_target")
    assert (await ask("unlucky")).status_code == 503


async def test_clients_see_and_reach_only_what_is_public(ask, client):
    listed = await client.get(ask.gateway.url + "/v1/models")
    assert {one["id"] for one in listed.json()["data"]} == {
        *("plain", "allowed", "alone", "careful", "short", "healing", "wild", "tiered", "picky", "unlucky")
    }
    for name in ("private", "family/one"):
        assert (await ask(name)).status_code == 404


async def test_the_log_names_what_was_asked_for_and_who_answered(ask):
    await ask("wild")
    line = await ask.gateway.logged("route_rule=wild")
    assert "gen_ai.request.model=wild" in line and "gen_ai.response.model=family/one" in line


@pytest.mark.parametrize(
    ("routing", "says"),
    [
        (
            "{failover: {targets: [{model: nobody}]}}",
            ["virtualModels[0].routing.failover.targets[0].model", "no model"],
        ),
        ("{weighted: {targets: []}}", ["virtualModels[0].routing.weighted.targets"]),
        ("{}", ["exactly one of weighted, failover, conditional"]),
        (
            "{conditional: {targets: [{model: m}, {model: m, when: 'true'}]}}",
            ["only the last target may leave out `when`"],
        ),
        ("{conditional: {targets: [{model: m, when: '1 +'}]}}", ["virtualModels[0]", "ends too early"]),
    ],
)
async def test_a_wrong_one_stops_the_start(tmp_path, routing, says):
    file = tmp_path / "c.yaml"
    file.write_text(
        f"llm:\n  models: [{{name: m, provider: simulator}}]\n  virtualModels: [{{name: v, routing: {routing}}}]"
    )
    status, told = await validated(file)
    assert status != 0
    assert str(file) in told
    for text in says:
        assert text in told


async def validated(file) -> tuple[int, str]:
    command = [str(Path(sys.executable).with_name("agentgateway")), "validate", "-f", str(file)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_a_wrong_params_key_says_which_ones_the_provider_takes(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("llm: {models: [{name: m, provider: simulator, params: {awsRegion: eu}}]}")
    status, told = await validated(file)
    assert status != 0
    assert "llm.models[0].params.awsRegion" in told and "known keys" in told


async def test_endpoints_and_their_health_are_in_the_dump(serve, client):
    config = MODELS.replace("llm:", "config: {adminAddr: 127.0.0.1:0, statsAddr: 'off', readinessAddr: 'off'}\nllm:", 1)
    gateway = await serve(config)
    await client.post(gateway.url + "/v1/chat/completions", json={"model": "healing", "messages": []})
    dump = (await client.get(gateway.urls["admin"] + "/config_dump")).json()
    assert json.dumps(dump["endpoints"]).count('"health"') == len(dump["endpoints"]) > 0
