"""The README's table of measured numbers, made from `bench/results/` and from nothing else."""

from __future__ import annotations

import json

from bench.measure import RESULTS, ROOT

BEGIN, END = "<!-- numbers -->", "<!-- /numbers -->"


def table() -> str:
    """One row a result: question, value, bar, what was measured beside it, date and command."""
    lines = ["| question | measured | bar | ours, beside | when, with |", "|---|---|---|---|---|"]
    machines: list[str] = []
    for path in sorted(RESULTS.glob("*.json")):
        body = json.loads(path.read_text())
        box = body["machine"]
        words = f"{box['cpu']}, {box['cores']} cores, {box['ram_gib']} GiB, {box['gpu'] or 'no GPU'}"
        if words not in machines:
            machines.append(words)
        for result in body["results"]:
            met = "" if result["value"] <= result["bar"] else " (not met)"
            unit = "" if result["unit"] == "x" else f" {result['unit']}"
            lines.append(
                f"| {result['question']} | **{result['value']:.3g}{unit}**{met} | <= {result['bar']:g}{unit} "
                f"| {result['ours']}; {result['baseline']} | {body['date']}, `{result['command']}` |"
            )
    return "\n".join([*lines, "", *(f"Machine: {words}." for words in machines)])


def rewrite() -> None:
    """Put the table between its two marks in the README."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    readme.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    rewrite()
