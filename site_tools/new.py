"""Start a question from the template: `python site_tools/new.py SLUG TITLE`."""

import datetime
import re
import sys
from pathlib import Path

import gate

TEMPLATE = Path(__file__).parent / "template"
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
ENTRY = re.compile(r"^ +- questions/\S+\.md\n", re.MULTILINE)


def start(root: Path, slug: str, title: str) -> list[Path]:
    """Write page, snippet and claims, and add the page to the navigation. ValueError says what to give instead."""
    if not NAME.fullmatch(slug):
        raise ValueError(f"{slug!r} cannot be a page's address: use lower case, digits and single hyphens")
    if not title or '"' in title or "\n" in title:
        raise ValueError("the title is the question as one would ask it, in one line, without quotation marks")
    module = slug.replace("-", "_")
    files = {
        root / f"docs/questions/{slug}.md": "page.md",
        root / f"snippets/{module}.py": "snippet.py",
        root / f"tests/test_{module}.py": "claims.py",
    }
    for path in files:
        if path.exists():
            raise ValueError(f"{path.relative_to(root).as_posix()} exists: choose another SLUG, or edit that question")
    settings, accepted = root / "mkdocs.yml", root / gate.ACCEPTED
    navigation = settings.read_text(encoding="utf-8")
    last = list(ENTRY.finditer(navigation))[-1]
    for path, name in files.items():
        text = (TEMPLATE / name).read_text(encoding="utf-8")
        text = text.replace("title: What is the mean of two dice?", f'title: "{title}"')
        text = text.replace("What is the mean of two dice?", title).replace("2026-11-21", str(datetime.date.today()))
        path.write_text(text.replace("two-dice", slug).replace("two_dice", module), encoding="utf-8", newline="\n")
    with accepted.open("a", encoding="utf-8", newline="\n") as file:
        text = (TEMPLATE / "numbers.txt").read_text(encoding="utf-8")
        file.write(text.replace("two-dice", slug).replace("two_dice", module))
    entry = re.sub(r"questions/\S+", f"questions/{slug}.md", last[0])
    navigation = navigation[: last.end()] + entry + navigation[last.end() :]
    settings.write_text(navigation, encoding="utf-8", newline="\n")
    return list(files)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit('make new SLUG=rotary-embeddings TITLE="Why rotary embeddings?"')
    try:
        written = start(Path(__file__).parents[1], *sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
    print("New:", *(path.name for path in written), "and a line in mkdocs.yml.")
    print(f"Move that line to its topic, replace the dice by your question, then: make check Q={sys.argv[1]}")
