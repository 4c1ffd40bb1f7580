"""Doubles for the tests of applications that use the package: virtual time here, pytest fixtures in ``testing.plugin``.

`VirtualClock` needs no pytest. The gateway's double is `qlara_async.sandbox.Sandbox`.
"""

from __future__ import annotations

from .clock import VirtualClock

__all__ = ["VirtualClock"]
