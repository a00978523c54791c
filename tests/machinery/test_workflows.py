"""The workflows of .github/workflows: what can be said of them without running them."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in WORKFLOWS}
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", TEXTS)
def test_no_more_rights_than_needed(name):
    workflow = yaml.safe_load(TEXTS[name])
    assert workflow["permissions"] == {}
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as true
    assert not {"pull_request_target", "workflow_run"} & set(triggers)
    writing = {key for job in workflow["jobs"].values() for key, right in job["permissions"].items() if right != "read"}
    assert not ("pull_request" in triggers and writing)
    assert "secrets." not in TEXTS[name]
    assert workflow["concurrency"]["group"]
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())
    checkouts = [step for step in steps(workflow) if "actions/checkout@" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("name", TEXTS)
def test_actions_are_pinned_by_commit_with_their_version(name):
    uses = re.findall(r"\buses: *(.+)", TEXTS[name])
    assert uses
    assert [entry for entry in uses if not PINNED.fullmatch(entry)] == []


def test_an_action_has_one_version():
    pins = {entry for text in TEXTS.values() for entry in re.findall(r"\buses: *(\S+)@(\S+)", text)}
    assert len(pins) == len({action for action, _ in pins})


@pytest.mark.parametrize("name", TEXTS)
def test_targets_and_scripts_exist(name):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = "\n".join(step.get("run", "") for step in steps(yaml.safe_load(TEXTS[name])))
    assert set(re.findall(r"\bmake ([a-z]+)", commands)) - targets == set()
    assert [script for script in re.findall(r"\S+\.py\b", commands) if not (ROOT / script).exists()] == []


def test_every_supported_python_is_tested_and_no_other():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = {entry.rpartition(" ")[2] for entry in project["classifiers"]}
    named = {name: set(re.findall(r'"(3\.\d+)"', text)) for name, text in TEXTS.items()}
    assert named["test.yml"] == supported
    assert set().union(*named.values()) == supported
