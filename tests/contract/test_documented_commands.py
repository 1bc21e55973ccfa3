"""Every command in the documentation parses, and is run unless a reason is given.

``cli/test_documented_pages.py`` runs them, which takes long: `make docs-commands`.
"""

from __future__ import annotations

import difflib
import functools
import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import typer.main

from conftest import REPOSITORY
from documents import NOT_RUN, PAGES, in_blocks, in_text, lines_of, name_of, why_not_run
from earwitness.cli import make_app
from earwitness.cli.options import comma_list, parse_option
from earwitness.core.errors import EarwitnessError
from earwitness.datasets.catalog import LAYOUTS
from earwitness.detectors.loading import DETECTORS
from earwitness.perturb.suites import load_suite
from earwitness.scoring.options import fields

_MISTYPED = 0.75


@functools.cache
def group() -> Any:
    return typer.main.get_command(make_app())


def parse(line: str, *, is_complete: bool) -> None:
    """Parse a line by the real command line; no command is run."""
    command, names, (_, *words) = group(), [], shlex.split(line, comments=True)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        names.append(words.pop(0))
        command = command.commands[names[-1]]
    assert names, f"no command: {line}"
    named = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    assert named <= known, f"{line}: no option {sorted(named - known)}"
    if is_complete:
        above = group().make_context("earwitness", [], resilient_parsing=True)
        values = dict(command.make_context(names[-1], words, parent=above).params)
        check_values(values, fields().keys() if names[0] in {"predict", "stress"} else set())


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_parses(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in in_blocks(text):
        if line.startswith("earwitness"):
            parse(line, is_complete=True)
    for line in in_text(text):
        if line.startswith("earwitness"):
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
        parse(f"earwitness {line}", is_complete=True)


def test_commands_are_found_in_every_kind_of_block() -> None:
    text = (
        "`earwitness audit`, `earwitness …` and\n"
        "```sh\n$ earwitness splits \\\n    --root x   # why\n"
        'sbatch --wrap "earwitness predict --out y"\n```\n    earwitness status z\n'
        "earwitness is a name; `python a.py` is run\n    A=1 python b.py\n    pythons\n"
    )
    assert [line.split("#")[0].split() for line in in_blocks(text)] == [
        ["earwitness", "splits", "--root", "x"],
        ["sbatch", "--wrap", '"earwitness', "predict", "--out", 'y"'],
        ["earwitness", "predict", "--out", "y"],
        ["earwitness", "status", "z"],
        ["A=1", "python", "b.py"],
    ]
    assert list(in_text(text)) == ["earwitness audit", "python a.py"]


def test_a_line_that_is_not_run_is_in_a_page_and_another_test_or_a_reason_is_named() -> None:
    lines = {line for page in PAGES for line in lines_of(page)}
    assert {why_not_run(line) for line in lines} == {None, *NOT_RUN.values()}
    for start, (why, test) in NOT_RUN.items():
        assert any(line.startswith(start) for line in lines), start
        assert why
        path, _, name = test.partition("::")
        text = (REPOSITORY / "tests" / path).read_text("utf-8") if test else ""
        assert f"def {name}(" in text or not name, test
