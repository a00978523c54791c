"""Claims: what the tests measured, read from pytest's JUnit report.

A claim is one test of `tests/test_MODULE.py`. The `measured` fixture writes its sentence, its numbers and a
fingerprint of the files that it depends on into the report; everything else here only reads.
"""

import ast
import functools
import hashlib
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

REPORT = Path("build/report.xml")
VERSIONS = ("python", "torch", "numpy")
FACTS = ("claim", "fingerprint", *VERSIONS)  # properties that are not measured numbers
KIND = re.compile(r"(Proved|Measured)\b[^:]*: \S")


@dataclass(frozen=True)
class Claim:
    """One test with a sentence, as its last run left it."""

    name: str  # the test's name without `test_`
    sentence: str
    values: dict[str, float]
    versions: dict[str, str]
    fingerprint: str
    outcome: str  # "passed", "failed" or "skipped"
    file: str  # tests/test_MODULE.py
    line: int

    @property
    def module(self) -> str:
        return Path(self.file).stem.removeprefix("test_")

    @property
    def kind(self) -> str:
        """`Proved` or `Measured`: the first word of the sentence."""
        return self.sentence.split(maxsplit=1)[0].rstrip(",:")


def questions(root: Path) -> dict[str, Path]:
    """Every question's module and page: `scale_by_sqrt_d` -> docs/questions/scale-by-sqrt-d.md."""
    return {page.stem.replace("-", "_"): page for page in sorted((root / "docs/questions").glob("*.md"))}


def owned(root: Path, module: str) -> set[Path]:
    """The files of one question alone: its snippet, its tests, the data of its experiment."""
    return {
        root / f"snippets/{module}.py",
        root / f"tests/test_{module}.py",
        *(root / "experiments" / module).glob("*.[!m]*"),  # not its Markdown
    }


def fingerprint(root: Path, module: str, *, tests: bool = True) -> str:
    """Hash of all that a claim of `module` can depend on: its own files and what all questions share.

    Without the tests: of all that its snippet can depend on when it runs as a notebook.
    """
    of_others = {path for other in questions(root) if other != module for path in owned(root, other)}
    shared = [
        *root.glob("snippets/*.py"),
        root / "tests/conftest.py",
        # how they are run
        *(root / f"site_tools/{name}.py" for name in ("contained", "kernels", "notebooks", "plots")),
        root / "requirements.txt",
        root / "constraints.txt",
    ]
    digest = hashlib.sha256()
    for path in sorted({*owned(root, module), *shared} - of_others):
        if path.is_file() and (tests or root / "tests" not in path.parents):
            digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def written(root: Path, module: str) -> dict[str, ast.FunctionDef]:
    """The tests as they stand in the source of tests/test_MODULE.py, by claim name, run or not."""
    path = root / f"tests/test_{module}.py"
    return tests_of(path, path.stat().st_mtime_ns) if path.exists() else {}


@functools.lru_cache(maxsize=1000)
def tests_of(path: Path, changed: int) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return {node.name.removeprefix("test_"): node for node in found}


def outcome(case: ET.Element) -> str:
    states = {"failure": "failed", "error": "failed", "skipped": "skipped"}
    return next((states[child.tag] for child in case if child.tag in states), "passed")


def read_report(path: Path) -> dict[str, Claim]:
    """All claims of a JUnit report by name; no report, no claims."""
    return dict(read_once(path, path.stat().st_mtime_ns)) if path.exists() else {}


@functools.lru_cache(maxsize=4)
def read_once(path: Path, changed: int) -> dict[str, Claim]:
    claims = {}
    for case in ET.parse(path).iter("testcase"):
        facts = {prop.get("name"): prop.get("value") for prop in case.iter("property")}
        if "claim" in facts:
            name = case.get("name").removeprefix("test_")
            claims[name] = Claim(
                name,
                facts["claim"],
                {key: float(value) for key, value in facts.items() if key not in FACTS},
                {key: facts[key] for key in VERSIONS},
                facts["fingerprint"],
                outcome(case),
                Path(case.get("file").replace("\\", "/")).as_posix(),
                int(case.get("line")) + 1,  # pytest counts from 0
            )
    return claims


def merge(root: Path, run: Path) -> None:
    """Put the claims of a pytest run into the report; drop those whose files have changed since they were measured.

    So a run of one question updates that question alone, and the report never holds two results of one claim.
    """
    cases = {}
    for path in (root / REPORT, run):  # the later one wins
        known = read_report(path)
        for case in ET.parse(path).iter("testcase") if path.exists() else []:
            claim = known.get(case.get("name").removeprefix("test_"))
            if claim and claim.fingerprint == fingerprint(root, claim.module):
                case.attrib.pop("time", None)  # a report of the same claims is the same file
                cases[claim.name] = case
    suite = ET.Element("testsuite", name="claims")
    suite.extend(case for _, case in sorted(cases.items()))
    ET.indent(suite)
    pending = run.with_suffix(".pending")  # a report is there whole or not at all
    pending.write_bytes(ET.tostring(suite, encoding="utf-8"))
    pending.replace(root / REPORT)
