"""Every snippet runs as a notebook, from a fresh kernel."""

from pathlib import Path

import claims
import notebooks
import pytest

ROOT = Path(__file__).parents[2]
MODULES = list(claims.questions(ROOT))


@pytest.mark.parametrize("module", MODULES)
def test_snippet_runs_as_a_notebook(module):
    try:
        notebooks.execute(ROOT, module)
    except notebooks.SnippetError as error:
        pytest.fail(str(error), pytrace=False)
    assert notebooks.read(ROOT, module).cells
