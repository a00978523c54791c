"""The masking-rate experiment can be interrupted, repeated and trusted to be what its README says."""

import functools
import hashlib
import importlib.util
import json
import lzma
from collections import Counter
from pathlib import Path

import masked_lm
import pytest
import torch

FOLDER = Path(__file__).parents[2] / "experiments/masking_rate"
ARMS = ["15 %", "corrupt 40 %, predict 15 %", "15 %, 80/10/10"]


@pytest.fixture(scope="module")
def experiment():
    spec = importlib.util.spec_from_file_location("masking_rate_train", FOLDER / "train.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.load_corpus = functools.cache(module.load_corpus)  # its tokenizer takes a second to train
    return module


@pytest.fixture
def start(experiment, tmp_path):
    """Run the smallest trial of all: `start("a.jsonl")` returns the path of its results."""

    def run(name: str) -> Path:
        experiment.main([*f"--seeds 1 --steps 1 --every 100 --results {tmp_path / name} --arms".split(), *ARMS])
        return tmp_path / name

    return run


def read(results: Path) -> list[dict]:
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def without_seconds(results: Path) -> list[dict]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in read(results)]


def test_interrupted_experiment_skips_what_is_recorded(experiment, start, tmp_path, monkeypatch):
    train, trained = experiment.train, []

    def interrupted_in_the_second_run(corpus, **arguments):
        if trained:
            raise KeyboardInterrupt
        trained.append(arguments)
        return train(corpus, **arguments)

    monkeypatch.setattr(experiment, "train", interrupted_in_the_second_run)
    with pytest.raises(KeyboardInterrupt):
        start("a.jsonl")
    before = (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert [line["arm"] for line in read(tmp_path / "a.jsonl")] == ARMS[:1]

    monkeypatch.setattr(experiment, "train", train)
    resumed, uninterrupted = start("a.jsonl"), start("b.jsonl")
    assert resumed.read_text(encoding="utf-8").startswith(before)
    assert without_seconds(resumed) == without_seconds(uninterrupted)  # and so: same seed, same numbers
    assert [line["arm"] for line in read(resumed)] == ARMS

    monkeypatch.setattr(experiment, "train", interrupted_in_the_second_run)  # would raise: one run is in `trained`
    complete = resumed.read_text(encoding="utf-8")
    assert start("a.jsonl").read_text(encoding="utf-8") == complete


def test_a_crash_while_recording_leaves_whole_lines(experiment, tmp_path, monkeypatch):
    results = tmp_path / "a.jsonl"
    experiment.append(results, {"arm": "15 %"})

    def crash(source, target):
        raise OSError("no power")

    monkeypatch.setattr(experiment.os, "replace", crash)
    with pytest.raises(OSError, match="no power"):
        experiment.append(results, {"arm": "40 %"})
    assert read(results) == [{"arm": "15 %"}]


def test_broken_results_are_named(experiment, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"arm": "15', encoding="utf-8")
    with pytest.raises(SystemExit, match=r"a\.jsonl: not one JSON object per line"):
        experiment.read(tmp_path / "a.jsonl")


def test_corpus_is_the_one_that_the_readme_describes(tmp_path):
    archive = (FOLDER / "corpus.txt.xz").read_bytes()
    text = lzma.decompress(archive)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(archive).hexdigest() in readme
    assert hashlib.sha256(text).hexdigest() == masked_lm.SHA256
    assert masked_lm.SHA256 in readme
    assert len(masked_lm.chapters()) == 1189
    assert Counter(group for group, _ in masked_lm.chapters()).keys() == set(range(6))

    altered = tmp_path / "corpus.txt.xz"
    altered.write_bytes(lzma.compress(text.replace(b"Jesus wept.", b"Jesus slept."), preset=0))
    with pytest.raises(ValueError, match="SHA-256"):
        masked_lm.chapters(altered)


def test_recorded_results_are_complete_and_belong_to_this_experiment(experiment):
    lines = read(FOLDER / "results.jsonl")
    facts = experiment.fingerprint(experiment.load_corpus(**experiment.TEXT))  # token ids, blocks, baselines
    for line in lines:
        expected = experiment.arguments(line["arm"], line["seed"], steps=1000)
        assert line["arguments"] == expected | {"split": list(expected["split"])}
        assert line["text"] == experiment.TEXT | {"every": 1}
        assert line | facts == line
        assert line["versions"].keys() == experiment.versions().keys()
        assert list(line["loss"]) == [f"{rate:.2f}" for rate in experiment.EXAM_RATES]
        assert 0 <= line["group_accuracy"] <= 1
        assert line["seconds"] > 0
    runs = [(line["seed"], line["arm"]) for line in lines]
    assert sorted(runs, key=lambda run: run[0]) == runs
    assert len(set(runs)) == len(runs)
    last = max(seed for seed, _ in runs)
    complete = len(runs) // len(experiment.ARMS)
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert f"{complete * len(experiment.ARMS)} runs, seeds 0 to {complete - 1} of all arms" in readme
    assert {run for run in runs if run[0] < last} == {(seed, arm) for seed in range(last) for arm in experiment.ARMS}


def test_adamw_is_that_of_torch():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    oracle = torch.optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01)
    moments = [(torch.zeros_like(start), torch.zeros_like(start))]
    for t in range(1, 6):
        ours.grad = torch.randn(5, 3, generator=generator)
        theirs.grad = ours.grad.clone()
        oracle.step()
        with torch.no_grad():
            masked_lm.adamw([ours], moments, t, lr=0.1)
    torch.testing.assert_close(ours, theirs)


def test_seed_alone_decides_the_initial_weights():
    states = []
    for global_seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(global_seed)
            states.append(masked_lm.Encoder(50, d_model=16, seed=0).state_dict())
    for name, weight in states[0].items():
        assert torch.equal(weight, states[1][name]), name


def test_positions_are_relative_and_matter():
    # rotary products depend on the distance of query and key alone; Su et al. 2021, section 3.1
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 8, generator=generator)  # one query and one key, put at every position
    products = masked_lm.rotate(q.expand(6, 8)) @ masked_lm.rotate(k.expand(6, 8)).T
    torch.testing.assert_close(products[:-1, :-1], products[1:, 1:])
    assert (products[0, 1:] - products[0, 0]).abs().min() > 0.01


def test_corruption_follows_split_and_spares_the_rest():
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.full((100, 1000), 7)
    selected = torch.rand(token_ids.shape, generator=generator) < 0.5
    corrupted = masked_lm.corrupt(token_ids, selected, masked_lm.BERT, 1001, generator)
    assert (corrupted == 7)[~selected].all()
    # 50 000 selected: the standard error of a share is below 0.002; six of them
    assert (corrupted == masked_lm.MASK)[selected].double().mean().item() == pytest.approx(0.8, abs=0.012)
    assert (corrupted == 7)[selected].double().mean().item() == pytest.approx(0.1 + 0.1 / 1000, abs=0.012)
    assert (masked_lm.corrupt(token_ids, selected, masked_lm.PLAIN, 1001, generator) == masked_lm.MASK)[selected].all()
