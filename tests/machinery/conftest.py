"""A small made-up project in a temporary folder: two dice, verified once per run by the real tools."""

import os
import shutil
from pathlib import Path

import pytest
from command import run
from filelock import FileLock

ROOT = Path(__file__).parents[2]
MKDOCS = """
site_name: Two dice
site_url: https://example.org/dice/
site_description: All about two dice.
strict: true
theme: {name: material, font: false}
plugins: [{mkdocs-jupyter: {include: ["*.ipynb"], ignore: ["*.md"], execute: false, include_source: true}}]
markdown_extensions:
  - admonition
  - attr_list
  - footnotes
  - tables
  - toc: {permalink: true}
  - pymdownx.arithmatex: {generic: true}
  - pymdownx.details
  - pymdownx.superfences
  - pymdownx.snippets: {base_path: [includes], auto_append: [glossary.md], check_paths: true}
hooks: [site_tools/hooks.py]
validation: {omitted_files: warn, absolute_links: warn, unrecognized_links: warn, anchors: warn}
not_in_nav: |
  /notebooks/
  /tests/
nav:
  - index.md
  - questions/two-dice.md
  - bibliography.md
"""


@pytest.fixture(scope="session")
def verified(tmp_path_factory) -> Path:
    """The made-up project after `make verify`, one for all workers. Do not write into it: take `project`."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with FileLock(folder / "dice.lock"):
        if not (folder / "dice").exists():
            make_up(folder / "dice")
    return folder / "dice"


def make_up(root: Path) -> None:
    for name in ("site_tools", "tests/conftest.py", "tests/machinery/test_snippets.py", "pyproject.toml"):
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    for name, target in [
        ("page.md", "docs/questions/two-dice.md"),
        ("snippet.py", "snippets/two_dice.py"),
        ("claims.py", "tests/test_two_dice.py"),
        ("numbers.txt", "tests/numbers.txt"),
    ]:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "site_tools/template" / name, root / target)
    (root / "docs/index.md").write_text("# Dice\n\n<!-- all questions -->\n\n<!-- all claims -->\n", encoding="utf-8")
    (root / "docs/bibliography.md").write_text(
        "# Books\n\n- Vaswani et al. 2017.\n{ #vaswani-2017 }\n", encoding="utf-8"
    )
    (root / "mkdocs.yml").write_text(MKDOCS, encoding="utf-8")
    (root / "includes").mkdir()
    (root / "includes/glossary.md").write_text("*[die]: a cube with numbers\n", encoding="utf-8")
    shutil.copytree(ROOT / "docs/assets/search", root / "docs/assets/search")
    for name in ("node_modules", "vendor"):
        (root / name).symlink_to(ROOT / name)
    for name in ("requirements.txt", "constraints.txt"):
        (root / name).touch()
    result = run(root, "site_tools/verify.py")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def project(verified, tmp_path) -> Path:
    """A copy of the verified project for one test to spoil."""
    return shutil.copytree(verified, tmp_path / "project", symlinks=True)
