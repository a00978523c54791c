"""Run the claims and snippets that are not verified as they stand: `python site_tools/verify.py [PYTEST OPTIONS]`."""

import sys
from pathlib import Path

import claims
import gate
import notebooks
import pytest


def stale(root: Path) -> tuple[list[str], list[str]]:
    """Modules with a claim that is missing, did not pass, or was measured on other files than the present ones; and
    modules whose snippet has not run as it stands."""
    report = claims.read_report(root / claims.REPORT).values()
    untested = []
    for module in claims.questions(root):
        now = claims.fingerprint(root, module)
        good = {c.name for c in report if c.module == module and c.fingerprint == now and c.outcome == "passed"}
        if good != set(claims.written(root, module)):
            untested.append(module)
    return untested, [module for module in claims.questions(root) if not notebooks.read(root, module)]


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    if found := list(gate.unreadable(root)):
        sys.exit("\n".join(found))
    untested, not_run = stale(root)
    if untested or not_run:
        print(f"Verifying {', '.join(sorted({*untested, *not_run}))} …", flush=True)
        notebook = "tests/machinery/test_snippets.py::test_snippet_runs_as_a_notebook"
        paths = [f"tests/test_{module}.py" for module in untested] + [f"{notebook}[{module}]" for module in not_run]
        sys.exit(pytest.main(["-q", *sys.argv[1:], *paths]))
