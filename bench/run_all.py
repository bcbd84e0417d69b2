"""Every bench file, one after the other, then the README's table: `make bench`. Names pick some: run_all startup."""

from __future__ import annotations

import subprocess
import sys

from bench.measure import PYTHON, ROOT
from bench.table import rewrite

BENCHES = ("startup", "launch", "step_time", "terminal_bytes", "reattach")


def main(names: list[str]) -> int:
    failed = [
        name
        for name in names or BENCHES
        if subprocess.run([PYTHON, "-m", f"bench.{name}"], cwd=ROOT, check=False).returncode
    ]
    rewrite()
    for name in failed:
        print(f"bench.{name} failed: its row in the table is the last good one", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
