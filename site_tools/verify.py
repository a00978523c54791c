"""Run the claims and snippets that are not verified as they stand: `python site_tools/verify.py [PYTEST OPTIONS]`."""

import sys
from pathlib import Path

import claims
import gate
import notebooks
import pytest


def stale(root: Path) -> list[str]:
    """Modules with a claim that is missing, did not pass, or was measured on other files than the present ones."""
    report = claims.read_report(root / claims.REPORT).values()
    modules = []
    for module in claims.questions(root):
        now = claims.fingerprint(root, module)
        good = {c.name for c in report if c.module == module and c.fingerprint == now and c.outcome == "passed"}
        if good != set(claims.written(root, module)) or not notebooks.read(root, module):
            modules.append(module)
    return modules


def test_paths(modules: list[str]) -> list[str]:
    """What pytest has to run to verify the questions: their claims, and their snippets as notebooks."""
    notebook = "tests/machinery/test_snippets.py::test_snippet_runs_as_a_notebook"
    return [f"tests/test_{module}.py" for module in modules] + [f"{notebook}[{module}]" for module in modules]


if __name__ == "__main__":
    root = Path(__file__).parents[1]
    if found := list(gate.unreadable(root)):
        sys.exit("\n".join(found))
    if modules := stale(root):
        print(f"Verifying {', '.join(modules)} …", flush=True)
        sys.exit(pytest.main(["-q", *sys.argv[1:], *test_paths(modules)]))
