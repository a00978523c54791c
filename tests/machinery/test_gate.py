"""The gate: every fault of a page or claim stops the site with one line that names the place and the way to mend it."""

import re
import shutil

import gate
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
    found = gate.problems(project)
    assert len(found) == 1, found
    return found[0]


def checked(project):
    """What a contributor reads: `make check` of the question."""
    result = run(project, "site_tools/check.py", "two-dice")
    assert result.returncode == 1
    return result.stdout + result.stderr


def test_sound_project_has_no_problem(project):
    assert gate.problems(project) == []


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
        (PAGE, "title: What", "title: Throw: what", ":2: mapping values are not allowed here; front matter is YAML"),
        (PAGE, "date: 2026-11-21", "date: yesterday", ":1: `date` in the front matter must be a date"),
        (PAGE, "tags: [core]", "tags: core", ":1: `tags` in the front matter must be a list"),
        (PAGE, "tags: [core]", "tags: [dice]", ":1: `tags` must name one level: core, intermediate, advanced"),
        (PAGE, "asked_as: [两个骰子]", "asked_as: [why: dice]", ":1: an entry of `asked_as` .* put it in quotes"),
        (PAGE, "Four.\n", "[Four](four-dice.md).\n", ":46: a link to four-dice.md, which does not exist; mend"),
        (
            PAGE,
            "figures/two_dice/figure.svg",
            "figures/two_dice/bars.svg",
            ":25: no section draws .*bars.svg; the name",
        ),
        (
            PAGE,
            "two_dice.py:throws",
            "two_dice.py:rolls",
            ":19: snippets/two_dice.py has no section rolls; it has throws",
        ),
        (PAGE, "two_dice.py:throws", "three_dice.py:throws", ":19: snippets/three_dice.py has not run as it stands"),
    ],
)
def test_fault_of_a_page(project, name, old, new, message):
    edit(project, name, old, new)
    assert re.match(re.escape(name) + message, only_problem(project))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "docs/bibliography.md",
            "- Pascal 1654",
            "- Pascal",
            r"docs/bibliography.md:4: `pascal-1654` has no year; the",
        ),
        ("mkdocs.yml", "  - questions/two-dice.md\n", "", rf"{PAGE}:1: the page is not in the navigation; add it"),
        (SNIPPET, "# %% --8<-- [end:throws]", "", rf"{SNIPPET}:1: section throws never ends; add # %% --8<--"),
        (SNIPPET, "[end:throws]", "[end:rolls]", rf"{SNIPPET}:\d+: section rolls ends but was not open; mend"),
        (SNIPPET, "[start:figure]", "[start:throws]", rf"{SNIPPET}:\d+: section throws starts twice; name it"),
        (SNIPPET, "import numpy", "import numpy as np numpy", rf"{SNIPPET}:\d+: invalid syntax; Python cannot read"),
        (
            SNIPPET,
            "import numpy as np\n",
            "import numpy as np\n" + "x = 1\n" * 170,
            rf"{SNIPPET}:1: \d+ lines of code; keep",
        ),
        (TEST, "def test_mean_of_one_die", "def test_mean of_one", rf"{TEST}:\d+: .*; Python cannot read the file"),
        (
            TEST,
            "def test_mean_of_one",
            "@pytest.mark.parametrize()\ndef test_mean_of_one",
            "is parametrized, but a claim",
        ),
    ],
)
def test_fault_of_another_file(project, name, old, new, message):
    edit(project, name, old, new)
    assert re.search(message, "\n".join(gate.problems(project)))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            SNIPPET,
            'print("mean", throws(2).mean())',
            "throws(-1)[0]",
            rf"{SNIPPET}:10: AttributeError: .*; mend the snippet",
        ),
        (
            SNIPPET,
            "throws(2).mean())",
            "id(object()))",
            rf"{SNIPPET}:6: section throws gives something else on each run",
        ),
        (
            SNIPPET,
            'print("mean"',
            'while True: pass\n    print("mean"',
            rf"{SNIPPET}:7: a cell ran for more than 3 s; make",
        ),
        (
            SNIPPET,
            'print("mean"',
            'open("dice.txt", "w")\n    print("mean"',
            rf"{SNIPPET}:14: .*outside a temporary folder",
        ),
        (
            SNIPPET,
            'print("mean"',
            "import socket\n    socket.create_connection(('example.org', 80)) or print('mean'",
            rf"{SNIPPET}:.*offline",
        ),
        (
            TEST,
            "assert sums",
            'open("dice.txt", "w"); assert sums',
            r"dice.txt is outside a temporary folder: write under",
        ),
        (TEST, "assert sums", "import os; os.mkdir('dice'); assert sums", r"dice is outside a temporary folder: write"),
        (
            TEST,
            "assert sums",
            "import socket; socket.getaddrinfo('example.org', 80); assert sums",
            "claims .* run offline",
        ),
        (
            TEST,
            "    assert sums",
            "    while True:\n        pass\n    assert sums",
            r"Timeout \(>8.0s\) from pytest-timeout",
        ),
        (
            TEST,
            "mean=throws(1).mean()",
            "mean=float('nan')",
            r"measured\(mean=nan\) is not a finite number: record what",
        ),
        (TEST, "mean=throws(1).mean()", "mean='3.5'", r"measured\(mean='3.5'\) is not a finite number: record what"),
        (TEST, "mean=throws(1).mean()", "claim=throws(1).mean()", "was recorded before, or is a reserved name: choose"),
        (TEST, "measured(mean=throws(1).mean())", "", rf"{TEST}:13: test_mean_of_one_die recorded no number; call"),
    ],
)
def test_fault_that_shows_when_run(project, name, old, new, message):
    edit(project, "site_tools/notebooks.py", "LIMIT = 60", "LIMIT = 3")
    edit(project, "pyproject.toml", "timeout = 120", "timeout = 8")
    edit(project, name, old, new)
    assert re.search(message, checked(project))
    assert not (project / "dice.txt").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (PAGE, b"Seven.\n", b"Seven.\r\n", f"{PAGE}:3: a Windows line ending; save the file with"),
        (PAGE, b"Seven.\n", b"Seven \xe9.\n", f"{PAGE}:3: this is not UTF-8; save the file in that encoding"),
        (SNIPPET, b"dice, (6", b"dic\xe9, (6", f"{SNIPPET}:8: this is not UTF-8; save the file in that encoding"),
    ],
)
def test_file_that_is_not_text_as_it_should_be(project, name, old, new, message):
    content = (project / name).read_bytes()
    assert old in content
    (project / name).write_bytes(content.replace(old, new, 1))
    assert only_problem(project).startswith(message)
    for command in (["site_tools/verify.py"], ["site_tools/check.py", "two-dice"], ["-m", "mkdocs", "build"]):
        result = run(project, *command)
        assert result.returncode == 1
        assert message in result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize("name", [SNIPPET, TEST])
def test_question_without_its_file(project, name):
    (project / name).unlink()
    assert only_problem(project) == f"{name}:1: this file is missing; every question has a snippet and its claims"


def test_page_with_a_name_that_is_no_address(project):
    (project / PAGE).rename(project / "docs/questions/Two-Dice.md")
    assert "Two-Dice.md:1: a page is named in lower case" in "\n".join(gate.problems(project))


@pytest.mark.parametrize(
    ("command", "message"),
    [(["two-cubes"], "there is no docs/questions/two-cubes.md; the questions are two_dice"), ([], "which question?")],
)
def test_check_of_no_question(project, command, message):
    result = run(project, "site_tools/check.py", *command)
    assert result.returncode == 1
    assert message in result.stderr


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
    found = "\n".join(gate.problems(project))
    for message in messages:
        assert re.search(message, found)


@pytest.mark.parametrize("name", [SNIPPET, TEST, "tests/conftest.py", "requirements.txt"])
def test_result_for_other_files_is_no_result(project, name):
    with (project / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    found = gate.problems(project)
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
    found = "\n".join(gate.problems(project))
    assert "two-dice.md:14: [^mean_of_two_dice_is_seven] failed; see tests/test_two_dice.py:6" in found
    assert "two-dice.md:37: [^mean_of_one_die] skipped; see tests/test_two_dice.py:13" in found
    built = run(project, "-m", "mkdocs", "build")
    assert built.returncode == 1
    assert "two-dice.md:14: [^mean_of_two_dice_is_seven] failed" in built.stderr
    assert "Traceback" not in built.stderr
    assert not (project / "site").exists()


def test_claim_named_twice_is_refused(project):
    text = (project / TEST).read_text(encoding="utf-8").replace("two-dice", "three-dice")
    shutil.copy(project / SNIPPET, project / "snippets/three_dice.py")
    (project / "tests/test_three_dice.py").write_text(text, encoding="utf-8")
    (project / "docs/questions/three-dice.md").write_text(
        (project / PAGE).read_text(encoding="utf-8"), encoding="utf-8"
    )
    found = "\n".join(gate.problems(project))
    assert "test_mean_of_one_die exists in tests/test_two_dice.py too" in found


def test_formula_that_does_not_parse_stops_the_site(project):
    edit(project, PAGE, "$n = 6$", r"$\frac{1$")
    built = run(project, "-m", "mkdocs", "build")
    assert built.returncode == 1
    assert "questions/two-dice.md: formula" in built.stderr
