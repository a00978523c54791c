"""Claims that come out differently: `python site_tools/compare.py OLD.xml NEW.xml` prints them as a Markdown list.

Each report is a build/report.xml, measured with its own versions of Python, torch and numpy.
"""

import math
import sys
from pathlib import Path

import claims

RELATIVE = 1e-3
ABSOLUTE = 1e-6  # below it is rounding, which another order of summation changes


def differences(old: dict[str, claims.Claim], new: dict[str, claims.Claim]) -> list[str]:
    """A line for each claim that does not pass, and for each that recorded other numbers."""
    lines = []
    for name, was in old.items():
        now = new.get(name)
        outcome = now.outcome if now else "has no result"
        numbers = [
            f"{key} {was.values[key]:.6g} → {now.values[key]:.6g}" if key in now.values else f"{key} not recorded"
            for key in (was.values if now else [])
            if not math.isclose(was.values[key], now.values.get(key, math.nan), rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        ]
        if numbers or outcome != "passed":
            lines.append(f"- `{name}` ({was.file}): {'; '.join(([outcome] if outcome != 'passed' else []) + numbers)}")
    return lines


def versions(report: dict[str, claims.Claim]) -> str:
    """The versions that the claims were measured with."""
    measured = next(iter(report.values())).versions if report else {}
    return ", ".join(f"{name} {version}" for name, version in measured.items()) or "no claim"


if __name__ == "__main__":
    old, new = (claims.read_report(Path(name)) for name in sys.argv[1:])
    if found := differences(old, new):
        print(f"## {versions(new)}\n\nInstead of {versions(old)}:\n", *found, sep="\n", end="\n\n")
