"""Numbers as a person reads them."""

from __future__ import annotations

import math


def compact(number: float) -> str:
    """A number in at most six characters and its sign: 0.613, 0.0041, 1.2k, 3.4M, 2.0e-4."""
    if not math.isfinite(number):
        return "–"
    size = abs(number)
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9995 * limit:  # what would be rounded up to the unit is written in it
            return f"{number / limit:.3g}{unit}"
    if size == 0 or float(number).is_integer():
        return f"{number:.0f}"
    if size < 1e-3:
        mantissa, exponent = f"{number:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{number:.2g}" if size < 1e-2 else f"{number:.3g}"


def duration(seconds: float) -> str:
    """Seconds as 45 s, 18 min, 2 h 05 min, 3 d 4 h."""
    if not math.isfinite(seconds):
        return "–"
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"
