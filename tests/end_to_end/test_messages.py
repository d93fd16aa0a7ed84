"""What `debug` adds for who looks into a fault: a line for each attempt, and no secret in it."""

import httpx

HEAD = "config: {adminAddr: 'off', statsAddr: 'off', readinessAddr: 'off'%s}"
CONFIG = """
gateways: {default: {port: 0, address: 127.0.0.1}}
llm: {gateways: default, models: [{name: m, provider: simulator}]}
routes:
  - name: broken
    matches: [{path: {pathPrefix: /broken}}]
    policies: {retry: {attempts: 1}}
    backends: [{host: "127.0.0.1:9"}]
"""
CANARY = "canary-4d1e"
CALL = {"model": "m", "messages": [{"role": "user", "content": CANARY}]}


async def ask(gateway, client: httpx.AsyncClient) -> None:
    headers = {"authorization": f"Bearer {CANARY}"}
    called = await client.post(f"{gateway.url}/v1/chat/completions?key={CANARY}", json=CALL, headers=headers)
    assert called.status_code == 200
    assert (await client.get(f"{gateway.url}/broken/x?key={CANARY}", headers=headers)).status_code == 503


async def test_debug_tells_each_attempt_without_secrets(serve, client):
    gateway = await serve(HEAD % ", logging: {level: debug}" + CONFIG)
    await ask(gateway, client)
    await gateway.told("route llm, rule m, attempt 1 at simulator (simulator): 200")
    for number in (1, 2):
        told = f"GET /broken/x: route broken, rule unknown, attempt {number} at 127.0.0.1:9 (127.0.0.1:9): the upstream"
        await gateway.told(told)
    assert CANARY not in gateway.log


async def test_otherwise_requests_leave_no_messages(serve, client):
    gateway = await serve(HEAD % "" + CONFIG)
    await ask(gateway, client)
    assert await gateway.stop() == 0
    assert "attempt" not in gateway.log
