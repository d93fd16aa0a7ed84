"""`jwtSign` through a real gateway: the upstream verifies what it is shown."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from agentgateway.testing import Received, Upstream
from agentgateway.testing.upstreams import reply

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
OPENAI = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}
CONFIG = """
config:
  adminAddr: 127.0.0.1:0
  statsAddr: "off"
  readinessAddr: "off"
  logging: {{level: debug}}
llm:
  port: 0
  policies:
    apiKey: {{mode: strict, keys: [{{key: ada-1f, metadata: {{user: ada}}}}, {{key: eve-2f, metadata: {{user: eve}}}}]}}
  models:
  - name: m
    provider: openAI
    params: {{hostOverride: "{address}"}}
    auth:
      jwtSign:
        signingKey: {key}
        kid: k1
        claims: {{sub: apiKey.user, aud: '"models"', model: llm.requestModel, trace: 'request.headers["x-trace"]'}}
"""


def answer(request: Received) -> bytes:
    return reply(200, OPENAI)


@pytest.mark.parametrize("place", ["inline", "file"])
async def test_each_caller_is_vouched_for_and_nothing_shows_the_key(serve, client, tmp_path, place):
    (tmp_path / "key.pem").write_text(PEM)
    async with Upstream(answer) as upstream:
        written = json.dumps(PEM) if place == "inline" else "{file: key.pem}"
        gateway = await serve(CONFIG.format(address=upstream.address, key=written))
        url = next(url for name, url in gateway.urls.items() if name != "admin")

        async def ask(key: str, **headers: str) -> Any:
            headers = {"authorization": f"Bearer {key}", **headers}
            call = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            return await client.post(url + "/v1/chat/completions", json=call, headers=headers)

        for key in ("ada-1f", "eve-2f", "ada-1f"):
            assert (await ask(key, **{"x-trace": "t"})).status_code == 200
        tokens = [received.headers["authorization"].removeprefix("Bearer ") for received in upstream.received]
        said = [jwt.decode(token, KEY.public_key(), ["RS256"], audience="models") for token in tokens]
        assert [(one["sub"], one["model"], one["trace"]) for one in said] == [
            (u, "m", "t") for u in ("ada", "eve", "ada")
        ]
        assert tokens[0] == tokens[2]
        assert jwt.get_unverified_header(tokens[0])["kid"] == "k1"

        refused = await ask("ada-1f")
        assert refused.status_code == 500
        assert "trace" not in refused.text
        assert "the claim `trace` cannot be computed" in await gateway.logged("http.status=500")
        assert len(upstream.received) == 3
        dump = (await client.get(gateway.urls["admin"] + "/config_dump")).text
        await gateway.stop()
        everything = gateway.log + "".join(gateway.access) + dump + refused.text
        assert all(line not in everything for line in PEM.splitlines()[1:-1])
        assert not any(token in everything for token in tokens)


async def test_a_key_that_cannot_sign_stops_the_start(serve, tmp_path):
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\ncanary-4f1d\n-----END PRIVATE KEY-----\n")
    with pytest.raises(AssertionError) as told:
        await serve(CONFIG.format(address="127.0.0.1:1", key="{file: key.pem}"))
    assert "llm.models[0].auth.jwtSign.signingKey: not a private key" in str(told.value)
    assert "canary-4f1d" not in str(told.value)
