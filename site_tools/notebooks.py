"""Snippets as notebooks: executed once, in the tests; the site shows what that run left.

From one execution come the notebook page, the output printed under each listing, and the figures.
"""

import ast
import csv
import functools
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import kernels
import nbclient
import nbformat
import runtime
from claims import fingerprint

FOLDER = Path("build/notebooks")
FIGURES = Path("build/figures")
START = re.compile(r"--8<-- \[start:(\w+)\]")
FIGURE = re.compile(r"^!\[[^\]]*\]\(\.\./figures/(\w+/\w+)\.svg\)$", re.MULTILINE)
ROWS = 60  # of the table of a plot
LIMIT = 60  # seconds for one cell


class SnippetError(Exception):
    """A snippet that does not run, in one line: file, line, what happened, what to do."""


# Contained; SVG with text as text, transparent, and the same bytes on every run.
SETUP = """
import os, sys
os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in tests/conftest.py: the same sums everywhere
sys.path.append("../site_tools")
import contained, plots
sys.path.remove("../site_tools")
contained.holding = True
%matplotlib inline
%config InlineBackend.figure_formats = ["svg"]
%config InlineBackend.print_figure_kwargs = {"metadata": {"Date": None}, "bbox_inches": "tight", "dpi": 200}
import matplotlib
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "figure", "savefig.transparent": True, "figure.facecolor": "none",
    "axes.facecolor": "none", "legend.framealpha": 0, "font.size": 11, "axes.grid": True, "grid.alpha": 0.25,
    "axes.spines.top": False, "axes.spines.right": False, "figure.figsize": (6.4, 3.6),
    "figure.constrained_layout.use": True,
})
get_ipython().display_formatter.formatters["text/plain"].for_type(
    plots.Figure, lambda figure, printer, cycle: printer.text(plots.as_csv(figure))
)
"""

DOWNLOADS = """

## Run it yourself

The code of this page, executed: [as a notebook](../notebooks/{slug}.ipynb), with a download, or
[as a Python file](../snippets/{module}.py).
"""

LINKS = """<p><a href="{slug}.ipynb" download>Download this notebook</a> or go back to
<a href="../../questions/{slug}/">the answer</a>.</p>
"""


def path(root: Path, module: str) -> Path:
    return root / FOLDER / f"{module.replace('_', '-')}.ipynb"


def cells(snippet: Path) -> nbformat.NotebookNode:
    """The snippet as a notebook; each cell knows the section that it opens, and no cell is empty."""
    notebook = jupytext.read(snippet)
    kept = []
    for cell in notebook.cells:
        start = START.search(cell.metadata.pop("title", ""))
        cell.metadata = nbformat.NotebookNode({"section": start[1]} if start else {})
        if cell.source.strip():
            cell.id = f"cell-{len(kept)}"
            kept.append(cell)
    notebook.cells = kept
    return notebook


def executed(root: Path, module: str) -> nbformat.NotebookNode:
    """Run snippets/MODULE.py as a notebook; raises SnippetError."""
    notebook = cells(root / f"snippets/{module}.py")
    notebook.cells.insert(0, nbformat.v4.new_code_cell(SETUP, id="setup"))
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    resources = {"metadata": {"path": str(root / "snippets")}}
    quiet = ["--log-level=ERROR"]  # ipykernel warns about unencrypted TCP on the machine itself
    try:
        nbclient.NotebookClient(
            notebook,
            kernel_manager_class=kernels.Manager,
            timeout=LIMIT,
            record_timing=False,
            shutdown_kernel="immediate",  # asked politely, each takes a second
            coalesce_streams=True,
            resources=resources,
            extra_arguments=quiet,
        ).execute()
    except (nbclient.exceptions.CellExecutionError, nbclient.exceptions.CellTimeoutError) as error:
        raise SnippetError(fault(root, module, notebook, error)) from None
    title = ast.get_docstring(ast.parse(notebook.cells[1].source)).splitlines()[0]
    notebook.cells[0] = nbformat.v4.new_markdown_cell(f"# {title}", id="title")
    for number, cell in enumerate(notebook.cells[1:], start=1):
        cell.execution_count = number
    notebook.metadata.fingerprint = fingerprint(root, module)
    return notebook


def execute(root: Path, module: str) -> None:
    """Run a snippet and keep the notebook; raises SnippetError."""
    keep(root, module, executed(root, module))


def keep(root: Path, module: str, notebook: nbformat.NotebookNode) -> None:
    """Write the notebook with its outputs, and each figure under its section's name."""
    figures = root / FIGURES / module
    figures.mkdir(parents=True, exist_ok=True)
    for old in figures.iterdir():
        old.unlink()
    for section, forms in pictures(notebook).items():
        (figures / f"{section}.svg").write_text(forms["image/svg+xml"], encoding="utf-8")
        (figures / f"{section}.csv").write_text(forms["text/plain"], encoding="utf-8")
    target = path(root, module)
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def fault(root: Path, module: str, notebook: nbformat.NotebookNode, error: Exception) -> str:
    """What stopped the snippet, with the line of its file."""
    where = f"snippets/{module}.py"
    source = (root / where).read_text(encoding="utf-8")
    ran = [cell for cell in notebook.cells if cell.get("execution_count")]
    line = source[: source.find(ran[-1].source)].count("\n") + 1
    if isinstance(error, nbclient.exceptions.CellTimeoutError):
        return f"{where}:{line}: a cell ran for more than {LIMIT} s; make the demo smaller"
    traceback = "\n".join(text for output in ran[-1].outputs for text in output.get("traceback", []))
    for cell, inside in re.findall(r"Cell In\[(\d+)\], line (\d+)", re.sub(r"\x1b\[[\d;]*m", "", traceback)):
        text = next(known.source for known in ran if known.execution_count == int(cell))
        line = source[: source.find(text)].count("\n") + int(inside)
    return f"{where}:{line}: {error.ename}: {error.evalue}; mend the snippet"


def start(root: Path, module: str) -> subprocess.Popen:
    """Run the snippet beside what else is going on, in a process with hashes and addresses of its own."""
    return subprocess.Popen([sys.executable, __file__, module], cwd=root, stdout=subprocess.PIPE, encoding="utf-8")


def finish(root: Path, module: str, runs: list[subprocess.Popen]) -> list[str]:
    """Keep the first of two runs that `start` began. Returns what stopped one, or what differs, a line each."""
    said = [run.communicate()[0] for run in runs]
    if failed := [text.strip() for run, text in zip(runs, said, strict=True) if run.returncode]:
        return [failed[0] or f"snippets/{module}.py:1: the run broke off; if it was not stopped, it needs less memory"]
    notebook, other = (nbformat.reads(text, as_version=4) for text in said)
    keep(root, module, notebook)
    first, second = sections(notebook), sections(other)
    lines = (root / f"snippets/{module}.py").read_text(encoding="utf-8").splitlines()
    return [
        f"snippets/{module}.py:{next(at for at, line in enumerate(lines, 1) if f'[start:{name}]' in line)}: "
        f"section {name} gives something else on each run; seed its own generator, round what it prints"
        for name in first
        if [dict(output) for output in first[name].outputs] != [dict(output) for output in second[name].outputs]
    ]


def read(root: Path, module: str) -> nbformat.NotebookNode | None:
    """The executed notebook, or None where there is none for the files as they stand."""
    target = path(root, module)
    if not target.exists():
        return None
    notebook = parsed(target, target.stat().st_mtime_ns)
    return notebook if notebook.metadata.get("fingerprint") == fingerprint(root, module) else None


@functools.lru_cache(maxsize=100)
def parsed(target: Path, changed: int) -> nbformat.NotebookNode:
    return nbformat.read(target, as_version=4)


def pictures(notebook: nbformat.NotebookNode) -> dict[str, dict]:
    """The figure of each section that draws one, in all its forms."""
    return {
        name: output.data
        for name, cell in sections(notebook).items()
        for output in cell.outputs
        if "image/svg+xml" in output.get("data", {})
    }


LISTING = re.compile(r'^```python\n--8<-- "(?P<module>\w+)\.py:(?P<section>\w+)"\n```$', re.MULTILINE)


def sections(notebook: nbformat.NotebookNode) -> dict[str, nbformat.NotebookNode]:
    """The cells that open a section, by its name."""
    return {cell.metadata.section: cell for cell in notebook.cells if "section" in cell.metadata}


def with_listings(markdown: str, root: Path) -> str:
    """The page with each embedded section as it ran: its code, and below it what it printed."""
    modules = {found["module"] for found in LISTING.finditer(markdown)}
    known = {module: sections(read(root, module)) for module in modules}
    runnable = {module: {part["section"] for part in runtime.program(read(root, module))} for module in modules}

    def listing(found: re.Match) -> str:
        cell = known[found["module"]][found["section"]]
        runs = found["section"] in runnable[found["module"]]
        language = f"{{.python .runnable #listing-{found['section']}}}" if runs else "python"
        text = "".join(output.text for output in cell.outputs if output.output_type == "stream").rstrip()
        shown = f'\n\n```{{.text .output title="Output"}}\n{text}\n```' if text else ""
        return f"```{language}\n{cell.source}\n```{shown}"

    return FIGURE.sub(lambda found: found[0] + numbers_of(root, found[1]), LISTING.sub(listing, markdown))


def numbers_of(root: Path, figure: str) -> str:
    """What a figure shows, below it: as a table where that is short enough to read, always as a file."""
    table = list(csv.reader((root / FIGURES / f"{figure}.csv").read_text(encoding="utf-8").splitlines()))
    link = f"[{len(table) - 1:,} rows as CSV](../figures/{figure}.csv)"
    lines = ["", "", '??? abstract "The numbers of this plot"', "", f"    {link}", ""]
    if len(table) <= ROWS:
        cells = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
        lines += [f"    {line}" for line in [cells[0], "| --- " * len(table[0]) + "|", *cells[1:]]]
    return "\n".join(lines)


def lean(page: str) -> str:
    """A notebook page without the 120 kB of styles and scripts that mkdocs-jupyter 0.26.3 adds."""
    page = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    page = re.sub(r'<div class="zeroclipboard-container">.*?</clipboard-copy>\s*</div>', "", page, flags=re.DOTALL)
    page = re.sub(r'<div class="clipboard-copy-txt".*?</div>', "", page, flags=re.DOTALL)  # each cell's source again
    page = page.replace('class="highlight-ipynb', 'class="highlight')
    page = page.replace('class="anchor-link"', 'class="headerlink"')
    page = re.sub(r"<pre>(<span></span>.*?)</pre>", r"<pre><code>\1</code></pre>", page, flags=re.DOTALL)
    return re.sub(r' (id="cell-id=[^"]*"|tabindex="-1"|data-type="inline"|data-mime-type="[^"]*")', "", page)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        print(nbformat.writes(executed(Path.cwd(), sys.argv[1])))
    except SnippetError as error:
        print(error)
        sys.exit(1)
