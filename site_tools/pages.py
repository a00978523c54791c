"""How a page is read: its statements, their numbers, their ticks."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.admon import admon_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin

REFERENCE = re.compile(r"\[\^(\w+)\](?!:)")
QUOTATION = re.compile(r"“[^”]*”|\"[^\"]*\"")
# Section 3.2 and table 4 need nobody who measured them; "tables 50 times" and "the table 0.1" do.
LOCATOR = re.compile(
    r"\b(?:(?:sections?|appendix|appendices|chapters?)\s+[A-Z]?\d[\w.]*(?:(?:, | and |–)[A-Z]?\d[\w.]*)*"
    r"|(?:table|figure|footnote|equation|page|line|definition)\s+[A-Z]?\d+[a-z]?\b(?!\.\d|\s*%)"
    r"|(?:tables|figures|footnotes|equations|pages|lines|definitions)\s+[A-Z]?\d+(?:(?:, | and |–)[A-Z]?\d+)+)",
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


@functools.cache
def tokens(text: str) -> list[Token]:
    """The page as Markdown sees it; parsed once, however many checks there are."""
    return MARKDOWN.parse(text)


@functools.cache
def blocks(text: str) -> list[Block]:
    return list(read_blocks(tokens(text)))


def read_blocks(stream: list[Token]) -> Iterator[Block]:
    row, heading = None, False
    for token in stream:
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


def front_matter(page: Path) -> dict:
    return front_matter_of(page.read_text(encoding="utf-8"))


@functools.cache
def front_matter_of(text: str) -> dict:
    """The YAML between the first two lines ---, or nothing."""
    found = re.match(r"---\n(.*?\n)---\n", text.replace("\r\n", "\n"), re.DOTALL)
    return yaml.safe_load(found[1]) or {} if found else {}
