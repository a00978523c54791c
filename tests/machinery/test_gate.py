"""The gate: every fault of a page or claim stops the site with one line that names the place and the way to mend it."""

import re

import pages
import pytest
from command import run

PAGE = "docs/questions/two-dice.md"
TEST = "tests/test_two_dice.py"
SNIPPET = "snippets/two_dice.py"


def edit(project, name, old, new):
    path = project / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def only_problem(project):
    found = pages.problems(project)
    assert len(found) == 1, found
    return found[0]


def test_sound_project_has_no_problem(project):
    assert pages.problems(project) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (PAGE, "7.[^mean_of_two", "seven.[^mode_of_two", r":14: no test for \[\^mode_of_two_dice_is_seven\]; write"),
        (PAGE, "is 7.", "is 8.", r":14: nobody measured 8; the nearest .* is 7 \(mean of mean_of_two_dice_is_seven\)"),
        (PAGE, "is 5.83,", "is 5.84,", ":22: nobody measured 5.84; the nearest number .* 5.83333"),
        (PAGE, "^2 = 5.83", "^2 = 5.82", ":22: nobody measured 5.82"),
        (PAGE, "16.7 %", "16.8 %", ":22: nobody measured 16.8 %"),
        (PAGE, "0.17.", "0.18.", ":31: nobody measured 0.18"),
        (PAGE, "one die is 3.5", "one die is 3.5, in all 6", r":37: nobody measured 6; the nearest"),
        (PAGE, "have the mean 7", "have the mean 3.5", ":43: nobody measured 3.5; the nearest .* of mean_of_two"),
        (PAGE, "Two.\n", "Two of 11.\n", ":40: nobody measured 11; tick it"),
        (PAGE, "## Follow-ups", "## Questions", r":12: the sections are .*; write exactly .*Follow-ups"),
        (PAGE, "description: Seven.\n", "", ":1: the front matter has no `description`"),
        (PAGE, '??? question "Five?"\n    Five.\n', "", ":1: fewer than 5 follow-ups"),
        (PAGE, "![Bars that rise to seven and fall again.]", "![]", ":25: a picture without alternative text"),
        (PAGE, "sources: [pascal-1654]", "sources: [fermat-1654, pascal-1654]", ":1: `fermat-1654` must stand both"),
    ],
)
def test_fault_of_a_page(project, name, old, new, message):
    edit(project, name, old, new)
    assert re.match(re.escape(name) + message, only_problem(project))


def test_every_changed_digit_of_a_measured_number_is_noticed(project):
    text = (project / PAGE).read_text(encoding="utf-8")
    changed = 0
    for number in re.finditer(r"(?<=is )7(?=\.\[)|5\.83|16\.7(?= %)|0\.17|3\.5", text):
        for at in range(number.start(), number.end()):
            if text[at].isdigit():
                digit = str((int(text[at]) + 1) % 10)
                (project / PAGE).write_text(text[:at] + digit + text[at + 1 :], encoding="utf-8")
                assert "nobody measured" in only_problem(project)
                changed += 1
    assert changed == 17


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        (
            "Proved: the mean of one",
            "The mean of one",
            [r"test_two_dice.py:\d+: test_mean_of_one_die needs a docstring"],
        ),
        ("def test_mean_of_one_die", "def test_mean_of_a_die", ["no test for .*one_die", "no page refers to .*a_die"]),
        ("die(measured):", "die(record_property):", ["test_mean_of_one_die records nothing"]),
    ],
)
def test_fault_of_a_claim(project, old, new, messages):
    edit(project, TEST, old, new)
    found = "\n".join(pages.problems(project))
    for message in messages:
        assert re.search(message, found)


@pytest.mark.parametrize("name", [SNIPPET, TEST, "tests/conftest.py", "requirements.txt"])
def test_result_for_other_files_is_no_result(project, name):
    with (project / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    found = pages.problems(project)
    assert any(
        re.match(r"docs/questions/two-dice.md:14: .*no result for the files as they stand; run", line) for line in found
    )
    assert any(re.match(r"docs/questions/two-dice.md:19: snippets/two_dice.py has not run", line) for line in found)


def test_failed_and_skipped_claims_stop_the_site(project):
    edit(project, TEST, "mean() == 7", "mean() == 8")
    edit(
        project,
        TEST,
        "    measured(mean=throws(1)",
        '    __import__("pytest").skip("later")\n    measured(mean=throws(1)',
    )
    assert run(project, "site_tools/verify.py").returncode == 1
    found = "\n".join(pages.problems(project))
    assert "two-dice.md:14: [^mean_of_two_dice_is_seven] failed; see tests/test_two_dice.py:6" in found
    assert "two-dice.md:37: [^mean_of_one_die] skipped; see tests/test_two_dice.py:13" in found
    built = run(project, "-m", "mkdocs", "build")
    assert built.returncode == 1
    assert "two-dice.md:14: [^mean_of_two_dice_is_seven] failed" in built.stderr
    assert "Traceback" not in built.stderr
    assert not (project / "site").exists()


def test_claim_named_twice_is_refused(project):
    text = (project / TEST).read_text(encoding="utf-8").replace("two-dice", "three-dice")
    (project / "tests/test_three_dice.py").write_text(text, encoding="utf-8")
    (project / "docs/questions/three-dice.md").write_text(
        (project / PAGE).read_text(encoding="utf-8"), encoding="utf-8"
    )
    found = "\n".join(pages.problems(project))
    assert "test_mean_of_one_die exists in tests/test_two_dice.py too" in found


def test_snippet_that_raises_is_a_failed_test(project):
    edit(project, SNIPPET, 'print("mean", throws(2).mean())', "throws(-1)[0]")
    result = run(project, "site_tools/verify.py")
    assert result.returncode == 1
    assert "test_snippet_runs_as_a_notebook[two_dice]" in result.stdout


def test_formula_that_does_not_parse_stops_the_site(project):
    edit(project, PAGE, "$n = 6$", r"$\frac{1$")
    built = run(project, "-m", "mkdocs", "build")
    assert built.returncode == 1
    assert "questions/two-dice.md: formula" in built.stderr
