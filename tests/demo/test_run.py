from __future__ import annotations

from pathlib import Path

import pytest

from demo.conftest import SmallDemo
from earwitness.cli.bench import _lesson
from earwitness.core.errors import UsageError
from earwitness.demo.outcomes import Flagged, Outcome, read_flagged, read_outcomes
from earwitness.demo.run import OTHERS, SHIPPED, Settings, prepare_demo


def test_everything_is_below_one_folder(small_demo: SmallDemo) -> None:
    run, done = small_demo.out / "run", small_demo.done
    assert [line[:3] for line in small_demo.steps] == ["1/3", "2/3", "3/3"]
    table = (run / "final_ood_comparison.csv").read_text().splitlines()
    assert len(table) == 1 + 10 * 3
    charts = list((run / "confusion").iterdir())
    assert len(charts) == 20 * 3
    assert all(path.stat().st_size > 1000 for path in charts)
    assert len(done.predictions) == 10 * 3
    assert "errors" not in done.places()
    assert done.places()["report"].read_text().startswith("<!doctype html>")
    assert [each.detector for each in read_flagged(done)] == list(SHIPPED)
    outcomes = read_outcomes(done)
    kinds = {(o.kind, o.source) for o in outcomes}
    assert ("real", "SONICS") in kinds
    assert ("griffin256", "FMA") in kinds
    assert ("demo_songmaker_a", "FakeMusicCaps") in kinds
    assert {o.kind for o in outcomes if o.known} == {"real", "upsample320", "upsample512"}


def test_detectors_without_weights_are_left_out_and_named(small_demo: SmallDemo) -> None:
    assert small_demo.steps[-1].endswith(
        f"with fakeprint-demo, comb, box; left out without weights: {', '.join(OTHERS)}"
    )


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
    lines = _lesson("mine", outcomes, [Flagged("comb", 4, 20, 1, 10)])
    assert lines.pop() == "Not trained here: comb flags 4 of 20 fakes and 1 of 10 reals."
    assert "mine finds 9 of 10 (90%) of the fakes" in lines[-1]
    assert text in lines[-1]
    assert len(lines) == 1 + 3 + 2
