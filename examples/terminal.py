"""What the examples print on."""

from __future__ import annotations

import io
import sys


def print_in_any_encoding() -> None:
    """Let standard output show ``?`` for what its encoding lacks, rather than fail."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
