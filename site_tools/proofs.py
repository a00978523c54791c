"""What the site shows of the claims: the footnote behind each tick, and the page that lists them all."""

import json
from collections import Counter
from pathlib import Path

from claims import Claim, questions, written
from pages import REFERENCE, front_matter


def shown(value: float) -> str:
    """A recorded number as the proof prints it: whole numbers in full, others to four digits."""
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"


def footnote(claim: Claim, source: str) -> str:
    """The proof behind a tick. `source` is the address of the test, line included."""
    values = ", ".join(f"{key.replace('_', ' ')} = {shown(value)}" for key, value in claim.values.items())
    versions = ", ".join(f"{name} {version}" for name, version in claim.versions.items())
    return (
        f"[^{claim.name}]: {claim.sentence.replace(claim.kind, f'**{claim.kind}**', 1)} Recorded: {values}. "
        f"Passed with {versions}: [{claim.file}, line {claim.line}]({source})."
    )


def with_proofs(markdown: str, claims: dict[str, Claim], sources: dict[str, str]) -> str:
    """The page with a section that lists the proof of every claim it refers to, in reading order."""
    names = dict.fromkeys(REFERENCE.findall(markdown))
    if not names:
        return markdown
    notes = [footnote(claims[name], sources[name]) for name in names]
    return "\n\n".join([markdown, "## Verified", "///Footnotes Go Here///", *notes])


def test_listing(root: Path, module: str) -> str:
    """tests/test_MODULE.py as a page: what its tests share, then each test under a heading that proofs link to."""
    lines = (root / f"tests/test_{module}.py").read_text(encoding="utf-8").splitlines()
    tests = written(root, module)
    starts = [test.lineno for test in tests.values()]
    parts = [f"# tests/test_{module}.py", *listing(lines[: min(starts, default=len(lines) + 1) - 1])]
    for name, test in tests.items():
        parts += [f"## {name} {{ #{name} }}", *listing(lines[test.lineno - 1 : test.end_lineno])]
    return "\n".join(parts)


def listing(lines: list[str]) -> list[str]:
    return ["", "```python", *lines, "```", ""]


def all_claims(root: Path, claims: dict[str, Claim], sources: dict[str, str]) -> str:
    """The claims of the site, question by question, as Markdown."""
    kinds = Counter(claim.kind for claim in claims.values())
    counts = ", ".join(f"{count} {kind.lower()}" for kind, count in sorted(kinds.items(), reverse=True))
    versions = {f"{name} {version}" for claim in claims.values() for name, version in claim.versions.items()}
    lines = [f"**{len(claims)} claims**, {counts}; all passed with {', '.join(sorted(versions))}."]
    for module, page in questions(root).items():
        lines += ["", f"## [{front_matter(page)['title']}](questions/{page.name})", ""]
        for claim in sorted((claim for claim in claims.values() if claim.module == module), key=lambda c: c.line):
            lines.append(f"- {claim.sentence} ([test]({sources[claim.name]}))")
    return "\n".join(lines)


def all_questions(root: Path, claims: dict[str, Claim], nav: list) -> str:
    """The questions by topic, in the order of the navigation, each a card with its answer in one line, as Markdown."""
    lines = []
    for entry in nav:
        for topic, items in entry.items() if isinstance(entry, dict) else []:
            answers = [root / "docs" / item for item in items if str(item).startswith("questions/")]
            cards = [card(page, claims) for page in answers]
            lines += [f"## {topic}", '<div class="grid cards" markdown>', *cards, "</div>"] if answers else []
    return "\n\n".join(lines)


def card(page: Path, claims: dict[str, Claim]) -> str:
    front, module = front_matter(page), page.stem.replace("-", "_")
    count = sum(claim.module == module for claim in claims.values())
    return f"-   **[{front['title']}](questions/{page.name})**\n\n    {front['description']}\n\n    ✓ {count} claims"


def all_terms(root: Path) -> str:
    """The glossary that the tooltips come from, as a list."""
    lines = (root / "includes/glossary.md").read_text(encoding="utf-8").splitlines()
    terms = sorted(
        (line[2:].split("]: ", 1) for line in lines if line.startswith("*[")), key=lambda term: term[0].lower()
    )
    return "\n".join(f"- **{name}**: {meaning}" for name, meaning in terms)


def mutants(root: Path) -> str:
    """What the claims noticed of changed digits and code, as `make mutants` recorded it."""
    result = json.loads((root / "audit/mutants.json").read_text(encoding="utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    dates = ", ".join(sorted({found["date"] for found in result["questions"].values()}))
    rows, survivors, total = [], [], Counter()
    for module, page in questions(root).items():
        if found := result["questions"].get(module):
            counts = [found["digits"], found["digits_noticed"], found["made"], found["made"] - len(found["survivors"])]
            total.update(dict(enumerate(counts)))
            rows.append(row(f"[{front_matter(page)['title']}](questions/{page.name})", counts))
            changes = [f"{reason}\n\n```diff\n{change}\n```\n" for change, reason in found["survivors"].items()]
            survivors += [f"#### {front_matter(page)['title']}\n", *changes] if changes else []
    return "\n".join(
        [
            f"Recorded on {dates} with {versions}.\n",
            "| question | changed digits | noticed | changes of code | noticed |\n| --- | --- | --- | --- | --- |",
            *rows,
            row("**all**", [total[at] for at in range(4)]),
            "\n### What nothing noticed\n",
            *survivors,
        ]
    )


def row(name: str, counts: list[int]) -> str:
    digits, noticed, made, caught = counts
    return f"| {name} | {digits:,} | {noticed / digits:.2%} | {made:,} | {caught / max(made, 1):.1%} |"
