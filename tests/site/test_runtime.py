"""The listings that run in the reader's browser, executed in the same runtime under Node."""

import json
import subprocess
import sys
from pathlib import Path

import claims
import nbformat
import notebooks
import pytest
import runtime

ROOT = Path(__file__).parents[2]
NODE = Path(sys.executable).with_name("node")


def in_node(folder: Path, programs: list[list[str]]) -> list[list[str]]:
    """What each cell of each program prints in Pyodide, which is installed in `folder`."""
    runtime.install(ROOT, folder)
    path = folder / "programs.json"
    path.write_text(json.dumps(programs), encoding="utf-8")
    command = [str(NODE), str(Path(__file__).with_name("run_in_node.mjs")), str(folder), str(path)]
    result = subprocess.run(command, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_every_runnable_listing_prints_in_the_browser_what_it_printed_here(tmp_path):
    programs = {module: notebooks.read(ROOT, module) for module in claims.questions(ROOT)}
    programs = {module: runtime.program(notebook) for module, notebook in programs.items()}
    control = ["import sys\nprint(sys.platform)", "import numpy as np\nprint(np.arange(1).dtype)"]
    *printed, (platform, sizes) = in_node(
        tmp_path, [*([cell["code"] for cell in cells] for cells in programs.values()), control]
    )
    for (module, cells), outputs in zip(programs.items(), printed, strict=True):
        for cell, output in zip(cells, outputs, strict=True):
            assert output == cell["output"], f"snippets/{module}.py, section {cell['section']}"
    assert platform == "emscripten" != sys.platform  # control: what prints something else there is noticed
    assert sizes == "int32"


def test_altered_wheel_is_refused(tmp_path):
    (tmp_path / "vendor").mkdir()
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    wheel = next((ROOT / "vendor").glob("numpy-*.whl"))
    data = bytearray(wheel.read_bytes())
    data[1000] ^= 1
    (tmp_path / "vendor" / wheel.name).write_bytes(data)
    with pytest.raises(ValueError, match=r"is missing or altered; see vendor/README\.md"):
        runtime.install(tmp_path, tmp_path / "site")


def test_program_ends_where_more_than_numpy_is_needed():
    sources = ["import math", "import numpy as np", "x = 1", "import torch", "y = 2"]
    cells = [nbformat.v4.new_code_cell(source, metadata={"section": f"s{at}"}) for at, source in enumerate(sources)]
    program = runtime.program(nbformat.v4.new_notebook(cells=cells))
    assert [cell["code"] for cell in program] == sources[:3]
