from __future__ import annotations

from pathlib import Path

import pytest

from demo.conftest import SmallDemo
from earwitness.cli.bench import _lesson
from earwitness.core.errors import UsageError
from earwitness.demo.run import Outcome, Settings, prepare_demo, read_outcomes


def test_everything_is_below_one_folder(small_demo: SmallDemo) -> None:
    run, done = small_demo.out / "run", small_demo.done
    assert [line[:3] for line in small_demo.steps] == ["1/3", "2/3", "3/3"]
    table = (run / "final_ood_comparison.csv").read_text().splitlines()
    assert len(table) == 1 + 10
    charts = list((run / "confusion").iterdir())
    assert len(charts) == 20
    assert all(path.stat().st_size > 1000 for path in charts)
    assert len(done.predictions) == 10
    assert "errors" not in done.places()
    assert done.places()["report"].read_text().startswith("<!doctype html>")
    outcomes = read_outcomes(done)
    kinds = {(o.kind, o.source) for o in outcomes}
    assert ("real", "SONICS") in kinds
    assert ("griffin256", "FMA") in kinds
    assert ("demo_songmaker_a", "FakeMusicCaps") in kinds
    assert {o.kind for o in outcomes if o.known} == {"real", "upsample320", "upsample512"}


def test_somebodys_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("three years of work")
    with pytest.raises(UsageError, match="contains other files, expected an empty or a new"):
        prepare_demo(tmp_path, Settings(), on_step=print)
    with pytest.raises(UsageError, match="found a file, expected a folder"):
        prepare_demo(tmp_path / "run" / "thesis.txt", Settings(), on_step=print)
    assert (tmp_path / "run" / "thesis.txt").read_text() == "three years of work"


@pytest.mark.parametrize(
    ("n_right", "text"),
    [(1, "1 of 10 (10%) of the others. Performance"), (9, "the two rates overlap")],
)
def test_the_lesson_follows_the_numbers(n_right: int, text: str) -> None:
    outcomes = [
        Outcome("real", "FMA", 10, 10, known=True),
        Outcome("upsample320", "FMA", 10, 9, known=True),
        Outcome("griffin256", "FMA", 10, n_right, known=False),
    ]
    lines = _lesson(outcomes)
    assert "finds 9 of 10 (90%) of the fakes" in lines[-1]
    assert text in lines[-1]
    assert len(lines) == 1 + 3 + 2
