"""Run the claims and snippets that are not verified as they stand: `python site_tools/verify.py [PYTEST OPTIONS]`."""

import sys
from pathlib import Path

import claims
import gate
import notebooks
import pytest


def stale(root: Path) -> tuple[list[str], list[str]]:
    """Tests, as pytest names them, whose claim did not pass on the files as they stand, or was not run on them; and
    modules whose snippet has not run as it stands."""
    report, tests = claims.results(root), []
    for module in claims.questions(root):
        now = claims.fingerprints(root, module)
        good = {c.name for c in report.values() if c.fingerprint == now.get(c.name) and c.outcome == "passed"}
        names = [f"tests/test_{module}.py::test_{name}" for name in now if name not in good]
        tests += names if len(names) < len(now) else names and [f"tests/test_{module}.py"]
    return tests, [module for module in claims.questions(root) if not notebooks.read(root, module)]


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    if found := list(gate.unreadable(root)):
        sys.exit("\n".join(found))
    tests, not_run = stale(root)
    if tests or not_run:
        print(f"Verifying {', '.join([*tests, *(f'snippets/{module}.py' for module in not_run)])} …", flush=True)
        notebook = "tests/machinery/test_snippets.py::test_snippet_runs_as_a_notebook"
        sys.exit(pytest.main(["-q", *sys.argv[1:], *tests, *(f"{notebook}[{module}]" for module in not_run)]))
