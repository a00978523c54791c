"""The `measured` fixture, which turns a test into a claim, and the report that the site is built from."""

import inspect
import math
import os

# One thread unless the caller says otherwise: sums come out in the same order on every machine and in every worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import functools
import importlib.metadata
import platform
from pathlib import Path

import claims
import contained
import pytest

ROOT = Path(__file__).parents[1]
OWN_RUN = ROOT / f"build/run-{os.getpid()}.xml"


@functools.cache
def fingerprints(module: str) -> dict[str, str]:
    return claims.fingerprints(ROOT, module)


@pytest.fixture
def measured(request, record_property):
    """Record the claim and what it measured: `measured(variance=63.8, d_k=64)`. Record first, then assert."""
    record_property("claim", " ".join(inspect.getdoc(request.function).split()))
    module, name = (text.removeprefix("test_") for text in (request.path.stem, request.function.__name__))
    record_property("fingerprint", fingerprints(module).get(name, ""))  # "": no test that a page can refer to
    record_property("python", platform.python_version())
    for library in ("torch", "numpy"):
        record_property(library, importlib.metadata.version(library).split("+")[0])
    seen = set(claims.FACTS)

    def record(**values: float) -> None:
        for name, value in values.items():
            if name in seen:
                raise ValueError(f"measured({name}=…) was recorded before, or is a reserved name: choose another")
            seen.add(name)
            number = value.item() if hasattr(value, "item") else value
            if not isinstance(number, int | float) or not math.isfinite(number):
                raise ValueError(f"measured({name}={number!r}) is not a finite number: record what was measured")
            record_property(name, repr(number))

    with contained.held():
        yield record


@pytest.fixture(scope="session")
def transformers():
    """Hugging Face's library, an independent oracle; importing it takes seconds, so only who asks for it pays."""
    import transformers  # noqa: PLC0415

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    assert transformers.__version__.startswith("5."), "the claims name the version: check them"
    return transformers


@pytest.fixture(scope="session")
def oracle(transformers):
    """Hugging Face's BertModel on the trained weights that snippets/bert.py loads. Do not change it."""
    from bert import model_file  # noqa: PLC0415

    return transformers.BertModel.from_pretrained(model_file("model.safetensors").parent, local_files_only=True).eval()


@pytest.hookimpl(tryfirst=True)  # before pytest's own report looks where to write
def pytest_configure(config):
    """Every run writes a JUnit report, under a name of its own so that two runs do not meet."""
    config.option.xmlpath = config.option.xmlpath or str(OWN_RUN)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Update build/report.xml once the run is written, in the main process alone."""
    run = Path(config.option.xmlpath)
    if not hasattr(config, "workerinput") and run.exists():
        claims.merge(ROOT, run)
        OWN_RUN.unlink(missing_ok=True)
