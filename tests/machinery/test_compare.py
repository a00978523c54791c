"""Two reports of the same claims, and the questions that differ between two commits."""

import shutil
import subprocess

import changed
import claims
import compare
import pytest
from command import run

ONE_DIE = 'name="test_mean_of_one_of_two_dice"'
CLAIM = "- `mean_of_one_of_two_dice` (tests/test_two_dice.py): "


@pytest.fixture
def reports(project, tmp_path):
    """A function that edits the report of the project, from the claim about one die on: the comparison of both."""
    old = project / claims.REPORT

    def edited(before: str, after: str) -> list[str]:
        head, found, tail = old.read_text(encoding="utf-8").partition(ONE_DIE)
        assert found
        assert before in tail
        new = tmp_path / "new.xml"
        new.write_text(head + found + tail.replace(before, after, 1), encoding="utf-8")
        return compare.differences(claims.read_report(old), claims.read_report(new))

    return edited


def test_same_numbers_and_rounding_are_no_difference(reports):
    assert reports('value="3.5"', 'value="3.5"') == []
    assert reports('value="3.5"', 'value="3.5034"') == []


def test_other_number_is_listed_with_both(reports):
    assert reports('value="3.5"', 'value="3.504"') == [CLAIM + "mean 3.5 → 3.504"]
    assert reports('name="mean"', 'name="average"') == [CLAIM + "mean not recorded"]


def test_rounding_around_zero_is_no_difference(reports):
    def claim(value):
        return {"c": claims.Claim("c", "", {"error": value}, {}, "", "passed", "tests/test_m.py", 1)}

    assert compare.differences(claim(2e-16), claim(-9e-16)) == []
    assert compare.differences(claim(0.0), claim(2e-6)) == ["- `c` (tests/test_m.py): error 0 → 2e-06"]


def test_claim_that_fails_or_did_not_run_is_listed(reports):
    assert reports("</properties>", "</properties><failure/>") == [CLAIM + "failed"]
    assert reports('name="claim"', 'name="phrase"') == [CLAIM + "has no result"]


def test_command_prints_the_versions_and_nothing_where_nothing_changed(project):
    report = project / claims.REPORT
    text = report.read_text(encoding="utf-8")
    other = report.with_name("other.xml")
    other.write_text(
        text.replace("3.5", "3.6").replace('name="numpy" value="', 'name="numpy" value="9'), encoding="utf-8"
    )
    same = run(project, "site_tools/compare.py", str(report), str(report))
    assert (same.returncode, same.stdout) == (0, "")
    printed = run(project, "site_tools/compare.py", str(report), str(other)).stdout
    assert printed.startswith("## python 3.")
    assert "numpy 9" in printed.partition("Instead of")[0]
    assert CLAIM + "mean 3.5 → 3.6\n" in printed


def git(root, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=false"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def test_changed_questions(project):
    for name in ("docs/questions/two-dice.md", "snippets/two_dice.py"):
        shutil.copy(project / name, project / name.replace("two", "three"))
    (project / ".gitignore").write_text("/node_modules\n/vendor\n/build/\n", encoding="utf-8")
    git(project, "init", "-q")
    for path in (None, "docs/index.md", "snippets/three_dice.py", "docs/questions/two-dice.md"):
        if path:
            with (project / path).open("a", encoding="utf-8") as file:
                file.write("\n")
        git(project, "add", ".")
        git(project, "commit", "-q", "-m", str(path))
    assert changed.changed(project, "HEAD~3") == ["three-dice", "two-dice"]
    assert changed.changed(project, "HEAD~1") == ["two-dice"]
    assert changed.changed(project, "HEAD") == []
    assert run(project, "site_tools/changed.py", "HEAD~3").stdout == "three-dice two-dice\n"
    nowhere = run(project, "site_tools/changed.py", "nowhere")
    assert nowhere.returncode != 0
    assert "nowhere" in nowhere.stderr
    assert "make changed BASE=" in run(project, "site_tools/changed.py", "").stderr
