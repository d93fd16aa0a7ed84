"""Names of hosts and of origins, as requests have them: what is written otherwise would never be the same."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from agentgateway.settings import problem

HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[^\s/:@?#\[\]]+")
ORIGIN = re.compile(r"null|[A-Za-z][A-Za-z0-9+.\-]*://[^\s/@?#]+")


def _host(name: str) -> str:
    if not HOST.fullmatch(name):
        raise problem("not the name of a host", "write it without scheme, port and path: `app.example.com`")
    return name


def _origin(name: str) -> str:
    if not ORIGIN.fullmatch(name):
        raise problem("not an origin", "write scheme, host and port, if it has one: `https://app.example.com`")
    return name


HostName = Annotated[str, AfterValidator(_host)]
Origin = Annotated[str, AfterValidator(_origin)]
