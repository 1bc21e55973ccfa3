"""What ``run.json`` holds is checked before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from earwitness.core.errors import RunError
from earwitness.scoring.run_folder import read_run

RUN: dict[str, Any] = {
    "options": {"windows": 1},
    "manifests": {"a": {"digest": "d", "roots": ["/r"]}},
    "detectors": [{"name": "x", "weights_sha256": None}],
    "libraries": {"numpy": "2"},
}


def test_a_run_is_read_with_all_that_it_holds(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RUN | {"more": [1]}), "utf-8")
    assert read_run(tmp_path / "run.json") == RUN | {"more": [1]}
    assert read_run(tmp_path / "absent.json") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"options": []},
        {"manifests": {"a": 3}},
        {"manifests": {"a": {}}},
        {"manifests": {"a": {"digest": "d", "roots": 4}}},
        {"detectors": [3]},
        {"detectors": [{}]},
        {"detectors": [{"name": ["x"]}]},
        {"detectors": {"name": "x"}},
        {"libraries": [1]},
        {"libraries": "numpy"},
    ],
    ids=json.dumps,
)
def test_other_types_than_expected_are_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RUN | changes), "utf-8")
    with pytest.raises(RunError, match=f"not the description of a run: {next(iter(changes))}"):
        read_run(tmp_path / "run.json")


@pytest.mark.parametrize("text", ["[" * 100_000, "1" * 5_000, "null", "", "[]", "{"])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, "utf-8")
    with pytest.raises(RunError, match="description of a run"):
        read_run(tmp_path / "run.json")
