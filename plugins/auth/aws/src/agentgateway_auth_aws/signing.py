"""AWS Signature Version 4 on an outgoing request, by botocore's signer.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html. What is signed is what AWS insists on: the host,
the content type, the fields named `x-amz-…`, path, query and body. Nobody adds to those on the way out.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from agentgateway.exchange import Outgoing
from agentgateway_auth_aws.chain import quiet
from agentgateway_auth_aws.keys import Keys

SIGNATURE = ("authorization", "x-amz-date", "x-amz-security-token")
_PORTS = {"https": 443, "http": 80}


def load() -> None:
    """Import what `sign` needs: 0.25 s of CPU, better spent before the first request."""
    import botocore.auth
    import botocore.awsrequest

    assert botocore.auth and botocore.awsrequest


def sign(outgoing: Outgoing, body: bytes, keys: Keys, service: str, region: str) -> None:
    """Put a signature on the request, in place of any other credential in `Authorization`."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    quiet()
    for name in SIGNATURE:
        outgoing.headers.remove(name)
    outgoing.authority = outgoing.authority or authority(outgoing.url)
    request = AWSRequest(outgoing.method, f"{outgoing.url}{outgoing.target}", data=body)
    request.headers["host"] = outgoing.authority
    for name, value in outgoing.headers:
        if name == "content-type" or name.startswith("x-amz-"):
            request.headers[name] = value
    SigV4Auth(keys, service, region).add_auth(request)
    for name in SIGNATURE:
        value = request.headers.get(name)
        if value is not None:
            outgoing.headers.add(name, value)


def authority(url: str) -> str:
    """Host and port of a URL as clients send them: without the scheme's own port."""
    parts = urlsplit(url)
    usual = parts.port is None or parts.port == _PORTS.get(parts.scheme)
    return parts.netloc.rpartition(":")[0] if usual and parts.port is not None else parts.netloc
