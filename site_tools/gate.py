"""What must hold before there is a site: of each page, of each claim, of what they refer to.

`problems` returns one line per fault, `docs/page.md:12: what is wrong; how to mend it`; an empty list is a sound site.
`python site_tools/gate.py` prints them, and runs nothing.
"""

import ast
import datetime
import re
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, zip_longest
from pathlib import Path

import claims
import notebooks
import yaml
from claims import Claim
from pages import REFERENCE, agrees, blocks, front_matter_of, signed, tokens

KEYS = {"title": str, "description": str, "date": datetime.date, "tags": list, "asked_as": list, "sources": list}
LEVELS = ("core", "intermediate", "advanced")
SECTIONS = ["In the interview", "In depth", "Folklore, corrected", "Follow-ups", "Sources"]
FOLLOW_UPS = 5
LINES_OF_CODE = 170
BIBLIOGRAPHY = "docs/bibliography.md"
ACCEPTED = "tests/numbers.txt"
VERIFY = "run `make verify`"
ENTRY = re.compile(r"^\{ #(?P<key>\S+) \}$", re.MULTILINE)
MARKER = re.compile(r"--8<-- \[(start|end):(\w+)\]")


def problems(root: Path, only: str = "") -> list[str]:
    """Everything that is wrong with the pages and claims of the project, or of `only` one question, a line each."""
    if found := list(unreadable(root)):
        return found  # nothing more can be said
    report = claims.results(root)
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(root.glob("docs/**/*.md"))}
    referenced = {name for text in pages.values() for name in REFERENCE.findall(text)}
    modules = claims.questions(root)
    if only:
        modules = {only: modules[only]}
        pages = {page: pages[page] for page in modules.values()}
    now = {
        name: value for module in claims.questions(root) for name, value in claims.fingerprints(root, module).items()
    }
    for page, text in pages.items():
        where = page.relative_to(root).as_posix()
        found += link_problems(root, where, text)
        if where == BIBLIOGRAPHY:
            found += bibliography_problems(where, text)
            continue
        found += reference_problems(where, text, report, now)
        found += number_problems(where, text, report)
        found += listing_problems(root, where, text)
        if page.parent.name == "questions":
            found += structure_problems(root, where, text)
    for module in modules:
        found += claim_problems(root, module, referenced, report)
        found += snippet_problems(root, module)
    accepted = accepted_numbers(root)
    for page, text in pages.items() if not found else []:  # only what is sound can be accepted
        where = page.relative_to(root).as_posix()
        if where != BIBLIOGRAPHY:
            found += acceptance_problems(where, text, report, accepted.get(where, []))
    return once_a_page(found)


def once_a_page(found: list[str]) -> list[str]:
    """What is only stale is told once for each page: one command mends all of it."""
    places = Counter(line.partition(":")[0] for line in found if line.endswith(VERIFY))
    kept = []
    for line in found:
        page = line.partition(":")[0]
        if not line.endswith(VERIFY):
            kept.append(line)
        elif count := places.pop(page, 0):  # the first of its page
            kept.append(line if count == 1 else f"{line}, which mends {count} places of this page")
    return kept


def unreadable(root: Path) -> Iterator[str]:
    """Files that cannot be read as what they are. Every command asks this first."""
    for path in sorted([*root.glob("docs/**/*.md"), *root.glob("snippets/*.py"), *root.glob("tests/test_*.py")]):
        where, content = path.relative_to(root).as_posix(), path.read_bytes()
        try:
            text = content.decode("utf-8")
            if path.suffix == ".py":
                claims.tree(path)
            else:
                front_matter_of(text)
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            yield f"{where}:{line}: this is not UTF-8; save the file in that encoding"
        except SyntaxError as error:
            yield f"{where}:{error.lineno}: {error.msg}; Python cannot read the file"
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 2  # from 0, and after the first ---
            yield f"{where}:{line}: {error.problem}; front matter is YAML: put text with : or # in quotes"
        if b"\r\n" in content:
            line = content.count(b"\n", 0, content.index(b"\r\n")) + 1
            yield f"{where}:{line}: a Windows line ending; save the file with \\n, or `git add --renormalize {where}`"
    for module, page in claims.questions(root).items():
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", page.stem):
            yield f"docs/questions/{page.name}:1: a page is named in lower case, digits and single hyphens"
        for name in (f"snippets/{module}.py", f"tests/test_{module}.py"):
            if not (root / name).exists():
                yield f"{name}:1: this file is missing; every question has a snippet and its claims"


def numbers(text: str, report: dict[str, Claim]) -> Iterator[tuple[int, re.Match, list[tuple[str, float]]]]:
    """Each number that needs somebody who measured it: its line, and what its ticks recorded, as claim.name and value.

    A tick must have recorded it, correctly rounded; in a block without a tick a citation will do. A heading carries no
    tick of its own: it leans on all claims of its page.
    """
    of_page = [name for block in blocks(text) for name in block.references]
    for block in blocks(text):
        for statement in block.statements if block.references or not block.citations else []:
            names = of_page if block.heading else statement.references
            if any(name not in report for name in names):
                continue  # said already, and nothing to compare with
            recorded = [(f"{name}.{key}", value) for name in names for key, value in report[name].values.items()]
            yield from ((block.line, number, recorded) for number in statement.numbers())


def meant(number: re.Match, recorded: list[tuple[str, float]]) -> str | None:
    """`5.83 claim.variance`: the number and the first recorded value that it can stand for."""
    found = next((name for name, value in recorded if agrees(number, value)), None)
    return found and f"{number[0].strip()} {found}"


def number_problems(where: str, text: str, report: dict[str, Claim]) -> Iterator[str]:
    """Each number was measured."""
    for line, number, recorded in numbers(text, report):
        if not meant(number, recorded):
            nearest = min(recorded, key=lambda item: abs(item[1] - signed(number)), default=None)
            mend = "tick it with the claim that measured it, cite its source, or write a count as a word"
            if nearest:
                mend = f"the nearest number of its ticks is {nearest[1]:.6g} ({nearest[0]})"
            yield f"{where}:{line}: nobody measured {number[0].strip()}; {mend}"


def acceptance_problems(where: str, text: str, report: dict[str, Claim], accepted: list[str]) -> Iterator[str]:
    """Each number stands where a person has accepted it: another one that was measured too will not do."""
    stand = [(line, meant(number, recorded)) for line, number, recorded in numbers(text, report)]
    for new, old in zip_longest(stand, accepted):
        line, entry = new or (1, "nothing")
        if entry != old:
            yield (
                f"{where}:{line}: {entry} stands where {old or 'nothing'} was accepted; "
                f"if it is right, run `make accept` and commit {ACCEPTED}"
            )
            return  # those after it may only have moved


def accepted_numbers(root: Path) -> dict[str, list[str]]:
    """The numbers of each page in reading order, as a person has accepted them: `docs/page.md: 5.83 claim.variance`."""
    found: dict[str, list[str]] = {}
    path = root / ACCEPTED
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        page, entry = line.split(": ", 1)
        found.setdefault(page, []).append(entry)
    return found


def reference_problems(where: str, text: str, report: dict[str, Claim], now: dict[str, str]) -> Iterator[str]:
    """Each tick stands on a claim that passed on the files as they are. `now`: fingerprints of all written claims."""
    for block in blocks(text):
        for name in block.references:
            claim = report.get(name)
            if name not in now:
                yield f"{where}:{block.line}: no test for [^{name}]; write test_{name} or mend the name"
            elif not claim or claim.fingerprint != now[name]:
                yield f"{where}:{block.line}: [^{name}] has no result for the files as they stand; {VERIFY}"
            elif claim.outcome != "passed":
                yield f"{where}:{block.line}: [^{name}] {claim.outcome}; see {claim.file}:{claim.line}"


def claim_problems(root: Path, module: str, referenced: set[str], report: dict[str, Claim]) -> Iterator[str]:
    """Each test of a question is a claim, in the right form, and some page refers to it."""
    where = f"tests/test_{module}.py"
    for name, test in claims.written(root, module).items():
        sentence = " ".join((ast.get_docstring(test) or "").split())
        claim = report.get(name)
        if not claims.KIND.match(sentence):
            yield f'{where}:{test.lineno}: test_{name} needs a docstring, "Proved: …" or "Measured: …"'
        if any("parametrize" in ast.unparse(decorator) for decorator in test.decorator_list):
            yield f"{where}:{test.lineno}: test_{name} is parametrized, but a claim has one result; loop inside it"
        if "measured" not in [argument.arg for argument in test.args.args]:
            yield f"{where}:{test.lineno}: test_{name} records nothing; take the fixture `measured` and use it"
        elif claim and claim.outcome == "passed" and not claim.values:
            yield f"{where}:{test.lineno}: test_{name} recorded no number; call measured(name=value) before the asserts"
        if name not in referenced:
            yield f"{where}:{test.lineno}: no page refers to [^{name}]; tick the sentence that makes the claim"
        if claim and claim.module != module:
            yield f"{where}:{test.lineno}: test_{name} exists in {claim.file} too; a claim's name is used once"


def structure_problems(root: Path, where: str, text: str) -> Iterator[str]:
    """Front matter, sections, follow-ups, pictures, citations and place in the navigation of an answer page."""
    front = front_matter_of(text)
    for key, kind in KEYS.items():
        if not front.get(key):
            yield f"{where}:1: the front matter has no `{key}`; see the template that `make new` copies"
        elif not isinstance(front[key], kind):
            yield f"{where}:1: `{key}` in the front matter must be a {kind.__name__}, as in the template"
        elif kind is list and not all(isinstance(item, str) for item in front[key]):
            yield f"{where}:1: an entry of `{key}` in the front matter is not text; put it in quotes"
    if sum(level in (front.get("tags") or []) for level in LEVELS) != 1:
        yield f"{where}:1: `tags` must name one level: {', '.join(LEVELS)}"
    stream = tokens(text)
    headings = [
        (token.map[0] + 1, stream[at + 1].content)
        for at, token in enumerate(stream)
        if token.tag == "h2" and token.nesting == 1
    ]
    if [title for _, title in headings] != SECTIONS:
        line = headings[0][0] if headings else 1
        found = ", ".join(title for _, title in headings)
        yield f"{where}:{line}: the sections are {found}; write exactly {', '.join(SECTIONS)}, in this order"
    if text.count("\n??? question") < FOLLOW_UPS:
        yield f'{where}:1: fewer than {FOLLOW_UPS} follow-ups; write each as `??? question "…"`'
    cited = {name for block in blocks(text) for name in block.citations}
    for name in sorted(cited ^ set(map(str, front.get("sources") or []))):
        yield f"{where}:1: `{name}` must stand both in the front matter's `sources` and as a citation in the text"
    if f"- {where.removeprefix('docs/')}\n" not in (root / "mkdocs.yml").read_text(encoding="utf-8"):
        yield f"{where}:1: the page is not in the navigation; add it under `nav` in mkdocs.yml"


def link_problems(root: Path, where: str, text: str) -> Iterator[str]:
    """Pages, citations and figures that are referred to exist; anchors within pages are left to MkDocs."""
    keys = {entry["key"] for entry in ENTRY.finditer((root / BIBLIOGRAPHY).read_text(encoding="utf-8"))}
    for token in tokens(text):
        for child in token.children or []:
            address = str(child.attrGet("href") or child.attrGet("src") or "")
            path, _, anchor = address.partition("#")
            line = token.map[0] + 1 if token.map else 1
            if child.type == "image" and not child.content:
                yield f"{where}:{line}: a picture without alternative text; say what it shows"
            if path.endswith(".svg") and "figures/" in path:
                if not (root / "build" / path[path.index("figures/") :]).exists():
                    yield f"{where}:{line}: no section draws {path}; the name is figures/MODULE/SECTION.svg"
            elif path.endswith(".md") and "://" not in path:
                target = (root / where).parent / path
                if not target.exists():
                    yield f"{where}:{line}: a link to {path}, which does not exist; mend the address"
                elif target.name == "bibliography.md" and anchor and anchor not in keys:
                    yield f"{where}:{line}: no source `{anchor}` in {BIBLIOGRAPHY}; add it, with {{ #{anchor} }} below"


def bibliography_problems(where: str, text: str) -> Iterator[str]:
    """Each entry says when it appeared, and its key does too."""
    for before, entry in pairwise(text.splitlines()):
        if found := ENTRY.match(entry):
            year = re.search(r"-(\d{4})[a-z]?$", found["key"])
            line = text[: text.index(entry)].count("\n")  # that of the entry itself
            if not year or year[1] not in before:
                yield f"{where}:{line}: `{found['key']}` has no year; the key ends with the year that its entry names"


def snippet_problems(root: Path, module: str) -> Iterator[str]:
    """Sections are closed and named once, and the whole is short enough to read."""
    where = f"snippets/{module}.py"
    source = (root / where).read_text(encoding="utf-8")
    opened: dict[str, bool] = {}  # section -> still open
    for number, line in enumerate(source.splitlines(), start=1):
        for kind, name in MARKER.findall(line):
            if kind == "start" and name in opened:
                yield f"{where}:{number}: section {name} starts twice; name it differently"
            if kind == "end" and not opened.get(name):
                yield f"{where}:{number}: section {name} ends but was not open; mend the name or add its start"
            opened[name] = kind == "start"
    for name in (name for name, still in opened.items() if still):
        yield f"{where}:1: section {name} never ends; add # %% --8<-- [end:{name}]"
    if (lines := lines_of_code(source)) > LINES_OF_CODE:
        yield f"{where}:1: {lines} lines of code; keep what the page shows, at most {LINES_OF_CODE}"


def lines_of_code(source: str) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    documented = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(source.splitlines(), start=1)
    return sum(bool(line.strip()) and line.lstrip()[0] != "#" and at not in documented for at, line in lines)


def listing_problems(root: Path, where: str, text: str) -> Iterator[str]:
    """Each embedded section exists and has run as it stands."""
    executed = {found["module"]: notebooks.read(root, found["module"]) for found in notebooks.LISTING.finditer(text)}
    for listing in notebooks.LISTING.finditer(text):
        module, section = listing["module"], listing["section"]
        line = text.count("\n", 0, listing.start()) + 2
        notebook = executed[module]
        if not notebook:
            yield f"{where}:{line}: snippets/{module}.py has not run as it stands; {VERIFY}"
        elif section not in (known := notebooks.sections(notebook)):
            yield f"{where}:{line}: snippets/{module}.py has no section {section}; it has {', '.join(known)}"


if __name__ == "__main__":
    sys.exit("\n".join(problems(Path(__file__).parents[1])) or None)  # an empty text would be an error too
