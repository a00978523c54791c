"""Texts of the site apart from its pages: formulas, search records, the policy."""

import formulas
import policy
import pytest
import texts


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\sqrt{d_k}", "sqrt(d_k)"),
        (r"\frac{1}{\sqrt{d_k}}", "1/sqrt(d_k)"),
        (r"\mathcal{O}(n^2 d)", "O(n^2 d)"),
        (r"Q K^\top", "Q K^T"),
        (r"\operatorname{softmax}\left(\frac{q}{2}\right)", "softmax (q/2 )"),
        (r"x \times y", "x y"),
    ],
)
def test_formula_as_text(tex, text):
    assert formulas.plain(tex) == text


def test_formula_becomes_mathml_and_scrolls_when_displayed():
    inline = formulas.with_mathml(r'a <span class="arithmatex">\(\sqrt{2}\)</span> b')
    assert inline == "a <math><msqrt><mn>2</mn></msqrt></math> b"
    beside = formulas.with_mathml(r'see (<span class="arithmatex">\(x\)</span>), and')
    assert beside == 'see <span class="whole">(<math><mi>x</mi></math>),</span> and'
    display = formulas.with_mathml(r'<div class="arithmatex">\[x\]</div>')
    assert display.startswith('<div class="math" tabindex="0" role="group" aria-label="formula"><math display="block">')


@pytest.mark.parametrize("tex", [r"\frac{1", r"\nosuchcommand", r"\color{red} x"])
def test_bad_formula_is_named(tex):
    with pytest.raises(ValueError, match="formula `"):
        formulas.mathml(tex, display=False)


def test_record_has_the_answer_the_formulas_and_each_word_once():
    page = (
        "## In the interview\n\nIt is $\\sqrt{d_k}$.[^a_claim]\n\n## In depth\n\n### Why\n\nwidth width `nn.Linear`\n"
    )
    record = texts.record("u/", {"title": "T", "asked_as": ["为什么"], "tags": ["core"]}, page, [("why", "Why")])
    assert record == {
        "url": "u/",
        "title": "T",
        "asked": ["为什么"],
        "short": "It is sqrt(d_k).",
        "tags": ["core"],
        "headings": [["why", "Why"]],
        "body": "why width nn.linear",
    }


def test_every_page_carries_the_hashes_of_all_inline_scripts(tmp_path):
    for name, script in (("a", "one()"), ("b", "two()")):
        html = f'<head><meta charset="utf-8"><script>{script}</script><script src="x.js"></script></head>'
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
    policy.apply(tmp_path)
    pages = [path.read_text(encoding="utf-8") for path in sorted(tmp_path.iterdir())]
    assert all(page.count("sha256-") == 2 for page in pages)
    assert all("unsafe-inline" not in page and "'unsafe-eval'" not in page for page in pages)
