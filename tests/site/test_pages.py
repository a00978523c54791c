"""What a reader sees on the built site."""

import re
from pathlib import Path
from xml.etree import ElementTree

import claims
import pytest

SLUGS = [page.stem for page in claims.questions(Path(__file__).parents[2]).values()]


@pytest.mark.parametrize("slug", SLUGS)
def test_answer_has_ticks_formulas_and_figures(site, slug):
    html = (site / f"questions/{slug}/index.html").read_text(encoding="utf-8")
    assert html.count('class="footnote-ref"') >= 12
    assert html.count("<math") > 0
    assert "arithmatex" not in html
    assert "--8<--" not in html
    figures = re.findall(r'<img [^>]*src="\.\./\.\./(figures/[^"]+\.svg)"', html)
    assert figures
    for figure in figures:
        assert ElementTree.parse(site / figure).getroot().tag == "{http://www.w3.org/2000/svg}svg"


@pytest.mark.parametrize("act", ["hover", "focus"])
def test_proof_appears_on_hover_and_on_focus(page, address, act):
    page.goto(f"{address}questions/{SLUGS[-1]}/")
    tick = page.locator(".footnote-ref").first
    getattr(tick, act)()
    proof = page.locator(".md-tooltip2--active")
    proof.wait_for()
    assert "Recorded:" in proof.inner_text()


def test_links_into_a_page_lead_to_their_target(page, address):
    """Parts that are not laid out yet must not shift the target away."""

    def top(anchor):
        page.wait_for_timeout(700)
        return page.evaluate("id => document.getElementById(id).getBoundingClientRect().top", anchor)

    for anchor in ("follow-ups", "sources", "verified"):
        page.goto("about:blank")
        page.goto(f"{address}questions/{SLUGS[-1]}/#{anchor}")
        assert 40 < top(anchor) < 120, anchor
    page.goto(f"{address}questions/{SLUGS[-1]}/")
    tick = page.locator(".footnote-ref").first
    tick.evaluate("tick => tick.click()")  # with a mouse over it the proof pops up
    assert 40 < top(tick.evaluate("tick => tick.hash.slice(1)")) < 120


def test_notebook_page_offers_the_notebook(page, address):
    page.goto(f"{address}notebooks/{SLUGS[-1]}/")
    link = page.locator("a[href$='.ipynb']").first.evaluate("link => link.href")
    assert page.evaluate("url => fetch(url).then(response => response.json())", link)["cells"]


def test_home_lists_every_question(page, address):
    page.goto(address)
    for slug in SLUGS:
        assert page.locator(f"article a[href*='questions/{slug}/']").count() >= 1


def test_printed_page_shows_answer_and_proofs_and_no_controls(page, address):
    page.goto(f"{address}questions/{SLUGS[-1]}/")
    page.emulate_media(media="print")
    for control in (".md-header", ".md-sidebar--primary", ".md-footer", ".run-bar", ".md-clipboard"):
        for element in page.locator(control).all():
            assert not element.is_visible(), control
    for follow_up in page.locator("details.question p").all():
        assert follow_up.bounding_box()["height"] > 0  # printed open
    assert "Recorded:" in page.locator(".footnote").inner_text()
    page.emulate_media(media="screen")


def test_ticks_are_reached_by_tab_and_escape_closes_the_proof(page, address):
    page.goto(f"{address}questions/{SLUGS[-1]}/")
    page.locator("h2#in-depth").scroll_into_view_if_needed()
    page.locator("h2#in-depth a.headerlink").focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.footnote-ref')"):
            break
    page.locator(".md-tooltip2--active").wait_for()
    page.keyboard.press("Escape")
    page.locator(".md-tooltip2--active").wait_for(state="hidden")


def test_titles_descriptions_and_previews(site, address):
    seen = set()
    for slug in SLUGS:
        head = (site / f"questions/{slug}/index.html").read_text(encoding="utf-8").partition("</head>")[0]
        seen.add((re.search("<title>(.+?)</title>", head)[1], re.search('name="description" content="(.+?)"', head)[1]))
        assert re.search('rel="canonical" href="(.+?)"', head)[1] == f"{address}questions/{slug}/"
        card = re.search('property="og:image" content="(.+?)"', head)[1]
        assert (site / card.removeprefix(address)).is_file()
    assert len({title for title, _ in seen}) == len({description for _, description in seen}) == len(SLUGS)
