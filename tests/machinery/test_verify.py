"""Verification is incremental, repeatable, and the site that it leads to is the same each time."""

import hashlib
import re
import sys

import claims
import kernels
import notebooks
import psutil
import pytest
import verify
from command import run


def test_nothing_changed_nothing_runs(project):
    assert verify.stale(project) == ([], [])
    assert run(project, "site_tools/verify.py").stdout == ""


def test_prose_does_not_make_claims_stale(project):
    with (project / "docs/questions/two-dice.md").open("a", encoding="utf-8") as page:
        page.write("\nMore prose.\n")
    assert verify.stale(project) == ([], [])


def prepended(path, line, before):
    """The file with one more line before the first one that begins like this."""
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"(?m)^(?={re.escape(before)})", line, text, count=1), encoding="utf-8")


ALL = ["tests/test_two_dice.py"]
ONE = ["tests/test_two_dice.py::test_mean_of_one_of_two_dice"]


@pytest.mark.parametrize(
    ("file", "line", "before", "stale"),
    [
        ("tests/test_two_dice.py", "    # changed\n", "    measured(mean=throws(1)", (ONE, [])),
        ("tests/test_two_dice.py", "@pytest.mark.slow\n", "def test_mean_of_one_of_two_dice", (ONE, [])),
        ("tests/test_two_dice.py", "CHANGED = 1\n", "def test_mean_of_one_of_two_dice", (ALL, [])),
        ("tests/conftest.py", "# changed\n", "ROOT =", (ALL, [])),
        ("snippets/two_dice.py", "    # changed\n", "    print", ([], ["two_dice"])),
        ("snippets/two_dice.py", "    # changed\n", "    return", (ALL, ["two_dice"])),
        ("snippets/two_dice.py", "else:\n    CHANGED = 1\n", "# %% --8<-- [end", (ALL, ["two_dice"])),
        ("requirements.txt", "# changed\n", "", (ALL, ["two_dice"])),
    ],
)
def test_what_a_change_makes_stale(project, file, line, before, stale):
    prepended(project / file, line, before)
    assert verify.stale(project) == stale


def test_changed_test_makes_those_stale_that_may_use_it(project):
    path = project / "tests/test_two_dice.py"
    prepended(path, "    assert callable(test_mean_of_one_of_two_dice)\n", "    assert sums.mean")
    assert run(project, "site_tools/verify.py").returncode == 0
    assert verify.stale(project) == ([], [])
    prepended(path, "    # changed\n", "    measured(mean=throws(1)")
    assert verify.stale(project) == (ALL, [])


def test_result_stands_where_its_test_stands_now_and_goes_with_it(project):
    path, name = project / "tests/test_two_dice.py", "variances_of_two_dice_add_up"
    before = claims.results(project)[name].line
    prepended(path, "    # changed\n", "    measured(mean=throws(1)")
    assert claims.results(project)[name].line == before + 1
    path.write_text(path.read_text(encoding="utf-8").partition(f"def test_{name}")[0], encoding="utf-8")
    assert name not in claims.results(project)


def test_run_of_one_claim_keeps_the_others(project):
    before = claims.read_report(project / claims.REPORT)
    assert run(project, "-m", "pytest", "-q", "tests/test_two_dice.py", "-k", "one_of").returncode == 0
    assert claims.read_report(project / claims.REPORT) == before
    assert len(before) == 3


def test_site_shows_proof_output_and_figure_and_is_reproducible(project):
    digests = []
    for _ in range(2):
        built = run(project, "-m", "mkdocs", "build")
        assert built.returncode == 0, built.stderr
        files = sorted(path for path in (project / "site").rglob("*") if path.is_file())
        digests.append([(path.relative_to(project), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files])
    assert digests[0] == digests[1]
    page = (project / "site/questions/two-dice/index.html").read_text(encoding="utf-8")
    assert "Recorded: mean = 7, variance = 5.833, share = 0.1667." in page
    assert 'href="../../tests/test_two_dice/#mean_of_one_of_two_dice"' in page
    assert "<math" in page
    assert "mean 7.0 variance 5.83" in page
    assert (project / "site/figures/two_dice/figure.svg").exists()
    assert (project / "site/notebooks/two-dice/index.html").exists()
    home = (project / "site/index.html").read_text(encoding="utf-8")
    assert "<strong>3 claims</strong>, 3 proved" in home


def test_executing_a_snippet_twice_gives_the_same_notebook(project):
    first = notebooks.path(project, "two_dice").read_bytes()
    notebooks.execute(project, "two_dice")
    assert notebooks.path(project, "two_dice").read_bytes() == first


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels are processes of their own")
def test_kernels_have_nothing_in_common_and_end(project):
    with (project / "snippets/two_dice.py").open("a", encoding="utf-8") as snippet:
        snippet.write("\n# %%\nimport builtins\n\nassert not hasattr(builtins, 'seen')\nbuiltins.seen = True\n")
    for _ in range(2):
        notebooks.execute(project, "two_dice")
    assert psutil.Process(kernels.Forked.server.pid).children() == []
