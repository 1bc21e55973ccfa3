from __future__ import annotations

from pathlib import Path

import pytest

from bench.test_steps import Watching
from earwitness.cli.demo import _lesson
from earwitness.core.errors import UsageError
from earwitness.demo import run as demo
from earwitness.demo.run import Outcome, judge_demo, prepare_demo


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that is made in seconds."""
    made = demo.make_workspace

    def make_small(root: Path, **options: object) -> object:
        sizes = {"n_tracks": 12, "n_songs": 4, "n_captions": 2, "clip_s": 4.0}
        return made(root, **sizes, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(demo, "make_workspace", make_small)


@pytest.mark.usefixtures("small")
def test_everything_lies_below_one_folder(tmp_path: Path) -> None:
    said: list[str] = []
    data = prepare_demo(tmp_path / "out", say=said.append)
    done = judge_demo(data, say=said.append, watcher=Watching())
    assert [line[:3] for line in said] == ["1/3", "2/3", "3/3"]
    table = (tmp_path / "out" / "run" / "final_ood_comparison.csv").read_text().splitlines()
    assert len(table) == 1 + 10
    figures = list((tmp_path / "out" / "run" / "confusion").iterdir())
    assert len(figures) == 20
    assert all(path.stat().st_size > 1000 for path in figures)
    assert len(done.benchmark.predictions) == 10
    assert "errors" not in done.benchmark.places()
    assert done.benchmark.places()["report"].read_text().startswith("<!doctype html>")
    kinds = {(o.kind, o.source) for o in done.outcomes}
    assert ("real", "SONICS") in kinds
    assert ("griffin256", "FMA") in kinds
    assert ("demo_songmaker_a", "FakeMusicCaps") in kinds
    assert {o.kind for o in done.outcomes if o.known} == {"real", "upsample320", "upsample512"}


def test_somebodys_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("three years of work")
    with pytest.raises(UsageError, match="holds files of its own, expected an empty or a new"):
        prepare_demo(tmp_path, say=lambda _: None)
    with pytest.raises(UsageError, match="found a file, expected a folder"):
        prepare_demo(tmp_path / "run" / "thesis.txt", say=lambda _: None)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "three years of work"


@pytest.mark.parametrize(
    ("n_right", "said"), [(1, "1 of 10 (10%) of the others. What"), (9, "the two overlap")]
)
def test_the_lesson_follows_the_numbers(n_right: int, said: str) -> None:
    outcomes = (
        Outcome("real", "FMA", 10, 10, known=True),
        Outcome("upsample320", "FMA", 10, 9, known=True),
        Outcome("griffin256", "FMA", 10, n_right, known=False),
    )
    lines = _lesson(outcomes)
    assert "finds 9 of 10 (90%) of the fakes" in lines[-1]
    assert said in lines[-1]
    assert len(lines) == 1 + 3 + 2
