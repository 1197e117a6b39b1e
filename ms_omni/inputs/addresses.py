"""Which internet addresses media may be fetched from."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all that IANA has allocated in IPv6
# Networks that `is_global` of Python 3.10 and 3.11 calls public although they reach this machine or its network
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "192.0.0.0/24",  # IETF protocols; a cloud's metadata at 192.0.0.192
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a cloud's host agent
        "2001::/23",  # IETF protocols; Teredo, which leads to IPv4 addresses
        "2002::/16",  # 6to4, likewise
        "3fff::/20",  # documentation
    )
)


def may_be_asked(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address is public, or in one of `networks`. IPv4 addresses embedded in IPv6 ones are unwrapped."""
    address = _unwrapped(address)
    if any(address in network for network in networks):
        return True
    if address.version == 6 and address not in _GLOBAL_UNICAST:
        return False
    refused = address.is_multicast or address.is_reserved or any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not refused


def is_named(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address, unwrapped likewise, is in one of `networks`."""
    return any(_unwrapped(address) in network for network in networks)


def _unwrapped(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
