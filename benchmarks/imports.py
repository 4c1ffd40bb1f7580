"""Import time of `qlara_async` above aiohttp itself. ``python -m benchmarks.imports [rounds]``"""

from __future__ import annotations

import statistics
import subprocess
import sys

_BUDGET_MS = 60.0
_CODE = """
import time
import aiohttp
began = time.perf_counter()
import qlara_async
print((time.perf_counter() - began) * 1000)
"""


def _main(rounds: int) -> None:
    command = [sys.executable, "-c", _CODE]
    times = [float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(rounds)]
    median = statistics.median(times)
    verdict = "met" if median < _BUDGET_MS else "MISSED"
    print(f"\nImport of qlara_async above aiohttp\n  {median:.1f} ms   budget < {_BUDGET_MS:g} ms {verdict}")


if __name__ == "__main__":
    _main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
