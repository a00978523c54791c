"""MkDocs hook, the only file here that knows MkDocs: gate, then files, then pages, then the site as a whole."""

import json
import re
from pathlib import Path
from posixpath import relpath

import archive
import cards
import claims
import colab
import formulas
import gate
import notebooks
import policy
import proofs
import runtime
import texts
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

ALL_CLAIMS = "<!-- all claims -->"
ALL_QUESTIONS = "<!-- all questions -->"
ALL_TERMS = "<!-- all terms -->"
MUTANTS = "<!-- mutants -->"
UNCOLOURED = re.compile(r'<span class="[nw]">([^<]*)</span>')  # names and blanks of listings: a third of their elements
# The theme downloads its own index on every page view; ours is loaded by the worker when the search box gets focus.
EMPTY_INDEX = {"config": {"lang": ["en"], "separator": r"[\s\-]+", "pipeline": []}, "docs": []}

records: list[dict] = []  # of this build, for search
answers: dict[str, tuple] = {}  # of this build: slug -> page and its complete Markdown


serving = False


def on_startup(command, dirty):
    """`mkdocs serve` adds an inline script of its own, which the policy would forbid."""
    global serving  # noqa: PLW0603, MkDocs tells the command here and nowhere else
    serving = command == "serve"


def root_of(config) -> Path:
    return Path(config.config_file_path).parent


def on_config(config):
    """Without a repository there is nothing to edit or view."""
    config.repo_url = config.repo_url or None
    config.edit_uri = config.edit_uri if config.repo_url else None


def on_serve(server, config, builder):
    """`make verify` in another terminal shows up on the page."""
    server.watch(str(root_of(config) / claims.REPORT))


def on_pre_build(config):
    """No site with a fault: all pages are checked before the first one is built."""
    records.clear(), answers.clear()
    if found := gate.problems(root_of(config)):
        raise PluginError("\n".join([f"the site is not built, {len(found)} to mend:", *found]))


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    """Add what lies outside docs/: executed notebooks, their figures, snippets, the tests that the proofs link to."""
    root = root_of(config)

    def add(folder: str, path: Path) -> None:
        address = path.relative_to(root / folder).as_posix()
        files.append(File(address, str(root / folder), config.site_dir, config.use_directory_urls))

    for module in claims.questions(root):
        add("build", notebooks.path(root, module))
        add(".", root / f"snippets/{module}.py")
        for figure in sorted((root / notebooks.FIGURES / module).iterdir()):
            add("build", figure)
        content = proofs.test_listing(root, module)
        files.append(File.generated(config, f"tests/test_{module}.md", content=content))
    return files


def is_answer(page) -> bool:
    return page.file.src_uri.startswith("questions/")


def on_page_markdown(markdown, page, config, files):
    root = root_of(config)
    report = claims.results(root)
    folder = tests_address(page, config)
    sources = {claim.name: test_address(claim, folder, config) for claim in report.values()}
    page.meta.setdefault("search", {"exclude": True})  # from the theme's index, which is thrown away
    if is_answer(page):
        markdown = notebooks.with_listings(markdown, root)
        slug, online = page.file.name, colab.address(config.repo_url, page.file.name)
        markdown += notebooks.DOWNLOADS.format(slug=slug, module=slug.replace("-", "_"))
        markdown += f"[Open it in Colab]({online}).\n" if online else ""
    for marker, text in [
        (ALL_CLAIMS, lambda: proofs.all_claims(root, report, sources)),
        (ALL_QUESTIONS, lambda: proofs.all_questions(root, report, config.nav)),
        (ALL_TERMS, lambda: proofs.all_terms(root)),
        (MUTANTS, lambda: proofs.mutants(root)),
    ]:
        markdown = markdown.replace(marker, text()) if marker in markdown else markdown
    markdown = proofs.with_proofs(markdown, report, sources)
    if is_answer(page):
        answers[page.file.name] = page, markdown
    return markdown


def tests_address(page, config) -> str:
    """Where the tests can be read: in the repository, or on the site itself where none is configured."""
    if config.repo_url:
        return f"{config.repo_url.rstrip('/')}/blob/main/tests"
    return relpath("tests", start=Path(page.file.src_uri).parent.as_posix())


def test_address(claim, folder: str, config) -> str:
    test = Path(claim.file)
    return f"{folder}/{test.name}#L{claim.line}" if config.repo_url else f"{folder}/{test.stem}.md#{claim.name}"


def on_page_content(html, page, config, files):
    if page.file.src_uri.endswith(".ipynb"):
        html = notebooks.LINKS.format(slug=page.file.name) + notebooks.lean(html)
    html = UNCOLOURED.sub(r"\1", html)
    try:
        formulas.in_titles(page.toc)
        html = formulas.with_mathml(html)
    except ValueError as error:
        raise PluginError(f"{page.file.src_uri}: {error}") from None
    if not page.file.src_uri.startswith(("tests/", "notebooks/")):  # they repeat what the answers say
        headings = [(item.id, item.title) for top in page.toc for item in [top, *top.children]]
        records.append(texts.record(page.url, {"title": page.title} | page.meta, page.markdown, headings))
    return html


def on_post_build(config):
    root, site = root_of(config), Path(config.site_dir)
    report = claims.results(root)
    (site / "search").mkdir(exist_ok=True)
    (site / "search/search_index.json").write_text(json.dumps(EMPTY_INDEX), encoding="utf-8")
    cards.draw(config.site_name, f"{len(report)} claims, each proved by code", "", site / "assets/cards/site.png")
    entries = []
    for slug, (page, markdown) in answers.items():
        (site / f"questions/{slug}/index.md").write_text(markdown, encoding="utf-8")
        count = sum(claim.module == slug.replace("-", "_") for claim in report.values())
        target = site / f"assets/cards/{slug}.png"
        cards.draw(page.meta["title"], f"{count} claims, each proved by code", config.site_name, target)
        entries.append((page.meta["title"], f"{page.canonical_url}index.md", page.meta["description"]))
    llms = texts.llms_txt(config.site_name, config.site_description, entries)
    (site / "llms.txt").write_text(llms, encoding="utf-8")
    try:
        texts.write_index(root, site / "assets/search", records)
        runtime.install(root, site / "assets/pyodide")
    except ValueError as error:
        raise PluginError(str(error)) from None
    (site / "assets/programs").mkdir()
    for module, path in claims.questions(root).items():
        cells = [{"section": c["section"], "code": c["code"]} for c in runtime.program(notebooks.read(root, module))]
        (site / f"assets/programs/{path.stem}.json").write_text(json.dumps(cells), encoding="utf-8")
    if not serving:
        policy.apply(site)
    archive.write(site)
    if colab.address(config.repo_url, ""):
        colab.write(root, config.repo_url)
