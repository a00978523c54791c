"""Does the site hold on another processor? Verifies everything with the instructions of a processor of 2008.

`python audit/processor.py` prints what then is wrong with claims and pages, and exits with 1 if something is. Which
instructions a library chooses changes the order of its sums, and so the last digits of its results. On a processor that
is no x86 the settings change nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
OLD = {  # torch, its two libraries for matrices, numpy, its library for matrices
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Nehalem",
}
LEFT_OUT = shutil.ignore_patterns("build", "site", ".git", ".venv", ".cache", "node_modules", "__pycache__")

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(ROOT, Path(folder, "project"), ignore=LEFT_OUT)
        for command in ("site_tools/verify.py -n 2", "site_tools/gate.py"):
            line = [sys.executable, *command.split()]
            result = subprocess.run(line, cwd=copy, env={**os.environ, **OLD}, check=False)
    sys.exit(result.returncode)
