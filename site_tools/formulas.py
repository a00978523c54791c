"""TeX becomes MathML when the site is built: no script, no request, read by screen readers.

Takes the output of `pymdownx.arithmatex` with `generic: true`.
"""

import html
import re

from math_core import LatexError, LatexToMathML

CONVERTER = LatexToMathML()
FORMULA = re.compile(
    r"""(?P<before>[(“]*)<(?P<tag>span|div) class="arithmatex">\\(?P<kind>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>"""
    r"""(?P<after>[-–,.;:!?)”’']*)""",
    re.DOTALL,
)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Inline styles are forbidden by the site's policy; these two are classes in site.css instead.
STYLES = [
    (re.compile(r' style="text-align: (left|right);[^"]*"'), r' class="\1"'),
    (re.compile(r'<mspace style="margin-left:-0.16666667em;"/>'), '<mspace class="thin"/>'),
]


def mathml(tex: str, display: bool) -> str:
    """One formula as MathML. Raises ValueError with the reason if it does not parse."""
    try:
        result = CONVERTER.convert_with_local_state(html.unescape(tex), displaystyle=display)
    except LatexError as error:
        raise ValueError(f"formula `{tex.strip()}` does not parse: {COLOUR.sub('', str(error)).strip()}") from None
    for pattern, replacement in STYLES:
        result = pattern.sub(replacement, result)
    if " style=" in result:
        raise ValueError(f"formula `{tex.strip()}` needs an inline style; write it without colour or alignment")
    # A wide formula scrolls by itself, so the keyboard must reach it.
    return f'<div class="math" tabindex="0" role="group" aria-label="formula">{result}</div>' if display else result


def with_mathml(page: str) -> str:
    """HTML with every formula replaced by MathML."""

    def replaced(found: re.Match) -> str:
        formula = mathml(found["tex"], display=found["kind"] == "[")
        whole = found["before"] + formula + found["after"]
        # Browsers break the line between a formula and the comma after it unless told otherwise.
        return f'<span class="whole">{whole}</span>' if found["kind"] == "(" and whole != formula else whole

    return FORMULA.sub(replaced, page)


def in_titles(headings) -> None:
    """The same for the entries of a table of contents, in place; they hold the TeX between \\( and \\)."""
    for heading in headings:
        heading.title = re.sub(r"\\\((.*?)\\\)", lambda tex: mathml(tex[1], display=False), heading.title)
        in_titles(heading.children)


# What a reader would type for a formula. Order matters: arguments first, then commands, then braces.
PLAIN = [
    (r"\\[td]?frac\s*(\w)\s*(\w)", r"\1/\2"),
    (r"\\[td]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2"),
    (r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)"),
    (r"\\(?:operatorname|text|mathrm|mathcal|mathbb|mathbf)\{([^{}]*)\}", r"\1"),
    (r"\\top\b", "T"),
    (r"\\(?:left|right|quad|qquad|bigl?|bigr|cdot|times|[!,;:|])", " "),
    (r"\\(\w+)", r" \1 "),
    (r"[{}\\&]", ""),
]


def plain(tex: str) -> str:
    r"""A formula as text for search, feeds and readers without MathML: \sqrt{d_k} becomes sqrt(d_k)."""
    for pattern, replacement in PLAIN[:3] + PLAIN:  # twice for arguments within arguments
        tex = re.sub(pattern, replacement, tex)
    return " ".join(tex.split())
