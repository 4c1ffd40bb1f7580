"""Delivery tracking: what became of the messages that were sent, from callbacks and polls alike."""

from __future__ import annotations

from .inbound_repair import InboundRepair, InboundReport
from .record import StatusChange, Target
from .tracker import DeliveryTracker
from .watch import Watch

__all__ = ["DeliveryTracker", "InboundRepair", "InboundReport", "StatusChange", "Target", "Watch"]
