"""What must hold of a page: its parts, its ticks, its numbers, its citations.

`problems` returns one line per fault, `docs/page.md:12: what is wrong; how to mend it`; an empty list is a sound site.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import claims
import notebooks
import yaml
from claims import Claim
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.admon import admon_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin

KEYS = ("title", "description", "date", "tags", "asked_as", "sources")
SECTIONS = ["In the interview", "In depth", "Folklore, corrected", "Follow-ups", "Sources"]
FOLLOW_UPS = 5
BIBLIOGRAPHY = "docs/bibliography.md"

REFERENCE = re.compile(r"\[\^(\w+)\](?!:)")
QUOTATION = re.compile(r"“[^”]*”|\"[^\"]*\"")
LOCATOR = re.compile(
    r"\b(?:sections?|tables?|figures?|footnotes?|equations?|appendix|appendices|chapters?|pages?|lines?|definitions?)"
    r"\s+[A-Z]?\d[\w.]*(?:(?:, | and |–)[A-Z]?\d[\w.]*)*",
    re.IGNORECASE,
)
# Not part of a name (float64, GPT-2, L6), a version or a date; with sign, thousands, exponent and percent sign.
NUMBER = re.compile(
    r"(?<![\w.])(?<![A-Za-z]-)[-−]?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?:e(?P<exponent>[-+]?\d+)|\s*\\times\s*10\^\{?(?P<power>-?\d+)\}?)?(?P<percent>\s?\\?%)?"
    r"(?!\d|\.\d|(?:st|nd|rd|th|D)\b)"
)


@dataclass
class Statement:
    """The words up to a group of ticks, and the ticks that stand for them."""

    text: str = ""  # prose without code, formulas, citations
    formulas: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)

    def numbers(self) -> list[re.Match]:
        """What somebody must have measured or reported: of formulas, only decimals and those that are just a number."""
        prose = LOCATOR.sub(" ", QUOTATION.sub(" ", self.text))
        found = list(NUMBER.finditer(prose))
        for formula in self.formulas:
            inside = list(NUMBER.finditer(formula))
            alone = [match for match in inside if match[0].strip() == formula.strip()]
            found += alone or [match for match in inside if "." in match["digits"] or match["percent"]]
        return found


@dataclass
class Block:
    """A paragraph, heading or table row."""

    line: int
    heading: bool = False
    citations: list[str] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

    @property
    def references(self) -> list[str]:
        return [name for statement in self.statements for name in statement.references]

    def add(self, inline: Token) -> None:
        now, cited = Statement(), False
        for token in inline.children or []:
            target = token.attrGet("href") or "" if token.type == "link_open" else ""
            if "bibliography.md#" in target:
                cited = True
                self.citations.append(target.partition("#")[2])
            elif token.type == "link_close":
                cited = False
            elif token.type == "math_inline":
                now = self.after(now, token.content)
                now.formulas.append(token.content)
            elif token.type in ("text", "image") and not cited:
                for at, piece in enumerate(REFERENCE.split(token.content)):
                    if at % 2:
                        now.references.append(piece)
                    else:
                        now = self.after(now, piece)
                        now.text += piece
            elif token.type in ("softbreak", "hardbreak"):
                now.text += " "
        self.end(now)

    def after(self, now: Statement, piece: str) -> Statement:
        """The statement that `piece` belongs to: ticks end the one before it."""
        if now.references and re.search(r"\w", piece):
            self.end(now)
            return Statement()
        return now

    def end(self, now: Statement) -> None:
        """Words without a tick of their own lean on the ticks before them, or, in a table row, on those to come."""
        last = self.statements[-1] if self.statements else None
        if last and not (last.references and now.references):
            last.text += " " + now.text
            last.formulas += now.formulas
            last.references += now.references
        else:
            self.statements.append(now)


MARKDOWN = MarkdownIt().enable("table").use(front_matter_plugin).use(dollarmath_plugin).use(admon_plugin)


def blocks(text: str) -> Iterator[Block]:
    row, heading = None, False
    for token in MARKDOWN.parse(text):
        if token.type == "tr_open":
            row = Block(token.map[0] + 1)
        elif token.type == "tr_close":
            yield row
            row = None
        elif token.type in ("heading_open", "heading_close"):
            heading = token.type == "heading_open"
        elif token.type == "inline":
            block = row or Block(token.map[0] + 1, heading)
            block.add(token)
            if not row:
                yield block


def agrees(number: re.Match, value: float) -> bool:
    """Is `number`, as printed, what rounding `value` gives? Whole numbers must be equal, but for percentages."""
    digits = number["digits"].replace(",", "")
    exponent = int(number["exponent"] or number["power"] or 0) - (2 if number["percent"] else 0)
    places = len(digits.partition(".")[2])
    if re.match(r"0\d", digits):
        return False  # 007
    if not (places or exponent):
        return signed(number) == value
    return abs(signed(number) - value) <= 0.5 * 10.0 ** (exponent - places) + 1e-9 * abs(value)


def signed(number: re.Match) -> float:
    """The value that `number` prints."""
    exponent = int(number["exponent"] or number["power"] or 0) - (2 if number["percent"] else 0)
    return float(number["digits"].replace(",", "")) * 10.0**exponent * (-1 if number[0][0] in "-−" else 1)


def number_problems(where: str, text: str, report: dict[str, Claim]) -> Iterator[str]:
    """A number needs a tick whose claim recorded it, correctly rounded, or, in a block without a tick, a citation.

    A heading carries no tick of its own: it leans on all claims of its page.
    """
    everything = list(blocks(text))
    of_page = [name for block in everything for name in block.references]
    for block in everything:
        for statement in block.statements if block.references or not block.citations else []:
            names = of_page if block.heading else statement.references
            recorded = [(name, *item) for name in names if name in report for item in report[name].values.items()]
            for number in statement.numbers():
                if any(agrees(number, value) for _, _, value in recorded):
                    continue
                nearest = min(recorded, key=lambda item: abs(item[2] - signed(number)), default=None)
                mend = "tick it with the claim that measured it, cite its source, or write a count as a word"
                if nearest:
                    mend = f"the nearest number of its ticks is {nearest[2]:.6g} ({nearest[1]} of {nearest[0]})"
                yield f"{where}:{block.line}: nobody measured {number[0].strip()}; {mend}"


def reference_problems(root: Path, where: str, text: str, report: dict[str, Claim]) -> Iterator[str]:
    """Each tick stands on a claim that passed on the files as they are now."""
    tests = {name for module in claims.questions(root) for name in claims.written(root, module)}
    for block in blocks(text):
        for name in block.references:
            claim = report.get(name)
            if name not in tests:
                yield f"{where}:{block.line}: no test for [^{name}]; write test_{name} or mend the name"
            elif not claim or claim.fingerprint != claims.fingerprint(root, claim.module):
                yield f"{where}:{block.line}: [^{name}] has no result for the files as they stand; run `make verify`"
            elif claim.outcome != "passed":
                yield f"{where}:{block.line}: [^{name}] {claim.outcome}; see {claim.file}:{claim.line}"


def claim_problems(root: Path, module: str, referenced: set[str], report: dict[str, Claim]) -> Iterator[str]:
    """Each test of a question is a claim, in the right form, and some page refers to it."""
    where = f"tests/test_{module}.py"
    if not (root / where).exists():
        yield f"{where}:1: this file is missing; every question has its claims there"
    for name, test in claims.written(root, module).items():
        sentence = " ".join((claims.ast.get_docstring(test) or "").split())
        if not claims.KIND.match(sentence):
            yield f'{where}:{test.lineno}: test_{name} needs a docstring, "Proved: …" or "Measured: …"'
        if "measured" not in [argument.arg for argument in test.args.args]:
            yield f"{where}:{test.lineno}: test_{name} records nothing; take the fixture `measured` and use it"
        if name not in referenced:
            yield f"{where}:{test.lineno}: no page refers to [^{name}]; tick the sentence that makes the claim"
        if name in report and report[name].module != module:
            yield f"{where}:{test.lineno}: test_{name} exists in {report[name].file} too; a claim's name is used once"


def front_matter(page: Path) -> dict:
    tokens = MARKDOWN.parse(page.read_text(encoding="utf-8"))
    return next((yaml.safe_load(token.content) for token in tokens if token.type == "front_matter"), None) or {}


def structure_problems(root: Path, where: str, text: str) -> Iterator[str]:
    """Front matter, sections, follow-ups, listings and citations of an answer page."""
    tokens = MARKDOWN.parse(text)
    front = next((yaml.safe_load(token.content) for token in tokens if token.type == "front_matter"), None) or {}
    for key in KEYS:
        if not front.get(key):
            yield f"{where}:1: the front matter has no `{key}`; see the template in CONTRIBUTING.md"
    headings = [
        (token.map[0] + 1, tokens[at + 1].content)
        for at, token in enumerate(tokens)
        if token.tag == "h2" and token.nesting == 1
    ]
    if [title for _, title in headings] != SECTIONS:
        line = headings[0][0] if headings else 1
        found = ", ".join(title for _, title in headings)
        yield f"{where}:{line}: the sections are {found}; write exactly {', '.join(SECTIONS)}, in this order"
    if text.count("\n??? question") < FOLLOW_UPS:
        yield f'{where}:1: fewer than {FOLLOW_UPS} follow-ups; write each as `??? question "…"`'
    for token in tokens:
        for child in token.children or []:
            if child.type == "image" and not child.content:
                yield f"{where}:{token.map[0] + 1}: a picture without alternative text; say what it shows"
    cited = {name for block in blocks(text) for name in block.citations}
    for name in sorted(cited ^ set(front.get("sources") or [])):
        yield f"{where}:1: `{name}` must stand both in the front matter's `sources` and as a citation in the text"


def listing_problems(root: Path, where: str, text: str) -> Iterator[str]:
    """Each embedded section exists and has run as it stands."""
    for listing in notebooks.LISTING.finditer(text):
        module, section = listing["module"], listing["section"]
        line = text.count("\n", 0, listing.start()) + 2
        notebook = notebooks.read(root, module)
        if not notebook:
            yield f"{where}:{line}: snippets/{module}.py has not run as it stands; run `make verify`"
        elif section not in (known := notebooks.sections(notebook)):
            yield f"{where}:{line}: snippets/{module}.py has no section {section}; it has {', '.join(known)}"


def problems(root: Path) -> list[str]:
    """Everything that is wrong with the pages and claims of the project, a line each."""
    report = claims.read_report(root / claims.REPORT)
    pages = {page: page.read_text(encoding="utf-8") for page in sorted(root.glob("docs/**/*.md"))}
    referenced = {name for text in pages.values() for name in REFERENCE.findall(text)}
    found: list[str] = []
    for page, text in pages.items():
        where = page.relative_to(root).as_posix()
        if where == BIBLIOGRAPHY:
            continue
        found += reference_problems(root, where, text, report)
        found += number_problems(where, text, report)
        found += listing_problems(root, where, text)
        if page.parent.name == "questions":
            found += structure_problems(root, where, text)
    for module in claims.questions(root):
        found += claim_problems(root, module, referenced, report)
    return found
