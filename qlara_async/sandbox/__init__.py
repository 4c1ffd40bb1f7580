"""The gateway on your machine: `Sandbox`, a real HTTP server with the behaviour and the faults of the Qlara gateway.

::

    async with Sandbox() as sandbox:
        QlaraClient(api_key=sandbox.api_key, base_url=sandbox.url)

``python -m qlara_async.sandbox`` runs one from the shell.
"""

from __future__ import annotations

from .callbacks import CallbackCounts, CallbackKey, CallbackPolicy
from .faults import Fault, Faults
from .gateway import Accepted, Life
from .server import Sandbox

__all__ = ["Accepted", "CallbackCounts", "CallbackKey", "CallbackPolicy", "Fault", "Faults", "Life", "Sandbox"]
