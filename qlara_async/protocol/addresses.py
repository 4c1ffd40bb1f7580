"""Addresses of callers, also behind proxies.

``X-Forwarded-For`` is a claim: each proxy adds on the right the address it saw, and what stands further left was there
before. So only what a trusted proxy added is believed, from right to left, and the first address that is no trusted
proxy's is the caller's. What a caller writes into the header itself never counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

__all__ = ["Address", "Network", "caller_address", "read_address", "within"]

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_WITH_PORT = re.compile(r"(?P<v4>[0-9.]+):[0-9]{1,5}|\[(?P<v6>[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*)\](?::[0-9]{1,5})?")


def read_address(text: str) -> Address | None:
    """Read an IPv4 or IPv6 address, with or without a port; ``None`` if it is none.

    An IPv4 address mapped into IPv6 (``::ffff:192.0.2.1``, as dual-stack sockets report it) is that IPv4 address.
    """
    found = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(text if found is None else found["v4"] or found["v6"])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def within(address: Address, networks: Sequence[Network]) -> bool:
    """Tell whether an address is in one of the networks."""
    return any(address in network for network in networks)


def caller_address(peer: str | None, forwarded: str | None, trusted_proxies: Sequence[Network]) -> Address | None:
    """Find out who called. Never raises.

    Args:
        peer: the address at the other end of the connection.
        forwarded: the values of ``X-Forwarded-For``, repeated ones joined by commas; ``None`` if there is none.
        trusted_proxies: whose ``X-Forwarded-For`` is believed.

    Returns:
        The address, or ``None`` if one that counts cannot be read.
    """
    caller = read_address(peer or "")
    hops = [] if forwarded is None else forwarded.split(",")
    while caller is not None and hops and within(caller, trusted_proxies):
        caller = read_address(hops.pop().strip(" \t"))
    return caller
