"""A new question starts from a template that passes everything at once."""

import gate
import new
import pytest
from command import run


def test_new_question_passes_as_it_is(project):
    result = run(project, "site_tools/new.py", "rotary-embeddings", "Why rotary embeddings?")
    assert result.returncode == 0
    assert "make check Q=rotary-embeddings" in result.stdout
    check = run(project, "site_tools/check.py", "rotary-embeddings")
    assert check.returncode == 0, check.stdout + check.stderr
    assert "rotary-embeddings: every claim passes" in check.stdout
    assert gate.problems(project) == []
    assert run(project, "-m", "mkdocs", "build").returncode == 0
    page = (project / "site/questions/rotary-embeddings/index.html").read_text(encoding="utf-8")
    assert page.count("Why rotary embeddings?") > 1
    assert "dice-dice" not in page


@pytest.mark.parametrize(
    ("slug", "title", "message"),
    [
        ("two-dice", "Why?", "docs/questions/two-dice.md exists: choose another SLUG"),
        ("Two-Cubes", "Why?", "'Two-Cubes' cannot be a page's address: use lower case"),
        ("../escape", "Why?", "cannot be a page's address"),
        ("", "Why?", "'' cannot be a page's address"),
        ("two-cubes", "", "the title is the question as one would ask it"),
        ("two-cubes", 'Why "two"?', "without quotation marks"),
    ],
)
def test_refused_with_the_reason_and_nothing_written(project, slug, title, message):
    before = sorted((path, path.stat().st_mtime_ns) for path in project.rglob("*") if path.is_file())
    with pytest.raises(ValueError, match=message):
        new.start(project, slug, title)
    assert sorted((path, path.stat().st_mtime_ns) for path in project.rglob("*") if path.is_file()) == before
