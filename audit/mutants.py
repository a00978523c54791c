"""What the claims notice: changed digits of the pages, changed code of the snippets. `make mutants [Q="slug slug"]`.

Digits: every digit of every measured number becomes each of the nine others. Code: mutmut changes constants, operators,
arguments and lines of the functions of a snippet, one at a time, and runs the claims that reach it; of the thousands of
changes a fixed random sample is made, the same number for each question. The result goes to audit/mutants.json, which
the verification page shows; reasons given there for survivors are kept.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "site_tools"))

import claims  # noqa: E402
import gate  # noqa: E402
import pages  # noqa: E402

RESULT = ROOT / "audit/mutants.json"
WORK = ROOT / "build/mutants"  # a copy of the project: mutmut needs the modules in src/
SAMPLE = 40  # changes of code for each question: all of them would take a night
SURVIVED = (0, 33)  # mutmut's exit codes: all tests passed; no test reaches the function
SETTINGS = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = [{modules}]
also_copy = ["docs", "experiments", "site_tools", "requirements.txt", "constraints.txt", "recorded.xml"]
pytest_add_cli_args = ["-q", "-p", "no:cacheprovider", "-p", "noticed"]
pytest_add_cli_args_test_selection = [{tests}]
"""


def changed_digits(page: Path) -> tuple[int, int]:
    """How many changes of one digit of a number there are, and how many of them the gate notices."""
    report = claims.read_report(ROOT / claims.REPORT)
    text = page.read_text(encoding="utf-8")
    made = noticed = 0
    for _, number, recorded in gate.numbers(text, report):
        before = gate.meant(number, recorded)
        for at, digit in enumerate(number[0]):
            for other in "0123456789" if digit.isdigit() else "":
                if other != digit:
                    changed = pages.NUMBER.search(f" {number[0][:at]}{other}{number[0][at + 1 :]}")
                    made += 1
                    noticed += not changed or gate.meant(changed, recorded) != before
    return made, noticed


def changed_code(modules: list[str]) -> dict[str, dict]:
    """For each module how many mutants there are, and the difference that each survivor makes."""
    shutil.rmtree(WORK, ignore_errors=True)
    for name in ("docs", "experiments", "site_tools"):
        shutil.copytree(ROOT / name, WORK / name)
    shutil.copytree(ROOT / "snippets", WORK / "src")
    (WORK / "tests").mkdir()
    for name in ["tests/conftest.py", "requirements.txt", "constraints.txt", *[f"tests/test_{m}.py" for m in modules]]:
        shutil.copy(ROOT / name, WORK / name)
    shutil.copy(ROOT / claims.REPORT, WORK / "recorded.xml")
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8").replace('["snippets"', '["src"')
    listed = {"modules": ("src/{}.py", modules), "tests": ("tests/test_{}.py", modules)}
    lists = {name: ", ".join(f'"{form.format(m)}"' for m in names) for name, (form, names) in listed.items()}
    (WORK / "pyproject.toml").write_text(settings + SETTINGS.format(**lists), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "audit")}
    mutmut = [sys.executable, "-m", "mutmut"]
    run = [*mutmut, "run", "--max-children", str(os.cpu_count())]
    subprocess.run([*run, "none"], cwd=WORK, env=environment, check=False)  # only makes them
    chosen = [name for module in modules for name in sample(list(exit_codes(module)))]
    subprocess.run([*run, *chosen], cwd=WORK, env=environment, check=True)
    found = {}
    for module in modules:
        codes = {name: code for name, code in exit_codes(module).items() if name in chosen}
        survivors = {}
        for name in (name for name, code in codes.items() if code in SURVIVED):
            shown = subprocess.check_output([*mutmut, "show", name], cwd=WORK, env=environment, text=True)
            lines = [line for line in shown.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
            survivors["\n".join(line[:1] + " " + line[1:].strip() for line in lines)] = ""
        found[module] = {"made": len(codes), "survivors": survivors}
    return found


def exit_codes(module: str) -> dict[str, int | None]:
    """What became of each mutant of a module; None where it did not run."""
    meta = WORK / f"mutants/src/{module}.py.meta"
    return json.loads(meta.read_text(encoding="utf-8"))["exit_code_by_key"] if meta.exists() else {}


def sample(names: list[str]) -> list[str]:
    return random.Random(0).sample(sorted(names), min(SAMPLE, len(names)))


def main(slugs: list[str]) -> None:
    modules = [slug.replace("-", "_") for slug in slugs] or list(claims.questions(ROOT))
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in ("torch", "numpy", "mutmut")}
    found = known.get("questions", {})
    for module, code in changed_code(modules).items():
        made, noticed = changed_digits(claims.questions(ROOT)[module])
        reasons = found.get(module, {}).get("survivors", {})
        code["survivors"] = {change: reasons.get(change, "") for change in code["survivors"]}
        today = str(datetime.date.today())
        found[module] = {"date": today, "digits": made, "digits_noticed": noticed, **code}
        caught = 1 - len(code["survivors"]) / max(code["made"], 1)
        print(f"{module}: digits {noticed} of {made}, mutants {caught:.1%} of {code['made']}")
    result = {
        "versions": {"python": platform.python_version(), **versions},
        "questions": dict(sorted(found.items())),
    }
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
