"""Accessibility, validity, weight and links of the built pages."""

import functools
import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from faults import watched

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AXE = (ROOT / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]  # all that the scheme can change
# Parts far from the screen count too, folded ones as well, and a colour that is still changing would be judged.
UNFOLD = """() => {
  const sheet = new CSSStyleSheet();
  const now = ["content-visibility: visible", "transition: none", "animation: none"];
  sheet.replaceSync(`* { ${now.map(rule => `${rule} !important;`).join("")} }`);
  document.adoptedStyleSheets = [sheet];
  document.querySelectorAll("details").forEach(details => details.open = true);
}"""
# Elements whose own and whose ancestors' names and classes are the same differ in their text alone: one of them stays,
# the others, and those judged on an earlier page, become plain text. Returns what is judged now or was.
THIN_OUT = """([within, judged]) => {
  const names = new Map([[document.documentElement, ""]]), seen = new Set(judged);
  const name = element => {
    if (!names.has(element))
      names.set(element, `${name(element.parentElement)} ${element.tagName}.${element.getAttribute("class") ?? ""}`);
    return names.get(element);
  };
  for (const element of [...document.querySelectorAll(within)].reverse())  // what is inside comes first
    if (!element.childElementCount && !element.matches("script"))
      seen.has(name(element)) ? element.replaceWith(element.textContent) : seen.add(name(element));
  return [...seen];
}"""
JUDGE = """([rules, without]) => axe.run({
  runOnly: rules,
  rules: Object.fromEntries(without.map(rule => [rule, { enabled: false }])),
  resultTypes: ["violations"],
}).then(result => result.violations)"""
# Whether nothing is wider than the screen; the theme takes a moment to rearrange.
FITS = """width => new Promise(done => {
  const end = performance.now() + 3000, fits = () => document.documentElement.scrollWidth <= width;
  const look = () => fits() || performance.now() > end ? done(fits()) : requestAnimationFrame(look);
  look();
})"""
LIMIT = 160_000  # bytes of a first visit, compressed, formulas and fonts included, figures apart
NODE = Path(sys.executable).with_name("node")


def pages_of(site: Path) -> list[str]:
    """Address of every page below the site's root."""
    return sorted(path.relative_to(site).as_posix().removesuffix("index.html") for path in site.rglob("*.html"))


def file_of(site: Path, path: str) -> Path:
    return site / path / "index.html" if path.endswith("/") or not path else site / path


@functools.cache
def size(file: Path) -> int:
    """Bytes of a file as a compressing server sends it, figures apart."""
    if "figures" in file.parts or not file.is_file():
        return 0
    data = re.sub(rb"<svg.*?</svg>|data:image/svg[^\"]*", b"", file.read_bytes(), flags=re.DOTALL)
    return len(data) if file.suffix in (".png", ".woff2", ".wasm") else len(gzip.compress(data, 6))


@pytest.fixture(scope="module")
def visitor(browser):
    """One reader for all parts that a worker is given, and the kinds of elements whose colours were judged so far."""
    context = browser.new_context(color_scheme="light", reduced_motion="reduce")
    yield context, []
    context.close()


@pytest.mark.timeout(600)  # a sixth of the pages, and a slow machine
@pytest.mark.parametrize("part", range(6))
def test_every_page_is_quiet_light_accessible_and_never_scrolls_sideways(visitor, address, site, part):
    """On each page: no console error, no request to another origin, not too many bytes, no violation, no overflow."""
    context, judged = visitor
    page = context.new_page()
    faults, requested, found, pages = watched(page, address), set(), [], pages_of(site)
    page.on("request", lambda request: requested.add(unquote(urlsplit(request.url.removeprefix(address)).path)))
    for path in pages[len(pages) * part // 6 : len(pages) * (part + 1) // 6]:  # neighbours are of one kind
        requested.clear()
        page.set_viewport_size({"width": 320, "height": 900})
        page.goto(address + path)
        page.wait_for_timeout(250)  # the page script names the toolbars
        page.evaluate(UNFOLD)
        for width in (320, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            if not page.evaluate(FITS, width):
                found.append(f"{path}: wider than {width} px")
        page.evaluate(AXE)
        page.evaluate(THIN_OUT, ["math *, pre *, em, strong, code", []])
        violations = [("", rule) for rule in page.evaluate(JUDGE, [RULES, ["color-contrast"]])]  # dear: below
        known, judged[:] = len(judged), page.evaluate(THIN_OUT, ["body *", judged])
        for scheme in ("default", "slate") if len(judged) > known else ():
            page.evaluate("scheme => document.body.setAttribute('data-md-color-scheme', scheme)", scheme)
            violations += [(f", {scheme}", rule) for rule in page.evaluate(JUDGE, [COLOURS, []])]
        found += [f"{path}{scheme}: {rule['id']}: {rule['nodes'][0]['html'][:200]}" for scheme, rule in violations]
        assert {"assets/site.css", "assets/site.js"} < requested
        weight = sum(size(file_of(site, name)) for name in requested)
        if weight > LIMIT and (not path or path.startswith(("questions/", "notebooks/"))):
            found.append(f"{path}: a first visit transfers {weight:,} bytes")
        found += [f"{path}: {fault}" for fault in faults]
        faults.clear()
    page.close()
    assert found == []


def test_the_theme_follows_the_dark_scheme_of_the_system(browser, address):
    """So what is judged above under either scheme is what a reader of either sees."""
    page = browser.new_page(color_scheme="dark")
    page.goto(address)
    page.locator("body[data-md-color-scheme=slate]").wait_for()
    page.emulate_media(color_scheme="light")
    page.locator("body[data-md-color-scheme=default]").wait_for()
    page.close()


def test_html_is_valid(site, tmp_path):
    tool, config = ROOT / "node_modules/html-validate/bin/html-validate.mjs", HERE / "html-validate.json"
    files = [str(file_of(site, path)) for path in pages_of(site)]
    report = tmp_path / "report.json"
    command = [str(NODE), str(tool), "--config", str(config), "--formatter", f"json={report}", *files]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert report.exists(), result.stderr
    found = [
        f"{Path(page['filePath']).relative_to(site)}:{message['line']}: {message['ruleId']}: {message['message']}"
        for page in json.loads(report.read_text(encoding="utf-8"))
        for message in page["messages"]
        # The theme writes autocomplete="off" on its drawer's checkbox, so that Firefox forgets its state.
        if message["ruleId"] != "valid-autocomplete"
    ]
    assert found == []


class Anchors(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]


def test_every_internal_link_and_anchor_exists(site, address):
    parsed = {path: Anchors(file_of(site, path).read_text(encoding="utf-8")) for path in pages_of(site)}
    broken = []
    for path, page in parsed.items():
        for link in page.links:
            parts = urlsplit(urljoin(address + path, link))
            if not parts.geturl().startswith(address):
                continue
            target = unquote(parts.path.removeprefix(urlsplit(address).path))
            anchor = unquote(parts.fragment)
            if target in parsed:
                if anchor and not anchor.startswith("__") and anchor not in parsed[target].ids:
                    broken.append(f"{path}: {link}")
            elif not (site / target).is_file():
                broken.append(f"{path}: {link}")
    assert broken == []


def test_policy_forbids_what_is_not_the_sites_own(browser, address):
    page = browser.new_page()
    blocked = []
    page.on("console", lambda message: blocked.append(message.text))
    page.goto(address)
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.injected = true";
          document.head.append(script);
          const picture = document.createElement("img");
          picture.src = "https://example.com/pixel.png";
          document.body.append(picture);
        }"""
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.injected") is None
    assert len([text for text in blocked if "Content Security Policy" in text]) == 2
    page.close()


def test_companions_are_there(site, address):
    text = (site / "llms.txt").read_text(encoding="utf-8")
    for link in re.findall(r"\]\((.*?)\)", text):
        answer = (site / link.removeprefix(address)).read_text(encoding="utf-8")
        assert "## In the interview" in answer
        assert "--8<--" not in answer
    for name in ("sitemap.xml", "feed_rss_created.xml", "404.html", "assets/cards/site.png"):
        assert (site / name).exists(), name
