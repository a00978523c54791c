"""The gate: every fault of a page or claim stops the site with one line that names the place and the way to mend it.

The faults are made in the template that `make new` copies. LINE stands for the line that was changed.
"""

import re
import shutil

import gate
import notebooks
import pytest
from command import run

PAGE = "docs/questions/two-dice.md"
TEST = "tests/test_two_dice.py"
SNIPPET = "snippets/two_dice.py"
ONE_DIE = "test_mean_of_one_of_two_dice"


def edit(project, name, old, new) -> int:
    """Replace the first `old` in a file; the number of its line."""
    path = project / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


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
    assert run(project, "site_tools/gate.py").returncode == 0  # as before each commit
    edit(project, PAGE, "is 7.", "is 8.")
    refused = run(project, "site_tools/gate.py")
    assert refused.returncode == 1
    assert "nobody measured 8" in refused.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("7.[^mean_of_two", "seven.[^mode_of_two", r"LINE: no test for \[\^mode_of_two_dice_is_seven\]; write"),
        ("is 7.", "is 8.", r"LINE: nobody measured 8; the nearest .* is 7 \(mean_of_two_dice_is_seven.mean\)"),
        ("is 5.83,", "is 5.84,", "LINE: nobody measured 5.84; the nearest number .* 5.83333"),
        ("^2 = 5.83", "^2 = 5.82", "LINE: nobody measured 5.82"),
        ("16.7 %", "16.8 %", "LINE: nobody measured 16.8 %"),
        ("0.17.", "0.18.", "LINE: nobody measured 0.18"),
        ("mean is 3.5", "mean is 3.5, in all 6", r"LINE: nobody measured 6; the nearest"),
        ("have the mean 7", "have the mean 3.5", r"LINE: nobody measured 3.5; the nearest .*mean_of_two"),
        (
            "is 5.83,",
            "is 7,",
            "LINE: 7 mean_of_two_dice_is_seven.mean stands where 5.83 mean_of_two_dice_is_seven.variance was accepted",
        ),
        ("0.17.[^", "a sixth.[^", r"\d+: 3.5 .* stands where 0.17 .* was accepted"),
        ("Two and twelve.\n", "Two of 11.\n", "LINE: nobody measured 11; tick it"),
        ("Two and twelve.\n", "See table 4, and table 0.5 of it.\n", "LINE: nobody measured 0.5; tick it"),
        ("Two and twelve.\n", "See tables 4 and 5, tables 50 times.\n", "LINE: nobody measured 50; tick it"),
        ("## Follow-ups", "## Questions", r"\d+: the sections are .*; write exactly .*Follow-ups"),
        ("## Follow-ups", "### Follow-ups", r"\d+: the sections are .*corrected, Sources; write exactly"),
        ("description: Seven, and", "about: Seven, and", "1: the front matter has no `description`"),
        ("title: What", "title: Throw: what", "LINE: mapping values are not allowed here; front matter is YAML"),
        ("date: 2026-11-21", "date: yesterday", "1: `date` in the front matter must be a date"),
        ("tags: [core]", "tags: core", "1: `tags` in the front matter must be a list"),
        ("tags: [core]", "tags: [dice]", "1: `tags` must name one level: core, intermediate, advanced"),
        ("asked_as: [how", "asked_as: [why: how", "1: an entry of `asked_as` .* put it in quotes"),
        ('??? question "And', '!!! question "And', "1: fewer than 5 follow-ups"),
        ("![Bars that rise to seven and fall again.]", "![]", "LINE: a picture without alternative text"),
        ("figures/two_dice/figure.svg", "figures/two_dice/bars.svg", "LINE: no section draws .*bars.svg; the name"),
        ("sources: [vaswani", "sources: [pascal-1654, vaswani", "1: `pascal-1654` must stand both"),
        ("Then the", "[Four](four-dice.md)", "LINE: a link to four-dice.md, which does not exist; mend"),
        ("two_dice.py:throws", "two_dice.py:rolls", "LINE: snippets/two_dice.py has no section rolls; it has throws"),
        ("two_dice.py:throws", "cube.py:throws", "LINE: snippets/cube.py has not run as it stands; run `make verify`"),
    ],
)
def test_fault_of_a_page(project, old, new, message):
    line = edit(project, PAGE, old, new)
    assert re.match(f"{PAGE}:" + message.replace("LINE", str(line)), only_problem(project))


def test_a_number_is_accepted_by_a_person(project):
    edit(project, PAGE, "is 5.83,", "is 7,")
    accepted = run(project, "site_tools/accept.py")
    assert accepted.returncode == 0
    assert f"-{PAGE}: 5.83 mean_of_two_dice_is_seven.variance" in accepted.stdout.splitlines()
    assert f"+{PAGE}: 7 mean_of_two_dice_is_seven.mean" in accepted.stdout.splitlines()
    assert gate.problems(project) == []


def test_nothing_is_accepted_while_something_is_wrong(project):
    edit(project, PAGE, "is 5.83,", "is 5.84,")
    before = (project / gate.ACCEPTED).read_bytes()
    refused = run(project, "site_tools/accept.py")
    assert refused.returncode == 1
    assert "nobody measured 5.84" in refused.stderr
    assert (project / gate.ACCEPTED).read_bytes() == before


def test_every_changed_digit_of_a_measured_number_is_noticed(project):
    text = (project / PAGE).read_text(encoding="utf-8")
    changed = 0
    for number in re.finditer(r"(?<=is )7(?=\.\[)|5\.83|16\.7(?= %)|0\.17|3\.5|11\.67", text):
        for at in range(number.start(), number.end()):
            if text[at].isdigit():
                digit = str((int(text[at]) + 1) % 10)
                (project / PAGE).write_text(text[:at] + digit + text[at + 1 :], encoding="utf-8")
                assert "nobody measured" in only_problem(project)
                changed += 1
    assert changed == 24


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            PAGE,
            "bibliography.md#vaswani-2017",
            "bibliography.md#pascal-1654",
            rf"{PAGE}:\d+: no source `pascal-1654` in",
        ),
        (
            "docs/bibliography.md",
            "et al. 2017",
            "et al.",
            "bibliography.md:LINE: `vaswani-2017` has no year; the key ends",
        ),
        ("mkdocs.yml", "  - questions/two-dice.md\n", "", f"{PAGE}:1: the page is not in the navigation; add it"),
        (SNIPPET, "# %% --8<-- [end:throws]", "", f"{SNIPPET}:1: section throws never ends; add # %% --8<--"),
        (SNIPPET, "[end:throws]", "[end:rolls]", f"{SNIPPET}:LINE: section rolls ends but was not open; mend"),
        (SNIPPET, "[start:figure]", "[start:throws]", f"{SNIPPET}:LINE: section throws starts twice; name it"),
        (SNIPPET, "import numpy", "import numpy as np numpy", f"{SNIPPET}:LINE: invalid syntax; Python cannot read"),
        (SNIPPET, "as np\n", "as np\n" + "x = 1\n" * 170, rf"{SNIPPET}:1: \d+ lines of code; keep what the page shows"),
        (TEST, f"def {ONE_DIE}", "def test_mean of_one", f"{TEST}:LINE: .*; Python cannot read the file"),
        (TEST, f"def {ONE_DIE}", f"@pytest.mark.parametrize()\ndef {ONE_DIE}", "is parametrized, but a claim has one"),
        (TEST, "Proved: the mean of one", "The mean of one", rf"{TEST}:\d+: {ONE_DIE} needs a docstring"),
        (TEST, f"def {ONE_DIE}", "def test_mean_of_a_die", rf"{PAGE}:\d+: no test for \[\^mean_of_one_of_two_dice\]"),
        (
            TEST,
            f"def {ONE_DIE}",
            "def test_mean_of_a_die",
            rf"{TEST}:LINE: no page refers to \[\^mean_of_a_die\]; tick",
        ),
        (TEST, f"{ONE_DIE}(measured)", f"{ONE_DIE}(record_property)", f"{TEST}:LINE: {ONE_DIE} records nothing"),
    ],
)
def test_fault_of_another_file(project, name, old, new, message):
    line = edit(project, name, old, new)
    assert re.search(message.replace("LINE", str(line)), "\n".join(gate.problems(project)))


PRINT = 'print("mean"'


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("throws(-1)[0]", r"\d+: AttributeError: .*; mend the snippet"),
        ("import time; time.sleep(60)", r"\d+: a cell ran for more than 3 s; make the demo"),
        ("open('dice.txt', 'w')", "LINE: .*outside a temporary folder"),
        ("import socket; socket.getaddrinfo('x.org', 80)", "LINE: .*run offline"),
    ],
)
def test_fault_of_a_snippet_that_shows_when_run(project, monkeypatch, code, message):
    monkeypatch.setattr(notebooks, "LIMIT", 3)
    line = edit(project, SNIPPET, PRINT, f"{code}\n    {PRINT}")
    with pytest.raises(notebooks.SnippetError, match=f"{SNIPPET}:" + message.replace("LINE", str(line))):
        notebooks.execute(project, "two_dice")
    assert not (project / "dice.txt").exists()


def test_fault_of_a_snippet_is_told_by_check(project):
    line = edit(project, SNIPPET, PRINT, f"missing\n    {PRINT}")
    assert f"{SNIPPET}:{line}: NameError: name 'missing' is not defined; mend the snippet" in checked(project)


def test_snippet_that_prints_something_else_on_each_run(project):
    edit(project, SNIPPET, PRINT, f"print({{*'abcdefgh'}})\n    {PRINT}")
    assert re.search(rf"{SNIPPET}:\d+: section throws gives something else on each run; seed", checked(project))


# The body of a claim, and what is said of it.
FAULTY_CLAIMS = {
    "writes_a_file": ('open("dice.txt", "w")', "dice.txt is outside a temporary folder: write under"),
    "makes_a_folder": ("import os; os.mkdir('dice')", "dice is outside a temporary folder: write under"),
    "asks_the_network": ("import socket; socket.getaddrinfo('x.org', 80)", "network access .* claims .* run offline"),
    "never_ends": ("import time; time.sleep(60)", r"Timeout \(>4.0s\) from pytest-timeout"),
    "records_nan": ("measured(mean=float('nan'))", r"measured\(mean=nan\) is not a finite number: record what"),
    "records_text": ("measured(mean='3.5')", r"measured\(mean='3.5'\) is not a finite number: record what"),
    "records_a_fact": (
        "measured(claim=3.5)",
        r"measured\(claim=…\) was recorded before, or is a reserved name: choose",
    ),
    "records_twice": ("measured(a=1); measured(a=2)", r"measured\(a=…\) was recorded before, or is a reserved name"),
}


def test_faults_of_claims_that_show_when_run_are_all_told_at_once(project):
    edit(project, "pyproject.toml", "timeout = 120", "timeout = 4")
    with (project / TEST).open("a", encoding="utf-8") as file:
        for name, (body, _) in FAULTY_CLAIMS.items():
            file.write(f'\n\ndef test_{name}(measured):\n    """Proved: all is well."""\n    {body}\n')
    silent = edit(project, TEST, "measured(mean=throws(1).mean())", "pass") - 2
    said = checked(project)
    for name, (_, message) in FAULTY_CLAIMS.items():
        _, _, report = said.partition(f"_ test_{name} _")
        assert re.search(message, report.partition("_ test_")[0]), name
        assert re.search(rf"{TEST}:\d+: no page refers to \[\^{name}\]", said)
    assert f"{TEST}:{silent}: {ONE_DIE} recorded no number; call" in said
    assert not (project / "dice.txt").exists()
    assert not (project / "dice").exists()


def test_files_that_are_not_text_as_they_should_be_are_all_told_at_once(project):
    faults = {
        PAGE: (b"add up.\n", b"add up \xe9.\n", ":3: this is not UTF-8; save the file in that encoding"),
        SNIPPET: (b"dice, (6", b"dic\xe9, (6", ":8: this is not UTF-8; save the file in that encoding"),
        TEST: (b".md.", b".md.\r\n", ":1: a Windows line ending; save the file with"),
    }
    for name, (old, new, _) in faults.items():
        content = (project / name).read_bytes()
        assert old in content
        (project / name).write_bytes(content.replace(old, new, 1))
    assert len(gate.problems(project)) == len(faults)
    for command in (["site_tools/verify.py"], ["site_tools/check.py", "two-dice"], ["-m", "mkdocs", "build"]):
        result = run(project, *command)
        assert result.returncode == 1
        assert "Traceback" not in result.stdout + result.stderr
        for name, (*_, message) in faults.items():
            assert name + message in result.stdout + result.stderr


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


@pytest.mark.parametrize(
    ("name", "places"), [(SNIPPET, 9), (TEST, 8), ("tests/conftest.py", 8), ("requirements.txt", 9)]
)
def test_result_for_other_files_is_no_result(project, name, places):
    with (project / name).open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    stale = "[^mean_of_two_dice_is_seven] has no result for the files as they stand; run `make verify`"
    assert only_problem(project) == f"{PAGE}:14: {stale}, which mends {places} places of this page"


def test_failed_and_skipped_claims_stop_the_site(project):
    failed = edit(project, TEST, "mean() == 7", "mean() == 8")
    skipped = edit(project, TEST, "    measured(mean=throws(1)", "    pytest.skip()\n    measured(mean=throws(1)")
    edit(project, TEST, "from two_dice", "import pytest\nfrom two_dice")
    assert run(project, "site_tools/verify.py").returncode == 1
    found = "\n".join(gate.problems(project))
    assert f"{PAGE}:14: [^mean_of_two_dice_is_seven] failed; see {TEST}:{failed - 3}" in found
    assert f"[^mean_of_one_of_two_dice] skipped; see {TEST}:{skipped - 1}" in found
    built = run(project, "-m", "mkdocs", "build")
    assert built.returncode == 1
    assert "two-dice.md:14: [^mean_of_two_dice_is_seven] failed" in built.stderr
    assert "Traceback" not in built.stderr
    assert not (project / "site").exists()


def test_claim_named_twice_is_refused(project):
    for name in (PAGE, TEST, SNIPPET):
        shutil.copy(project / name, project / name.replace("two", "three"))
    assert f"{ONE_DIE} exists in {TEST} too" in "\n".join(gate.problems(project))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("$n = 6$", r"$\frac{1$", "questions/two-dice.md: formula"),
        ("Then the", "[Seven](#eight)", "contains a link '#eight', but there is no such anchor on this page"),
    ],
)
def test_what_the_build_itself_refuses(project, old, new, message):
    edit(project, PAGE, old, new)
    built = run(project, "-m", "mkdocs", "build")
    assert built.returncode == 1
    assert message in built.stderr
    assert "Traceback" not in built.stderr


def test_check_of_one_question_says_nothing_of_another_page(project):
    (project / "docs/other.md").write_text("# Other\n\n[Nowhere](nowhere.md)\n", encoding="utf-8")
    assert "a link to nowhere.md" in only_problem(project)
    assert gate.problems(project, only="two_dice") == []
