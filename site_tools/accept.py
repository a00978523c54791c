"""Accept the numbers of all pages as they stand, and show which are new: `python site_tools/accept.py`.

The gate knows that a number was measured, not that it is the one that the sentence means. That a person has to see:
tests/numbers.txt says for each number which recorded value it stands for, and a pull request shows what changed in it.
"""

import difflib
import sys
from pathlib import Path

import claims
import gate


def standing(root: Path) -> list[str]:
    """A line for each number of each page."""
    report = claims.results(root)
    lines = []
    for page in sorted(root.glob("docs/**/*.md")):
        where = page.relative_to(root).as_posix()
        for _, number, recorded in gate.numbers(page.read_text(encoding="utf-8"), report):
            if where != gate.BIBLIOGRAPHY and (entry := gate.meant(number, recorded)):
                lines.append(f"{where}: {entry}")
    return lines


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    if found := [line for line in gate.problems(root) if "was accepted" not in line]:
        sys.exit("\n".join(["first mend:", *found]))
    path, now = root / gate.ACCEPTED, standing(root)
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    print(
        *[line for line in difflib.unified_diff(before, now, n=0, lineterm="") if line[:3] not in ("---", "+++")],
        sep="\n",
    )
    path.write_text("".join(f"{line}\n" for line in now), encoding="utf-8", newline="\n")
