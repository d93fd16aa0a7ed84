"""What stands for Amazon in tests: who may sign, refusals, and events as they are on the wire."""

import json
from typing import Any

from agentgateway_auth_aws.testing import Endpoint
from agentgateway_bedrock.frames import event, exception

from agentgateway.testing.upstreams import reply

EVENT_STREAM = "application/vnd.amazon.eventstream"
AMBIENT = {
    "AWS_ACCESS_KEY_ID": "AKIDOPERATOR",
    "AWS_SECRET_ACCESS_KEY": "canary-of-the-operator",
    "AWS_SESSION_TOKEN": "canary-session",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}
NOTHING = {**dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), ""), **{
    key: AMBIENT[key] for key in ("AWS_EC2_METADATA_DISABLED", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
}}  # fmt: skip
ENDPOINT = Endpoint(
    "bedrock",
    "eu-west-1",
    {"AKIDOPERATOR": "canary-of-the-operator", "AKIDFILE": "canary-in-the-file"},
    {"AKIDOPERATOR": "canary-session"},
)


def frames(shown: list[Any]) -> bytes:
    """Events as boto3 shows them, on the wire."""
    pairs = [next(iter(one.items())) for one in shown]
    return b"".join(exception(*pair) if pair[0].endswith("Exception") else event(*pair) for pair in pairs)


def refused(status: int, kind: str, message: str) -> bytes:
    return reply(status, {"message": message}, headers={"x-amzn-errortype": kind})


def as_yaml(text: str) -> str:
    """The harness looks for `config:` at the start of a line, as people write it."""
    document = json.loads(text)
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in document.items())
