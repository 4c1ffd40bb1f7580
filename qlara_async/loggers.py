"""The package's loggers, one a half. No record holds a key, token, phone number or text (guarantee G11)."""

from __future__ import annotations

import logging

__all__ = ["client_logger", "sandbox_logger", "webhooks_logger"]

client_logger = logging.getLogger("qlara_async.client")
webhooks_logger = logging.getLogger("qlara_async.webhooks")
sandbox_logger = logging.getLogger("qlara_async.sandbox")
