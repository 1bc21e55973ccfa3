from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from earwitness.core.estimate import ComparisonRow, Counts
from earwitness.evaluation.schema import Metrics, Mistake
from earwitness.evaluation.summarize import evaluate_counts
from earwitness.report.page import audio_finder

Find = Callable[[str], str | None]


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    """Metrics whose manifest ``d`` says that its paths start in ``data``."""
    bare = evaluate_counts([ComparisonRow("m", "d", Counts(1, 1, 1, 1))], source="t.csv")
    told = bare.manifests[0].model_copy(update={"roots": [str(tmp_path / "data")]})
    return bare.model_copy(update={"manifests": [told]})


@pytest.fixture
def find(metrics: Metrics, tmp_path: Path) -> Find:
    finder = audio_finder(metrics, tmp_path / "out" / "report.html", [tmp_path / "more"])
    return lambda name: finder(Mistake(filepath=name, dataset="d", target=0))


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_files_are_found_below_the_manifests_roots_and_those_given(
    find: Find, tmp_path: Path
) -> None:
    put(tmp_path / "data" / "a.wav")
    put(tmp_path / "more" / "b.mp3")
    assert find("a.wav") == "./../data/a.wav"
    assert find("b.mp3") == "./../more/b.mp3"
    assert find(str(tmp_path / "more" / "b.mp3")) == "./../more/b.mp3"


def test_names_are_quoted(find: Find, tmp_path: Path) -> None:
    put(tmp_path / "data" / "javascript:a#b?c%20 é.wav")
    assert find("javascript:a#b?c%20 é.wav") == (
        "./../data/javascript%3Aa%23b%3Fc%2520%20%C3%A9.wav"
    )


def test_missing_and_unplayable_files_are_not_linked(find: Find, tmp_path: Path) -> None:
    put(tmp_path / "data" / "notes.txt")
    (tmp_path / "data" / "folder.wav").mkdir()
    for name in ("none.wav", "notes.txt", "folder.wav", "", "nul\0.wav", "x" * 5000 + ".wav"):
        assert find(name) is None, name


def test_a_file_in_another_tree_is_linked_in_full(metrics: Metrics, tmp_path: Path) -> None:
    there = put(tmp_path / "data" / "a b.wav")
    finder = audio_finder(metrics, Path("/elsewhere/report.html"), [])
    assert finder(Mistake(filepath="a b.wav", dataset="d", target=1)) == there.as_uri()
    assert finder(Mistake(filepath="a b.wav", dataset="another", target=1)) is None
