"""What may be downloaded: media by key, and links of exports, which are on hosts we do not know."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from ..errors import ConfigurationError, TransferError
from .requests import Request

__all__ = ["MEDIA_PATH", "check_link", "is_loopback", "is_public", "media_request"]

_MEDIA_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
MEDIA_PATH = "/files/{mediaKey}"


def media_request(media_key: str) -> Request:
    """Build ``GET /files/{mediaKey}`` (API page of RCS, "Webhook"), authenticated.

    A key comes from a callback, which anybody may have forged: one that could change the path would make us ask any
    path of the API with our key.

    Raises:
        ConfigurationError: the key is not one to 128 letters, digits, ``_`` and ``-``.
    """
    if not isinstance(media_key, str) or not _MEDIA_KEY.fullmatch(media_key):
        raise ConfigurationError("a media key is 1 to 128 letters, digits, '_' and '-'")
    return Request(method="GET", path=MEDIA_PATH.format(mediaKey=media_key), repeatable=True)


def check_link(link: str, base_url: str) -> str:
    """Return `link` if it may be followed: HTTPS, no user name, and no address that is not public.

    What its name resolves to is checked again, when it has. Where the base URL is itself on loopback (the sandbox), so
    may the link be, by plain HTTP too.

    Raises:
        TransferError: it may not. The text does not show it: it is a credential.
    """
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        host = None
    if not host or not link.isascii() or not link.isprintable() or " " in link or "\\" in link:
        raise TransferError("the download link is not a URL")
    local = is_loopback(urlsplit(base_url).hostname or "") and is_loopback(host)
    if parts.scheme != "https" and not (local and parts.scheme == "http"):
        raise TransferError("the download link is not https://")
    if parts.username is not None or parts.password is not None:
        raise TransferError("the download link holds a user name")
    if not local and (host == "localhost" or not _may_be_public(host)):
        raise TransferError("the download link points to a private address")
    return link


def _may_be_public(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True  # a name: its addresses are checked when it is resolved
    return is_public(host)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_public(address: str) -> bool:
    """Whether an address is on the public Internet, also by the IPv4 address that an IPv6 one may stand for."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv4Address(parsed.packed[12:]) if parsed in _NAT64 else None
        inner = parsed.ipv4_mapped or parsed.sixtofour or nat64
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return parsed.is_global and not parsed.is_multicast


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
