"""Consent: who is not to be written to, and what is forgotten of whom."""

from __future__ import annotations

from ..models.erasure import Erased
from .erasure import ErasureReport, erase_number
from .exchange import BadRow, Entry, ImportReport
from .suppression import SuppressionList

__all__ = ["BadRow", "Entry", "Erased", "ErasureReport", "ImportReport", "SuppressionList", "erase_number"]
