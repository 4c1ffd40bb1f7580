"""Fallback chains driven by delivery status, on the client's side."""

from .chain import ChainResult, FallbackChain, LegResult, LegState
from .runner import FallbackChains

__all__ = ["ChainResult", "FallbackChain", "FallbackChains", "LegResult", "LegState"]
