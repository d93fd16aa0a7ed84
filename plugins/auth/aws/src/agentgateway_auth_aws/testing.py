"""For tests: an AWS endpoint's view of a signature, written from AWS's published algorithm and from nothing else.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<signed>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)
SKEW = timedelta(minutes=5)


class WrongSignature(Exception):
    """The endpoint would refuse that request; the message says why."""


@dataclass(frozen=True)
class Endpoint:
    """A service in a region. `secrets` are secret keys by access key, `tokens` the session tokens of temporary ones."""

    service: str
    region: str
    secrets: Mapping[str, str]
    tokens: Mapping[str, str]

    def verify(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
        """The access key that signed. `headers` by lower-case name, as received. Raises `WrongSignature`."""
        said = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        if said is None:
            raise WrongSignature("no signature in Authorization")
        if (said["region"], said["service"]) != (self.region, self.service):
            raise WrongSignature(f"signed for {said['service']} in {said['region']}")
        if said["key"] not in self.secrets:
            raise WrongSignature("unknown access key")
        if headers.get("x-amz-security-token") != self.tokens.get(said["key"]):
            raise WrongSignature("wrong session token")
        signed = said["signed"].split(";")
        self._check_headers(signed, headers)
        stamp = self._check_date(headers.get("x-amz-date", ""), said["day"])
        request = canonical_request(method, target, headers, signed, body)
        scope = f"{said['day']}/{self.region}/{self.service}/aws4_request"
        to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
        if not hmac.compare_digest(self._signature(said["key"], said["day"], to_sign), said["signature"]):
            raise WrongSignature("the signature does not match")
        return said["key"]

    def _check_headers(self, signed: list[str], headers: Mapping[str, str]) -> None:
        if signed != sorted(signed):
            raise WrongSignature("signed headers are not in order")
        required = {"host"} | {name for name in headers if name.startswith("x-amz-") or name == "content-type"}
        if missing := required - set(signed):
            raise WrongSignature(f"not signed: {', '.join(sorted(missing))}")
        if absent := [name for name in signed if name not in headers]:
            raise WrongSignature(f"signed and not sent: {', '.join(absent)}")

    def _check_date(self, stamp: str, day: str) -> str:
        try:
            signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise WrongSignature("no date in x-amz-date") from None
        if abs(datetime.now(UTC) - signed_at) > SKEW or not stamp.startswith(day):
            raise WrongSignature("the signature has expired")
        return stamp

    def _signature(self, key: str, day: str, to_sign: str) -> str:
        made = f"AWS4{self.secrets[key]}".encode()
        for part in (day, self.region, self.service, "aws4_request", to_sign):
            made = hmac.new(made, part.encode(), hashlib.sha256).digest()
        return made.hex()


def canonical_request(method: str, target: str, headers: Mapping[str, str], signed: list[str], body: bytes) -> str:
    path, _, query = target.partition("?")
    return "\n".join(
        (
            method,
            canonical_path(path),
            canonical_query(query),
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        )
    )


def canonical_path(path: str) -> str:
    """The path as sent, each segment encoded once more: for every service but S3."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(quote(segment, safe="-_.~"))
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def canonical_query(query: str) -> str:
    """Names and values encoded once, in the order of the names' codes, then of the values'."""
    pairs = (pair.partition("=")[::2] for pair in query.split("&") if pair)
    encoded = sorted((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in encoded)
