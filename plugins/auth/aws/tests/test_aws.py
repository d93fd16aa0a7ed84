"""The credential `aws`: what it signs, with which keys, and what it never shows."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pydantic
import pytest
from agentgateway_auth_aws.testing import Endpoint, WrongSignature

from agentgateway.errors import InternalError
from agentgateway.exchange import Body, Exchange, Headers, Outgoing
from agentgateway.interfaces import Credential
from agentgateway.testing import CredentialContract, LoopbackHost, Received, Upstream, http, make
from agentgateway.testing.upstreams import reply

CANARY = "canary-8c1f2e"
GROUP = "agentgateway.credentials"
KEYS = {"accessKeyId": "AKID", "secretAccessKey": "secret"}
ROLE = {"roleArn": "arn:aws:iam::123456789012:role/reader", "externalId": "only-us"}


class TestAwsContract(CredentialContract):
    name = "aws"
    config = {
        "accessKeyId": f"{CANARY}-id",
        "secretAccessKey": f"{CANARY}-secret",
        "sessionToken": f"{CANARY}-token",
        "region": "us-east-1",
        "assumeRole": {"roleArn": "arn:aws:iam::123456789012:role/x", "externalId": f"{CANARY}-external"},
    }


def aws(config: Any = None, environ: dict[str, str] | None = None) -> Credential:
    made: Credential = make(GROUP, "aws", config, LoopbackHost(environ=environ))
    return made


def outgoing(
    target: str = "/model/m/converse", body: bytes | Body = b'{"a":1}', url: str = "https://host.test", **headers: str
) -> Outgoing:
    fields = Headers.of({"content-type": "application/json", **headers})
    made = Outgoing("POST", url, target, fields, body)
    made.scope = ("bedrock", "eu-west-1")
    return made


def verified(endpoint: Endpoint, sent: Outgoing) -> str:
    """Who signed, by the verifier. What the transport writes itself is added as it does."""
    assert isinstance(sent.body, bytes)
    wire = {name: value for name, value in sent.headers} | {"host": sent.authority or "", "content-length": "7"}
    return endpoint.verify(sent.method, sent.target, wire, sent.body)


async def signed(credential: Credential, sent: Outgoing, exchange: Exchange | None = None) -> Outgoing:
    exchange = exchange or http("POST", "/")
    exchange.outgoing = sent
    done = credential.apply(exchange)
    assert done is not None
    await done
    return sent


@pytest.mark.parametrize(
    "target",
    [
        "/model/anthropic.claude-v2/converse",
        "/model/anthropic.claude-3-5-sonnet-20240620-v1%3A0/converse-stream",
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.x%3A0/converse",
        "/guardrail/a~b/version/1%2F2/apply",
        "/a//b/./c/",
        "/with/query?b=2&a=%20x&a=1&empty",
        "/a%20b/%E2%82%AC",
        "/",
    ],
)
async def test_the_signature_holds_for_the_path_as_it_is_sent(endpoint: Endpoint, target: str) -> None:
    sent = await signed(aws(KEYS), outgoing(target))
    assert verified(endpoint, sent) == "AKID"
    assert sent.target == target


async def test_the_verifier_refuses_what_was_changed_afterwards(endpoint: Endpoint) -> None:
    def other_body(sent: Outgoing) -> None:
        sent.body = b"{}"

    def other_path(sent: Outgoing) -> None:
        sent.target += "x"

    def other_type(sent: Outgoing) -> None:
        sent.headers.set("content-type", "text/plain")

    def other_host(sent: Outgoing) -> None:
        sent.authority = "elsewhere.test"

    def one_more(sent: Outgoing) -> None:
        sent.headers.set("x-amz-late", "1")

    for change in (other_body, other_path, other_type, other_host, one_more):
        sent = await signed(aws(KEYS), outgoing())
        change(sent)
        with pytest.raises(WrongSignature):
            verified(endpoint, sent)


async def test_a_temporary_key_brings_its_token(endpoint: Endpoint) -> None:
    config = {"accessKeyId": "ASIA", "secretAccessKey": "temporary", "sessionToken": "token"}
    sent = await signed(aws(config), outgoing())
    assert verified(endpoint, sent) == "ASIA"
    assert sent.headers.get("x-amz-security-token") == "token"


async def test_another_credential_in_its_place_is_replaced(endpoint: Endpoint) -> None:
    sent = await signed(
        aws(KEYS), outgoing(authorization="Bearer x", **{"x-amz-date": "20200101T000000Z", "x-amz-security-token": "x"})
    )
    assert len(sent.headers.all("authorization")) == len(sent.headers.all("x-amz-date")) == 1
    assert "x-amz-security-token" not in sent.headers
    assert verified(endpoint, sent) == "AKID"


async def test_what_the_transport_may_change_is_not_signed() -> None:
    sent = await signed(aws(KEYS), outgoing(**{"user-agent": "x", "connection": "keep-alive", "x-request-id": "7"}))
    names = re.search("SignedHeaders=([^,]+)", sent.headers.get("authorization") or "")
    assert names is not None
    assert names[1] == "content-type;host;x-amz-date"


async def test_a_port_of_its_own_is_part_of_the_host(endpoint: Endpoint) -> None:
    sent = await signed(aws(KEYS), outgoing(url="http://127.0.0.1:8080"))
    assert sent.authority == "127.0.0.1:8080"
    assert verified(endpoint, sent)
    assert (await signed(aws(KEYS), outgoing(url="https://host.test:443"))).authority == "host.test"


async def test_a_streamed_body_is_read_whole_first(endpoint: Endpoint) -> None:
    pieces = [b'{"a":', b"1}"]

    async def receive() -> bytes | None:
        return pieces.pop(0) if pieces else None

    sent = await signed(aws(KEYS), outgoing(body=Body(None, receive=receive)))
    assert sent.body == b'{"a":1}'
    assert verified(endpoint, sent)


async def test_the_file_says_for_whom_to_sign_before_the_provider_does() -> None:
    sent = await signed(aws({**KEYS, "region": "ap-south-1", "serviceName": "execute-api"}), outgoing())
    assert "/ap-south-1/execute-api/aws4_request" in (sent.headers.get("authorization") or "")


async def test_without_a_region_the_environment_says_it() -> None:
    sent = outgoing()
    sent.scope = None
    credential = aws({**KEYS, "serviceName": "lambda"}, {"AWS_DEFAULT_REGION": "sa-east-1"})
    await signed(credential, sent)
    assert "/sa-east-1/lambda/aws4_request" in (sent.headers.get("authorization") or "")


@pytest.mark.parametrize("config", [{**KEYS, "region": "x"}, {**KEYS, "serviceName": "x"}])
async def test_nobody_to_sign_for_fails_the_request(config: dict[str, Any]) -> None:
    sent = outgoing()
    sent.scope = None
    with pytest.raises(InternalError, match="internal error"):
        await signed(aws(config), sent)


@pytest.mark.parametrize(
    "config",
    [
        {"accessKeyId": "x"},
        {"secretAccessKey": "x"},
        {"sessionToken": "x"},
        {**KEYS, "region": "eu west"},
        {"assumeRole": {"roleArn": "reader"}},
        {"assumeRole": {**ROLE, "duration": "1m"}},
        {"assumeRole": {**ROLE, "tags": {"a{": "'x'"}}},
    ],
)
def test_what_cannot_be_meant_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        aws(config)
    assert "secret" not in str(caught.value).replace("secretAccessKey", "")


# the chain


async def test_credentials_are_found_in_the_environment(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, quiet_again: None
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "temporary")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert verified(endpoint, await signed(aws(), outgoing())) == "ASIA"


async def test_no_credentials_anywhere_fails_the_request_and_says_so_in_the_log(quiet_again: None) -> None:
    with pytest.raises(InternalError) as caught:
        await signed(aws(), outgoing())
    assert caught.value.message == "internal error"
    assert "no AWS credentials" in caught.value.detail


class Container:
    """The endpoint that hands out credentials in containers, as ECS and EKS have it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.asked = 0

    def __call__(self, request: Received) -> bytes:
        self.asked += 1
        end = datetime.now(UTC) + timedelta(seconds=self.seconds)
        return reply(
            200,
            {
                "AccessKeyId": "ASIA",
                "SecretAccessKey": "temporary",
                "Token": "token",
                "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        )


@pytest.fixture
async def container(monkeypatch: pytest.MonkeyPatch, quiet_again: None) -> AsyncIterator[Container]:
    answers = Container(3600)
    async with Upstream(answers) as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{server.url}/get")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield answers


async def test_temporary_credentials_are_asked_for_once_for_all_who_wait(
    endpoint: Endpoint, container: Container
) -> None:
    credential = aws()
    sent = await asyncio.gather(*(signed(credential, outgoing()) for _ in range(20)))
    assert {verified(endpoint, one) for one in sent} == {"ASIA"}
    await signed(credential, outgoing())
    assert container.asked == 1
    await credential.stop()


async def test_credentials_near_their_end_are_used_while_new_ones_are_fetched(
    endpoint: Endpoint, container: Container
) -> None:
    container.seconds = 300
    credential = aws()
    await signed(credential, outgoing())
    container.seconds = 3600
    assert verified(endpoint, await signed(credential, outgoing())) == "ASIA"
    async with asyncio.timeout(10):
        while container.asked < 2:
            await asyncio.sleep(0.01)
    await credential.stop()


async def test_credentials_at_their_end_are_not_used(endpoint: Endpoint, container: Container) -> None:
    container.seconds = 30
    credential = aws()
    await signed(credential, outgoing())
    asked = container.asked
    await signed(credential, outgoing())
    assert container.asked > asked
    await credential.stop()


# roles


class Sts:
    """AWS's Security Token Service: AssumeRole, by who signed right."""

    def __init__(self, seconds: float = 3600) -> None:
        self.endpoint = Endpoint("sts", "eu-west-1", {"AKID": "secret"}, {})
        self.seconds = seconds
        self.asked: list[dict[str, str]] = []
        self.refusal: bytes | None = None

    def __call__(self, request: Received) -> bytes:
        assert self.endpoint.verify(request.method, request.target, request.headers, request.body) == "AKID"
        self.asked.append({key: values[0] for key, values in parse_qs(request.body.decode()).items()})
        if self.refusal is not None:
            return self.refusal
        end = (datetime.now(UTC) + timedelta(seconds=self.seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
        <Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>temporary</SecretAccessKey>
        <SessionToken>token</SessionToken><Expiration>{end}</Expiration></Credentials></AssumeRoleResult>
        <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleResponse>"""
        return reply(200, body.encode(), headers={"content-type": "text/xml"})


@pytest.fixture
async def sts(monkeypatch: pytest.MonkeyPatch, quiet_again: None) -> AsyncIterator[Sts]:
    answers = Sts()
    async with Upstream(answers) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield answers


def assuming(**role: Any) -> Credential:
    return aws({**KEYS, "region": "eu-west-1", "assumeRole": {**ROLE, **role}})


async def test_a_role_is_taken_on_and_kept(endpoint: Endpoint, sts: Sts) -> None:
    credential = assuming()
    for _ in range(3):
        assert verified(endpoint, await signed(credential, outgoing())) == "ASIA"
    (asked,) = sts.asked
    assert asked["Action"] == "AssumeRole"
    assert asked["RoleArn"] == ROLE["roleArn"]
    assert asked["RoleSessionName"] == "agentgateway"
    assert asked["ExternalId"] == "only-us"
    assert asked["DurationSeconds"] == "3600"
    await credential.stop()


async def test_session_tags_are_computed_for_each_request_and_have_sessions_of_their_own(
    endpoint: Endpoint, sts: Sts
) -> None:
    credential = assuming(tags={"team": 'request.headers["x-team"]', "via": "'gateway'"})
    for team in ("red", "blue", "red"):
        exchange = http("POST", "/", headers={"x-team": team})
        assert verified(endpoint, await signed(credential, outgoing(), exchange)) == "ASIA"
    assert [(one["Tags.member.1.Key"], one["Tags.member.1.Value"]) for one in sts.asked] == [
        ("team", "red"),
        ("team", "blue"),
    ]
    assert {one["Tags.member.2.Value"] for one in sts.asked} == {"gateway"}
    await credential.stop()


async def test_a_tag_without_a_value_fails_the_request(sts: Sts) -> None:
    credential = assuming(tags={"team": 'request.headers["x-team"]'})
    with pytest.raises(InternalError) as caught:
        await signed(credential, outgoing())
    assert "`team`" in caught.value.detail
    assert sts.asked == []


async def test_a_role_that_is_refused_fails_the_request_and_is_asked_for_again(endpoint: Endpoint, sts: Sts) -> None:
    sts.refusal = reply(
        403,
        b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>"
        b"<Message>arn of secret things</Message></Error></ErrorResponse>",
        headers={"content-type": "text/xml"},
    )
    credential = assuming()
    with pytest.raises(InternalError) as caught:
        await signed(credential, outgoing())
    assert caught.value.detail == "the role was not given: AccessDenied"
    sts.refusal = None
    assert verified(endpoint, await signed(credential, outgoing())) == "ASIA"
    await credential.stop()


# secrets


async def test_no_log_at_any_level_has_a_secret(sts: Sts, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    config = {**KEYS, "secretAccessKey": "secret", "region": "eu-west-1", "assumeRole": ROLE}
    credential = aws(config)
    await signed(credential, outgoing())
    await credential.stop()
    text = caplog.text
    assert not any(word in text for word in ("temporary", "token", "only-us", "AWS4-HMAC-SHA256"))


async def test_keys_show_nothing_of_themselves() -> None:
    credential = aws({"accessKeyId": CANARY, "secretAccessKey": CANARY, "sessionToken": CANARY})
    sent = await signed(credential, outgoing())
    assert CANARY not in repr(credential) + str(vars(credential)) + repr(sent) + repr(sent.headers)
