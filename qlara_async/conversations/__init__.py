"""Conversations: when a customer last wrote, and what may be sent to them on WhatsApp because of it."""

from __future__ import annotations

from .conversations import Conversations
from .window import WINDOW, OutsideWindow, WindowGate

__all__ = ["WINDOW", "Conversations", "OutsideWindow", "WindowGate"]
