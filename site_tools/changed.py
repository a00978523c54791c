"""The questions that differ from another commit, in one line: `python site_tools/changed.py BASE`."""

import subprocess
import sys
from pathlib import Path

import claims


def changed(root: Path, base: str) -> list[str]:
    """Slugs of the questions of which the page or a file of their own was changed since HEAD left `base`."""
    command = ["git", "diff", "--name-only", "-z", f"{base}...HEAD"]
    names = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout.split("\0")
    paths = {root / name for name in names}
    return [page.stem for module, page in claims.questions(root).items() if paths & {page, *claims.owned(root, module)}]


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.exit("changed since when? make changed BASE=origin/main")
    try:
        print(*changed(Path(__file__).parents[1], sys.argv[1]))
    except subprocess.CalledProcessError as error:  # git has said what
        sys.exit(error.returncode)
