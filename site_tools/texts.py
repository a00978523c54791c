"""The site's texts without the site: records for search, plain Markdown for language models."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import formulas
import gate
import pages
from markdown_it.token import Token

# Headings that every page has: nobody searches for them.
COMMON = {*gate.SECTIONS, "Run it yourself", "Verified"}


def plain(inline: Token) -> str:
    """A paragraph, heading or cell as text, formulas as one would type them, without references."""
    parts = []
    for token in inline.children or []:
        if token.type == "math_inline":
            parts.append(formulas.plain(token.content))
        elif token.type in ("text", "code_inline"):
            parts.append(pages.REFERENCE.sub("", token.content))
        elif token.type == "softbreak":
            parts.append(" ")
    return "".join(parts)


def record(url: str, front: dict, markdown: str, headings: list[tuple[str, str]]) -> dict:
    """What search knows of a page.

    url, title, asked (other wordings), short (the 30-second answer), tags, headings as [anchor, text], body: the
    words of the rest, once each, so that a passing mention weighs no more because it is repeated.
    """
    section, texts = "", {}
    tokens = pages.tokens(markdown)
    for at, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag == "h2":
            section = tokens[at + 1].content
        elif token.type == "inline" and token.content != section:
            texts.setdefault(section, []).append(plain(token))
        elif token.type == "math_block":
            texts.setdefault(section, []).append(formulas.plain(token.content))
    short = " ".join(texts.pop("In the interview", [front.get("description", "")]))
    words = re.findall(r"\S{2,}", " ".join(text for parts in texts.values() for text in parts).lower())
    return {
        "url": url,
        "title": front.get("title", ""),
        "asked": front.get("asked_as", []),
        "short": short,
        "tags": front.get("tags", []),
        "headings": [[anchor, text] for anchor, text in headings if text not in COMMON],
        "body": " ".join(dict.fromkeys(words)),
    }


def write_index(root: Path, folder: Path, records: list[dict]) -> None:
    """Next to the search worker: the library, and the index, built here so that a reader's browser only loads it.

    Raises ValueError when the installed packages are incomplete.
    """
    builder = Path(__file__).with_name("search_index.cjs")
    command = [str(Path(sys.executable).with_name("node")), str(builder), str(folder)]
    try:
        shutil.copy(root / "node_modules/minisearch/dist/umd/index.js", folder / "minisearch.js")
        subprocess.run(command, input=json.dumps(records), text=True, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        raise ValueError(
            f"the search index cannot be built; are all packages installed (make install)? {reason}"
        ) from None


def llms_txt(name: str, description: str, entries: list[tuple[str, str, str]]) -> str:
    """The index for language models (llmstxt.org): title, address and description of each answer's plain Markdown."""
    lines = [f"- [{title}]({address}): {description}" for title, address, description in entries]
    return "\n".join([f"# {name}", "", f"> {description}", "", "## Questions", "", *lines, ""])
