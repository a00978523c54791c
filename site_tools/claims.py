"""Claims: what the tests measured, read from pytest's JUnit report.

A claim is one test of `tests/test_MODULE.py`. The `measured` fixture writes its sentence, its numbers and a
fingerprint of the files that it depends on into the report; everything else here only reads.
"""

import ast
import functools
import hashlib
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace
from pathlib import Path

REPORT = Path("build/report.xml")
VERSIONS = ("python", "torch", "numpy")
FACTS = ("claim", "fingerprint", *VERSIONS)  # properties that are not measured numbers
DEMO = "__name__ == '__main__'"  # as ast writes it
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


def sources(root: Path, module: str) -> dict[str, bytes]:
    """What the snippet of `module` can depend on, by name: its own files and what all questions share."""
    of_others = {path for other in questions(root) if other != module for path in owned(root, other)}
    shared = [
        *root.glob("snippets/*.py"),
        # how they are run
        *(root / f"site_tools/{name}.py" for name in ("contained", "kernels", "notebooks", "plots")),
        root / "requirements.txt",
        root / "constraints.txt",
    ]
    paths = {*owned(root, module), *shared} - of_others - {root / f"tests/test_{module}.py"}
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.is_file()}


def fingerprint(root: Path, module: str) -> str:
    """Hash of all that the snippet of `module` can depend on when it is run."""
    return hashed(sources(root, module))


def fingerprints(root: Path, module: str) -> dict[str, str]:
    """Of each claim of `module` a hash of all that it can depend on.

    A claim does not depend on the tests of other claims, nor on what its snippet does when it is run, not imported.
    """
    snippet, path = root / f"snippets/{module}.py", root / f"tests/test_{module}.py"
    tests = written(root, module)
    if not tests or not snippet.exists():
        return {}
    used = {node.id for node in ast.walk(tree(path)) if isinstance(node, ast.Name)}
    apart = [test for test in tests.values() if test.name not in used]  # the others are parts of what uses them
    ifs = [node for node in tree(snippet).body if isinstance(node, ast.If) and not node.orelse]
    demos = [node for node in ifs if ast.unparse(node.test) == DEMO]
    imported = {f"snippets/{module}.py": without(snippet, demos)}
    shared = {"tests/conftest.py": (root / "tests/conftest.py").read_bytes()}
    common = hashed(sources(root, module) | imported | shared).encode()
    return {
        name: hashed({"common": common, "test": without(path, [other for other in apart if other is not test])})
        for name, test in tests.items()
    }


def hashed(parts: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(parts.items()):
        digest.update(f"{name}\0".encode() + content + b"\0")
    return digest.hexdigest()[:16]


def without(path: Path, left_out: list[ast.stmt]) -> bytes:
    """A file's text but for these statements of it, in their order."""
    lines = path.read_bytes().splitlines(keepends=True)
    for node in reversed(left_out):
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        del lines[first - 1 : node.end_lineno]
    return b"".join(lines)


def written(root: Path, module: str) -> dict[str, ast.FunctionDef]:
    """The tests as they stand in the source of tests/test_MODULE.py, by claim name, run or not."""
    path = root / f"tests/test_{module}.py"
    found = [node for node in tree(path).body if isinstance(node, ast.FunctionDef)] if path.exists() else []
    return {node.name.removeprefix("test_"): node for node in found if node.name.startswith("test_")}


def tree(path: Path) -> ast.Module:
    return parsed(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1000)
def parsed(path: Path, changed: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


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


def results(root: Path) -> dict[str, Claim]:
    """The result of each test that is written, by name, at the line where the test stands now."""
    report = read_report(root / REPORT)
    tests = {name: test.lineno for module in questions(root) for name, test in written(root, module).items()}
    return {name: replace(report[name], line=line) for name, line in tests.items() if name in report}


def merge(root: Path, run: Path) -> None:
    """Put the claims of a pytest run into the report; drop those for which something has changed since.

    So a run of one claim updates that claim alone, and the report never holds two results of one.
    """
    cases, now = {}, {module: fingerprints(root, module) for module in questions(root)}
    for path in (root / REPORT, run):  # the later one wins
        known = read_report(path)
        for case in ET.parse(path).iter("testcase") if path.exists() else []:
            claim = known.get(case.get("name").removeprefix("test_"))
            if claim and claim.fingerprint == now.get(claim.module, {}).get(claim.name):
                case.attrib.pop("time", None)  # a report of the same claims is the same file
                cases[claim.name] = case
    suite = ET.Element("testsuite", name="claims")
    suite.extend(case for _, case in sorted(cases.items()))
    ET.indent(suite)
    pending = run.with_suffix(".pending")  # a report is there whole or not at all
    pending.write_bytes(ET.tostring(suite, encoding="utf-8"))
    pending.replace(root / REPORT)
