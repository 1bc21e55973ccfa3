"""Every command in the documentation: it parses, and a test runs one with its options.

Commands are those of code blocks, and in running text those without an ellipsis; the page of all
commands is generated.
"""

from __future__ import annotations

import ast
import difflib
import functools
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

from conftest import REPOSITORY
from earwitness.cli import make_app
from earwitness.cli.options import comma_list, parse_option
from earwitness.core.errors import EarwitnessError
from earwitness.datasets.catalog import LAYOUTS
from earwitness.detectors.loading import DETECTORS
from earwitness.perturb.suites import load_suite
from earwitness.scoring.options import fields

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted(set((REPOSITORY / "docs").rglob("*.md")) - {REPOSITORY / "docs" / "commands.md"}),
]
RUN_BY = {
    "audit": "cli/test_audit.py::test_strict_exits_1_on_findings_alone",
    "bench diff": "cli/test_bench.py::test_init_run_run_again_and_diff",
    "bench init": "cli/test_bench.py::test_init_run_run_again_and_diff",
    "bench run": "cli/test_bench.py::test_init_run_run_again_and_diff",
    "classify": "cli/test_images.py::test_several_csvs_are_pooled",
    "compare": "cli/test_evaluate.py::test_compare_two_runs_detector_by_detector",
    "convert": "cli/test_convert.py::test_the_command_converts_there_and_back",
    "datasets": "cli/test_datasets.py::test_a_whole_folder_passes",
    "datasets check": "cli/test_datasets.py::test_a_whole_folder_passes",
    "demo": "demo/test_workspace.py::test_a_worker_that_is_killed_once_costs_nothing",
    "dossier": "cli/test_dossier.py::test_redacted_pages_name_nothing",
    "drift": "detectors/test_service.py::test_drift_finds_a_silent_change_of_the_model",
    "evaluate": "cli/test_evaluate.py::test_evaluate_prints_a_table_and_writes_json_and_csv",
    "listen": "cli/test_listen.py::test_one_song",
    "merge": "cli/test_shards.py::test_a_partial_merge_says_what_is_missing",
    "perturb": "cli/test_perturb.py::test_killed_and_interrupted_copies_resume_to_the_same_bytes",
    "plot": "cli/test_commands.py::test_from_folders_to_confusion_matrices",
    "predict": "cli/test_commands.py::test_from_folders_to_confusion_matrices",
    "render": "cli/test_images.py::test_from_audio_to_a_report",
    "report": "cli/test_report.py::test_metrics_become_a_page",
    "serve": "web/test_end.py::test_uploads_are_deleted_at_the_end_and_an_open_host_is_warned_of",
    "splits": "cli/test_commands.py::test_the_published_commands_word_for_word",
    "status": "cli/test_status.py::test_a_run_in_progress_is_counted_without_being_disturbed",
    "stress": "cli/test_stress.py::test_audio_is_kept_if_asked_for",
    "summarize": "cli/test_commands.py::test_from_folders_to_confusion_matrices",
    "train": "cli/test_train.py::test_a_csv_and_a_test_at_the_end",
}
"""For each documented command, a test that runs it."""

ALSO_RUN_IN = {
    "audit": ("cli/test_file_shards.py",),
    "predict": (
        *("cli/test_engines.py", "cli/test_ray.py", "cli/test_resume.py", "cli/test_shards.py"),
        *("detectors/test_service.py",),
    ),
    "render": ("cli/test_file_shards.py",),
    "splits": ("datasets/test_hub_datasets.py", "datasets/test_plugins.py"),
    "train": ("cli/test_commands.py",),
}
"""Other files with tests that run it, for its options."""

NOT_RUN = {
    "convert --root": "as of the other commands with manifests",
    "predict --cache-dir": "needs a bucket; tests set the variable, and read one of a local server",
    "predict --cache-size": "needs a bucket; tests set the variable",
    "predict --ray-address": "needs a running cluster; tests start one of this machine",
    "render --sample-rate-hz": "tests render at the rate of the detector",
    "serve --runs": "tests of the page open a folder of runs in Python",
    "splits --shards": "needs the hub; tests read local Parquet files, in Python",
    "stress --shard": "the same code as of predict",
}
"""Documented options that no test gives on a command line, and why."""

_CONTINUED = re.compile(r"\\\n\s*")
_IN_BLOCK = re.compile(r"(?:^\s*(?:\$ )?|[\"|;&]\s*)earwitness ([^\"\n]*)")
_IN_TEXT = re.compile(r"`earwitness ([^`]+)`")
_MISTYPED = 0.75


class Parsed(NamedTuple):
    """A command, and its options by their first name."""

    name: str
    options: frozenset[str]
    values: dict[str, Any]


@functools.cache
def group() -> Any:
    return typer.main.get_command(make_app())


def in_blocks(text: str) -> Iterator[str]:
    """Yield commands of fenced and indented blocks, on one line each, without ``earwitness``."""
    is_fenced = False
    for line in _CONTINUED.sub(" ", text).splitlines():
        if line.lstrip().startswith("```"):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            yield from (match[1] for match in _IN_BLOCK.finditer(line))


def in_text(text: str) -> Iterator[str]:
    """Yield commands of running text, which may lack required arguments."""
    for match in _IN_TEXT.finditer(text):
        if "…" not in match[1] and not match[1].startswith("COMMAND"):
            yield match[1]


def look_up(line: str) -> tuple[Any, str, list[str]]:
    """Return the command of a line, its name, and its arguments."""
    command, names, words = group(), [], shlex.split(line, comments=True)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        names.append(words.pop(0))
        command = command.commands[names[-1]]
    assert names, f"no command: {line}"
    return command, " ".join(names), words


def parse(line: str, *, is_complete: bool) -> Parsed:
    """Parse a line by the real command line; no command is run."""
    command, name, words = look_up(line)
    above = group().make_context("earwitness", [], resilient_parsing=True)
    first = {option: p.opts[0] for p in command.params for option in (*p.opts, *p.secondary_opts)}
    named = [word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")]
    assert set(named) <= set(first), f"{line}: no option {sorted(set(named) - set(first))}"
    values: dict[str, Any] = {}
    if is_complete:
        values = dict(command.make_context(name, words, parent=above).params)
        check_values(values, fields().keys() if name in {"predict", "stress"} else set())
    return Parsed(name, frozenset(first[option] for option in named), values)


def check_values(values: dict[str, Any], scoring: Collection[str]) -> None:
    """Check what a command itself would check: scoring options, detectors, datasets, suites."""
    for name in scoring:
        if isinstance(values[name], str):
            parse_option(name, values[name])
    for named in comma_list(values.get("detector") or ()):
        is_place = re.search(r"[:/]", named)
        close = difflib.get_close_matches(named, list(DETECTORS), n=1, cutoff=_MISTYPED)
        assert is_place or named in DETECTORS or not close, f"{named}: meant is {close}?"
    for pair in values.get("dataset") or ():
        if isinstance(pair, str) and not pair.startswith("hf:"):
            LAYOUTS.load(pair.partition("=")[0])
    suite = values.get("suite")
    if suite and not str(suite).endswith((".yaml", ".yml")) and suite != "none":
        load_suite(suite)


def documented() -> list[tuple[str, Parsed]]:
    """All commands of code blocks, with their lines."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    return [(line, parse(line, is_complete=True)) for text in texts for line in in_blocks(text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_parses(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in in_blocks(text):
        parse(line, is_complete=True)
    for line in in_text(text):
        parse(line, is_complete=False)


@pytest.mark.parametrize(
    "line",
    [
        "predct --out runs",
        "predict --detector comb --manifst m.csv",
        "predict --precision fp63",
        "predict --detector combb --manifest m.csv",
        "summarize runs --aggregate median",
        "dossier one.mp3 two.mp3",
        "dossier song.mp3 --suite quik",
        "splits --dataset ctrsvd=/data",
        "convert a.txt b.csv --from mirx",
    ],
)
def test_a_wrong_command_would_be_found(line: str) -> None:
    with pytest.raises((AssertionError, EarwitnessError, typer._click.exceptions.UsageError)):
        parse(line, is_complete=True)


def test_commands_are_found_in_every_kind_of_block() -> None:
    text = (
        "`earwitness audit` and\n```sh\n$ earwitness splits \\\n    --root x   # why\n"
        'sbatch --wrap "earwitness predict --out y"\n```\n    earwitness status z\n'
        "earwitness is a name\n"
    )
    assert [line.split("#")[0].split() for line in in_blocks(text)] == [
        ["splits", "--root", "x"],
        ["predict", "--out", "y"],
        ["status", "z"],
    ]
    assert list(in_text(text)) == ["audit"]


def words_of(path: str) -> set[str]:
    """All words of strings in a file of tests."""
    tree = ast.parse((REPOSITORY / "tests" / path).read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {word for text in texts if isinstance(text, str) for word in text.split()}


def test_a_test_runs_each_documented_command() -> None:
    assert {parsed.name for _, parsed in documented()} == set(RUN_BY)
    for name, test in RUN_BY.items():
        path, _, function = test.partition("::")
        tree = ast.parse((REPOSITORY / "tests" / path).read_text(encoding="utf-8"))
        assert function in [n.name for n in tree.body if isinstance(n, ast.FunctionDef)], test
        assert set(name.split()) <= words_of(path), test


def test_a_test_gives_each_documented_option_or_why_not_is_said() -> None:
    unrun = set()
    for line, parsed in documented():
        name = parsed.name
        given = words_of(RUN_BY[name].partition("::")[0])
        given |= {word for path in ALSO_RUN_IN.get(name, ()) for word in words_of(path)}
        for parameter in look_up(line)[0].params:
            spellings = {*parameter.opts, *(f"--{o[2:].replace('-', '_')}" for o in parameter.opts)}
            if parameter.opts[0] in parsed.options and not spellings & given:
                unrun.add(f"{name} {parameter.opts[0]}")
    assert unrun == set(NOT_RUN)
