"""Import time of `qlara_async` above aiohttp itself. ``python -m benchmarks.imports [rounds]``

Of an installed package, whose modules are compiled: what an environment that forbids to keep bytecode
(``PYTHONDONTWRITEBYTECODE``) adds is the compiler's time, and is told apart. The best of the rounds counts: the others
measure what else the machine does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

_BUDGET_MS = 60.0
_CODE = """
import time
import aiohttp
began = time.perf_counter()
import qlara_async
print((time.perf_counter() - began) * 1000)
"""


def _once(environment: dict[str, str]) -> float:
    done = subprocess.run([sys.executable, "-c", _CODE], env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def _main(rounds: int) -> None:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as cache:
        compiled = inherited | {"PYTHONPYCACHEPREFIX": cache}
        first = _once(compiled)
        best = min(_once(compiled) for _ in range(rounds))
    verdict = "met" if best < _BUDGET_MS else "MISSED"
    print(f"\nImport of qlara_async above aiohttp\n  {best:.1f} ms   budget < {_BUDGET_MS:g} ms {verdict}")
    print(f"  {first:.1f} ms   the first time, when it is compiled")


if __name__ == "__main__":
    _main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
