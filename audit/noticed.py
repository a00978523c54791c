"""pytest plugin for `make mutants`: a claim also fails if its page prints a number that it no longer records.

The gate would refuse to build that page, so the change is noticed; pytest alone would not see it.
"""

import sys
from pathlib import Path

import claims
import pages
import pytest

ROOT = Path.cwd()
PRINTED = [
    (statement.references, number)
    for page in sorted((ROOT / "docs/questions").glob("*.md"))
    for block in pages.blocks(page.read_text(encoding="utf-8"))
    for statement in block.statements
    for number in statement.numbers()
]
BEFORE = claims.read_report(ROOT / "recorded.xml")


def pytest_sessionstart():
    """mutmut forks a process that has run the claims before: what was computed at import or cached must come anew."""
    for name, module in list(sys.modules.items()):
        path = Path(getattr(module, "__file__", None) or "/")
        if path.parent == ROOT / "src" or path.name.startswith("test_"):
            del sys.modules[name]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    name = item.name.removeprefix("test_")
    now = [float(value) for key, value in item.user_properties if key not in claims.FACTS]
    others = lambda names: [v for n in names if n != name for v in BEFORE[n].values.values()]  # noqa: E731
    for names, number in PRINTED:
        if name in names and not any(pages.agrees(number, value) for value in now + others(names)):
            raise AssertionError(f"the page prints {number[0]}")
    return result
