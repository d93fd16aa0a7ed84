"""Which URLs an upstream may send the gateway, or its users, to."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from agentgateway_mcp_oauth.addresses import origin
from agentgateway_mcp_oauth.outbound import ProviderFailed

LONGEST = 2048
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?")
"""What resolvers take for an IPv4 address in one of its older spellings."""


class Reach:
    """What is in reach of a server at that URL: everything with https, but for addresses that are not everybody's; and
    the machine, or the network, that the server itself is on. A name that leads inside all the same meets a certificate
    that is not its own. `besides` is an origin that the operator has named."""

    def __init__(self, server: str, besides: str | None = None) -> None:
        host = urlsplit(server).hostname or ""
        self._near = is_near(host)
        self._here = is_here(host)
        self._besides = origin(besides) if besides is not None else None

    def checked(self, url: object, what: str) -> str:
        """The URL. Raises `ProviderFailed`, which does not quote it."""
        if not isinstance(url, str) or not self._reaches(url):
            raise ProviderFailed(detail=f"the {what} is no URL that the gateway goes to")
        return url

    def _reaches(self, url: str) -> bool:
        try:
            place = origin(url)
        except ValueError:
            return False
        if len(url) > LONGEST or "#" in url:
            return False
        host = urlsplit(url).hostname or ""
        if place == self._besides or (is_here(host) and self._here):
            return True
        return url.startswith("https://") and (self._near or not is_near(host))


def is_here(host: str) -> bool:
    """Whether a host is this machine."""
    address = _address(host)
    return address.is_loopback if address is not None else _name(host) in ("localhost",)


def is_near(host: str) -> bool:
    """Whether a host is not everybody's: this machine, or an address of a network of one's own."""
    address = _address(host)
    if address is not None:
        return not address.is_global
    return _name(host) == "localhost" or _name(host).endswith(".localhost") or _NUMBER.fullmatch(host) is not None


def _name(host: str) -> str:
    return host.lower().rstrip(".")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped if mapped is not None else address
