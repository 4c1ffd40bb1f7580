"""The threat model names tests: they are there."""

from __future__ import annotations

import re
from pathlib import Path

import qlara_async.webhooks

PAGE = Path(qlara_async.webhooks.__file__).with_name("THREAT_MODEL.md")


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    defined = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"def (test_\w+)\(", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 20
    assert named - defined == set()
