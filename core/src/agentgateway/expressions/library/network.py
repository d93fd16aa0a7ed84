"""IP addresses and networks, after the Kubernetes libraries (kubernetes.io/docs/reference/using-api/cel).

An IPv4 address written as IPv6 (`::ffff:10.0.0.1`, which a dual-stack socket reports) is that IPv4 address: a network
rule that the spelling could slip past would be no rule.
"""

from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Any

from agentgateway.expressions.errors import ExpressionError
from agentgateway.expressions.library.function import Function, function, text
from agentgateway.expressions.values import no_overload

Address = IPv4Address | IPv6Address
Network = IPv4Interface | IPv6Interface  # keeps the host bits, as Kubernetes' type does


def ip(value: Any) -> Address:
    if isinstance(value, (IPv4Interface, IPv6Interface)):
        return value.ip
    if isinstance(value, (IPv4Address, IPv6Address)):
        return value
    try:
        address = ip_address(text("ip", value))
    except ValueError:
        raise ExpressionError("ip(): not an IP address") from None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            raise ExpressionError("ip(): an address with a zone")
        return address.ipv4_mapped or address
    return address


def is_ip(value: Any) -> bool:
    text("isIP", value)
    try:
        ip(value)
    except ExpressionError:
        return False
    return True


def cidr(value: Any) -> Network:
    address, slash, length = text("cidr", value).partition("/")
    if not slash or not (length.isascii() and length.isdecimal()):
        raise ExpressionError("cidr(): not a network in CIDR notation")
    try:
        network = ip_interface(f"{address}/{length}")
    except ValueError:
        raise ExpressionError("cidr(): not a network in CIDR notation") from None
    prefix = network.network.prefixlen
    mapped = network.ip.ipv4_mapped if isinstance(network, IPv6Interface) and prefix >= 96 else None
    return network if mapped is None else IPv4Interface((mapped, prefix - 96))


def is_cidr(value: Any) -> bool:
    text("isCIDR", value)
    try:
        cidr(value)
    except ExpressionError:
        return False
    return True


def _network(name: str, value: Any) -> Network:
    if isinstance(value, (IPv4Interface, IPv6Interface)):
        return value
    raise no_overload(name, value)


def contains_ip(network: Any, value: Any) -> bool:
    """The address as a string or an `ip`; one of the other family is outside."""
    return ip(value) in _network("containsIP", network).network


def contains_cidr(network: Any, value: Any) -> bool:
    outer = _network("containsCIDR", network).network
    inner = (cidr(value) if isinstance(value, str) else _network("containsCIDR", value)).network
    if inner.version != outer.version:
        return False
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def masked(value: Any) -> Network:
    return ip_interface(_network("masked", value).network.with_prefixlen)


def _address(name: str, value: Any) -> Address:
    if isinstance(value, (IPv4Address, IPv6Address)) and not isinstance(value, (IPv4Interface, IPv6Interface)):
        return value
    raise no_overload(name, value)


def is_link_local_multicast(value: Any) -> bool:
    """224.0.0.0/24 and ff02::/16."""
    address = _address("isLinkLocalMulticast", value)
    first = address.packed[:3] if address.version == 4 else address.packed[:2]
    return first in (b"\xe0\x00\x00", b"\xff\x02")


def is_link_local_unicast(value: Any) -> bool:
    address = _address("isLinkLocalUnicast", value)
    return address.is_link_local and not address.is_multicast


def is_global_unicast(value: Any) -> bool:
    """Neither unspecified, loopback, multicast, broadcast nor link-local; private networks are included."""
    address = _address("isGlobalUnicast", value)
    special = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not special and address != IPv4Address("255.255.255.255")


FUNCTIONS: tuple[Function, ...] = (
    function("ip", ip, 1, literals=True),
    function("isIP", is_ip, 1),
    function("cidr", cidr, 1, literals=True),
    function("isCIDR", is_cidr, 1),
    function("containsIP", contains_ip, 2),
    function("containsCIDR", contains_cidr, 2),
    function("masked", masked, 1),
    function("prefixLength", lambda value: _network("prefixLength", value).network.prefixlen, 1),
    function("family", lambda value: _address("family", value).version, 1),
    function("isUnspecified", lambda value: _address("isUnspecified", value).is_unspecified, 1),
    function("isLoopback", lambda value: _address("isLoopback", value).is_loopback, 1),
    function("isLinkLocalMulticast", is_link_local_multicast, 1),
    function("isLinkLocalUnicast", is_link_local_unicast, 1),
    function("isGlobalUnicast", is_global_unicast, 1),
)
