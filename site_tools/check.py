"""All that is wrong with one question, at once: `python site_tools/check.py SLUG`. Runs what is not verified yet."""

import sys
from pathlib import Path

import claims
import gate
import notebooks
import pytest
import verify

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("which question? make check Q=scale-by-sqrt-d")
    root, slug = Path(__file__).parents[1], sys.argv[1]
    module = slug.replace("-", "_")
    if module not in claims.questions(root):
        sys.exit(f"there is no docs/questions/{slug}.md; the questions are {', '.join(claims.questions(root))}")
    found = list(gate.unreadable(root))
    if not found:
        tests, not_run = verify.stale(root)
        # beside the claims; the second run must give the same
        runs = [notebooks.start(root, module) for _ in range(2)] if module in not_run else []
        if mine := [test for test in tests if test.startswith(f"tests/test_{module}.py")]:
            pytest.main(["-q", "--tb=short", *mine])
        found += notebooks.finish(root, module, runs) if runs else []
        found += [line for line in gate.problems(root, only=module) if line not in found]
    print(*found or [f"{slug}: every claim passes, every tick and number is covered"], sep="\n")
    sys.exit(bool(found))
