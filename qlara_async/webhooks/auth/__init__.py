"""Who may deliver callbacks."""

from __future__ import annotations

from .addresses import IpAllowList
from .basic import BasicAuth
from .check import AllOf, Auth
from .signatures import HmacSignature
from .tokens import UrlToken

__all__ = ["AllOf", "Auth", "BasicAuth", "HmacSignature", "IpAllowList", "UrlToken"]
