"""Callers by their address."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Network, ip_network

from ...errors import ConfigurationError
from ...models.trust import Trust
from ...protocol.addresses import Network, caller_address, within
from ...protocol.credentials import Reason
from ..exchange import FORBIDDEN, Head
from .check import Auth

__all__ = ["IpAllowList"]

_MAPPED = IPv6Network("::ffff:0:0/96")


class IpAllowList(Auth):
    """Requests come from these networks.

    The gateway's addresses are not documented: ask its support. Behind a proxy the other end of the connection is the
    proxy, so name it in ``trusted_proxies``: then ``X-Forwarded-For`` is read from right to left up to the first
    address that is not a trusted proxy's. From anyone else the header counts for nothing. A caller whose address cannot
    be read is refused, and so is one on a Unix socket, which has none.

    Args:
        cidrs: networks or single addresses, IPv4 or IPv6: ``["192.0.2.0/24", "2001:db8::1"]``.
        trusted_proxies: the same, of your proxies.
        report_only: count and log what would be refused, and let it pass.

    Raises:
        ConfigurationError: no network, one that cannot be read, or a proxy that could be anyone.
    """

    trust = Trust.IP
    answer = FORBIDDEN

    def __init__(
        self,
        cidrs: str | Iterable[str],
        *,
        trusted_proxies: str | Iterable[str] = (),
        report_only: bool = False,
    ) -> None:
        self._networks = _networks(cidrs)
        self._proxies = _networks(trusted_proxies)
        if not self._networks:
            raise ConfigurationError("IpAllowList needs at least one network")
        if any(network.prefixlen == 0 for network in self._proxies):
            raise ConfigurationError("trusted_proxies of IpAllowList cannot be everyone: a caller would name itself")
        self.report_only = report_only

    def judge_head(self, head: Head, now: float) -> Reason | None:
        """Find out who called, and look it up."""
        caller = caller_address(head.peer, head.joined("x-forwarded-for"), self._proxies)
        if caller is None:
            return Reason.MALFORMED
        return None if within(caller, self._networks) else Reason.FOREIGN_ADDRESS

    def __repr__(self) -> str:
        return f"IpAllowList({len(self._networks)} networks, trusted_proxies={len(self._proxies)})"


def _networks(cidrs: str | Iterable[str]) -> tuple[Network, ...]:
    return tuple(_network(cidr) for cidr in ([cidrs] if isinstance(cidrs, str) else cidrs))


def _network(cidr: str) -> Network:
    try:
        network = ip_network(cidr)
    except ValueError as error:
        raise ConfigurationError(f"no network: {error}") from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        raise ConfigurationError(f"{cidr!r} is of mapped IPv4 addresses, which count as IPv4: write it as IPv4")
    return network
