"""Options of ``predict``: the command line, ``bench.yaml`` and ``run.json`` have the same set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main

from builders import write_tone
from earwitness.bench.config import DetectorSection
from earwitness.cli import make_app
from earwitness.core.errors import RunError
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import Detector
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.detectors.loading import open_detector
from earwitness.scoring.options import (
    DetectorOptions,
    ScoringOptions,
    ScoringSection,
    deciding,
    fields,
    option_of,
)
from earwitness.scoring.run_folder import begin_run, read_run
from earwitness.splits.manifests import read_manifest

ONLY_OF_A_CALL = {"resume", "retry_errors", "format"}
"""Options that say how a call treats an existing folder, not what a benchmark is."""

OTHER_VALUES: dict[str, Any] = {
    "windows": "all",
    "use_skip_time": True,
    "keep_windows": True,
    "threshold": 0.25,
    "batch_size": 3,
    "num_workers": 1,
    "retry_errors": True,
    "device": "cuda",
    "backend": "onnxruntime",
}


def options_of(command: str) -> dict[str, Any]:
    """The options of a command, by their first name without dashes."""
    group: Any = typer.main.get_command(make_app())
    return {p.opts[0].lstrip("-"): p for p in group.commands[command].params}


def flag_of(name: str) -> str:
    return (option_of(fields()[name]).flag or name.replace("_", "-")).lstrip("-")


@pytest.mark.parametrize("name", fields())
def test_every_option_is_one_of_the_command_line(name: str) -> None:
    parameter = options_of("predict")[flag_of(name)]
    option, field = option_of(fields()[name]), fields()[name]
    assert parameter.help.replace("\\[", "[") == option.help
    assert parameter.default == (option.shown_default or field.default)


def test_every_option_is_a_key_of_bench_yaml_unless_it_is_of_a_call() -> None:
    scoring, detector = set(ScoringSection.model_fields), set(DetectorOptions.model_fields)
    assert not scoring & detector
    assert scoring | detector | ONLY_OF_A_CALL == set(fields())
    assert detector < set(DetectorSection.model_fields)


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("audit", {"num-workers"}),
        ("listen", {"device", "preprocessing"}),
        ("classify", {"device"}),
        ("render", {"num-workers"}),
    ],
)
def test_other_commands_have_the_same_options(command: str, names: set[str]) -> None:
    of_predict, own = options_of("predict"), options_of(command)
    assert [own[name].help for name in names] == [of_predict[name].help for name in names]
    assert [own[name].default for name in names] == [of_predict[name].default for name in names]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Detector]:
    folder = tmp_path_factory.mktemp("parts")
    write_tone(folder / "a.wav")
    (folder / "m.csv").write_text("filepath,target\na.wav,0\n")
    manifest = read_manifest(folder / "m.csv")
    save_fakeprint(
        fakeprint_card(name="mine", trained_on=None, training_items=None),
        np.zeros(4_087),
        0.5,
        folder / "mine",
    )
    return manifest, open_detector(str(folder / "mine"))


def test_run_json_records_every_option_that_the_card_does_not(
    parts: tuple[Manifest, Detector], tmp_path: Path
) -> None:
    manifest, detector = parts
    begin_run(tmp_path, [manifest], [detector], ScoringOptions())
    run = read_run(tmp_path / "run.json")
    assert run is not None
    recorded = {n: option_of(f).recorded for n, f in fields().items()}
    assert set(run["options"]) == {n if key is True else key for n, key in recorded.items() if key}
    of_detector = {name for name, key in recorded.items() if not key}
    of_card = {"preprocessing", "n_encoders", "precision", "fake_label"}
    assert of_detector == of_card | {"backend", "device"}
    assert {"preprocessing", "encoders", "precision"} <= set(run["detectors"][0])
    assert run["computed_by"] == {"mine": "numpy on cpu"}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_resuming_with_another_value_is_refused_where_it_decides_scores(
    parts: tuple[Manifest, Detector], tmp_path: Path, name: str
) -> None:
    manifest, detector = parts
    begin_run(tmp_path, [manifest], [detector], ScoringOptions())
    other = ScoringOptions(**{name: OTHER_VALUES[name]})
    if name in deciding("scores"):
        with pytest.raises(RunError, match=f"option {name} was .*, is "):
            begin_run(tmp_path, [manifest], [detector], other)
    else:
        begin_run(tmp_path, [manifest], [detector], other)
