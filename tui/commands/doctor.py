"""`burnish doctor`: is this box ready? Exit code 1 where something must be mended first."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from trainer.planning.doctor import checks
from trainer.text import one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    found = []
    for check in checks(args.devices):
        found.append(check)
        if not args.json:
            print(f"{check.status:<5} {check.name:<14} {one_line(check.detail)}", flush=True)
            if check.remedy and check.status != "ok":
                print(f"{'':21}{check.remedy}")
    ok = all(check.status != "fail" for check in found)
    if args.json:
        print(json.dumps({"ok": ok, "checks": [asdict(check) for check in found]}))
    return 0 if ok else 1
