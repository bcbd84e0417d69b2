"""Reads the box through NVML in a process of its own and prints the snapshots as one JSON list.

Usage: read.py HOME PRIVATE(0|1) INTERVAL_S KINDS..., one snapshot for each list of device kinds of the fake library.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from trainer.devices.nvml import NvmlBackend

_PR_SET_NAME = 15


def main() -> None:
    # A name that would turn a terminal red.
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"\x1b[31mtrain")
    home, private, interval_s = Path(sys.argv[1]), sys.argv[2] == "1", float(sys.argv[3])
    backend = NvmlBackend(home, process_interval_s=interval_s, retry_s=interval_s, private_pids=private)
    snapshots = []
    for kinds in sys.argv[4:]:
        os.environ["FAKE_NVML_DEVICES"] = kinds
        snapshots.append(asdict(backend.snapshot()))
    backend.close()
    backend.close()
    print(json.dumps({"pid": os.getpid(), "snapshots": snapshots}))


if __name__ == "__main__":
    main()
