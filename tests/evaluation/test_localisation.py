from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earwitness.core.errors import PredictionsError
from earwitness.core.predictions import WINDOW_COLUMNS, Predictions
from earwitness.core.segments import Segment, format_segments
from earwitness.evaluation.evaluate import evaluate
from earwitness.evaluation.timeline import Localisation
from earwitness.metrics.measures import measure
from earwitness.report.page import write_report
from earwitness.scoring.prediction_files import windows_path, write_predictions

FEW = 100
Window = tuple[float, float, float | None]
"""Start, duration and logit."""


def fake(start_s: float, end_s: float, part: str | None = None) -> Segment:
    return Segment(start_s=start_s, end_s=end_s, label=1, part=part)


def real(start_s: float, end_s: float, part: str | None = None) -> Segment:
    return Segment(start_s=start_s, end_s=end_s, label=0, part=part)


def seconds(*logits: float | None) -> list[Window]:
    """Windows of a second, one after the other."""
    return [(float(at), 1.0, logit) for at, logit in enumerate(logits)]


def predicted(*files: tuple[Sequence[Segment], Sequence[Window]]) -> Predictions:
    """Predictions of files, fake where a segment is, with their windows."""
    rows, windows = [], []
    for number, (segments, own) in enumerate(files):
        path = f"{number}.wav"
        target = int(any(segment.label for segment in segments))
        given = [logit for *_, logit in own if logit is not None]
        logit = float(np.mean(given)) if given else None
        text = format_segments(segments) if segments else None
        label = None if logit is None else int(logit >= 0)
        reason = "silent" if logit is None else None
        rows.append((path, target, f"g{number}", text, logit, label, reason, None))
        windows += [(path, at, *w[:2], w[2], None, None) for at, w in enumerate(own, 1)]
    columns = {
        "filepath": pl.String, "target": pl.Int8, "group_id": pl.String, "segments": pl.String,
        "logit": pl.Float64, "pred_label": pl.Int8, "abstained": pl.String, "error": pl.String,
    }  # fmt: skip
    types = [pl.String, pl.Int64, *[pl.Float64] * 4, pl.String]
    schema = dict(zip(WINDOW_COLUMNS, types, strict=True))
    return Predictions(
        "spliced",
        "cnn",
        pl.DataFrame(rows, columns, orient="row"),
        pl.DataFrame(windows, schema, orient="row"),
    )


def localised(*files: tuple[Sequence[Segment], Sequence[Window]]) -> list[Localisation]:
    return evaluate([predicted(*files)], n_resamples=FEW).localisation


SPLICED = [real(0, 4), fake(4, 7), real(7, 10)]
SCORED = seconds(-2, -1, -2, -3, 2, 1, -1, -2, 3, -2)


def test_a_spliced_file_has_the_values_of_the_formulas() -> None:
    (found,) = localised((SPLICED, SCORED))
    assert (found.part, found.n_items, found.labelled_s, found.scored_s) == ("mix", 1, 10, 10)
    whole, quarter, half, second = found.tolerances
    # 4 to 6 s found, 6 to 7 s missed, 8 to 9 s falsely called
    assert whole.f1.value == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert whole.iou.value == pytest.approx(2 / (2 + 1 + 1))
    # 0.25 s before and after 4 and 7 s are left out
    assert quarter.f1.value == pytest.approx(2 * 1.75 / (2 * 1.75 + 1 + 0.75))
    assert half.f1.value == pytest.approx(2 * 1.5 / (2 * 1.5 + 1 + 0.5))
    assert second.iou.value == pytest.approx(1 / (1 + 1 + 0))
    truth = [0, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    logits = [logit for *_, logit in SCORED]
    for name, points, ranges in (
        ("auroc", found.point_auroc, found.range_auroc),
        ("eer", found.point_eer, found.range_eer),
    ):
        assert points.value == pytest.approx(measure(name, truth, np.array(logits, float)))
        assert ranges.value == pytest.approx(points.value)  # windows of one length


def test_ranges_weigh_time_and_points_do_not() -> None:
    windows = [(0.0, 8.0, -1.0), (8.0, 1.0, 1.0), (9.0, 1.0, 2.0), (10.0, 2.0, -2.0)]
    (found,) = localised(([real(0, 9), fake(9, 12)], windows))
    # pairs of fake and real windows: 2 above both; -2 below both
    assert found.point_auroc.value == pytest.approx(2 / 4)
    # 1 of 3 fake seconds is above all 9 real ones, 2 are below
    assert found.range_auroc.value == pytest.approx(1 / 3)
    # rates of the two errors: 1/9 and 2/3 at 1, 9/9 and 2/3 at -1, which are nearer
    assert found.range_eer.value == pytest.approx((9 / 9 + 2 / 3) / 2)


def test_a_window_over_a_change_has_the_label_of_most_of_it() -> None:
    windows = [(0.0, 4.0, -1.0), (4.0, 4.0, 0.5), (8.0, 4.0, 1.0)]
    (found,) = localised(([real(0, 6), fake(6, 12)], windows))
    assert found.point_auroc.value == 1  # the middle window is half fake, so fake
    assert found.tolerances[0].f1.value == pytest.approx(2 * 6 / (2 * 6 + 2 + 0))


def test_overlapping_windows_are_averaged_and_gaps_left_out() -> None:
    windows = [(0.0, 4.0, -1.0), (2.0, 4.0, 3.0), (6.0, 1.0, None), (8.0, 2.0, -1.0)]
    (found,) = localised(([real(0, 2), fake(2, 10)], windows))
    assert (found.labelled_s, found.scored_s) == (10, 8)
    (timeline,) = found.worst
    assert [(p.start_s, p.end_s, p.logit) for p in timeline.scores] == [
        (0, 2, -1), (2, 4, 1), (4, 6, 3), (8, 10, -1),
    ]  # fmt: skip
    assert [(p.start_s, p.end_s, p.label) for p in timeline.truth] == [(0, 2, 0), (2, 10, 1)]
    assert timeline.wrong == pytest.approx(2 / 8)
    assert found.tolerances[0].f1.value == pytest.approx(2 * 4 / (2 * 4 + 2))


def test_files_without_segments_have_their_own_label() -> None:
    (found,) = localised((SPLICED, SCORED), ([], seconds(-1, 1, 1)))
    assert found.n_items == 2
    assert found.tolerances[0].iou.value == pytest.approx(2 / (2 + 1 + 1 + 2))


def test_stems_are_localised_apart_and_the_mix_is_fake_where_any_is() -> None:
    segments = [
        fake(0, 4, "vocals"), real(4, 10, "vocals"), real(0, 6, "accompaniment"),
        fake(6, 10, "accompaniment"),
    ]  # fmt: skip
    scores = seconds(*[1] * 4, *[-1] * 6)
    found = {one.part: one for one in localised((segments, scores), (SPLICED, SCORED))}
    assert list(found) == ["mix", "accompaniment", "vocals"]
    assert {part: one.n_items for part, one in found.items()} == {
        "mix": 2, "accompaniment": 1, "vocals": 1,
    }  # fmt: skip
    assert found["vocals"].tolerances[0].f1.value == 1
    assert found["accompaniment"].tolerances[0].f1.value == 0
    mix = found["mix"].tolerances[0].f1.value
    assert mix == pytest.approx(2 * (4 + 2) / (2 * (4 + 2) + 1 + (4 + 1)))


def test_intervals_are_over_groups_and_a_threshold_given_applies() -> None:
    rng = np.random.default_rng(0)
    files = [
        (SPLICED, seconds(*(float(x) for x in rng.normal([0] * 4 + [2] * 3 + [0] * 3))))
        for _ in range(12)
    ]
    (found,) = localised(*files)
    for one in (found.range_auroc, found.range_eer, found.point_auroc, found.tolerances[0].iou):
        assert one.low is not None
        assert one.high is not None
        assert one.value is not None
        assert one.low < one.value < one.high
        assert (one.n_items, one.n_groups) == (12, 12)
    whole = predicted(*files)
    prob = 1 / (1 + (-pl.col("logit")).exp())
    whole = Predictions("spliced", "cnn", whole.frame.with_columns(pred_prob=prob), whole.windows)
    (strict,) = evaluate([whole], threshold=0.99, n_resamples=FEW).localisation
    assert strict.threshold == pytest.approx(np.log(99))
    assert (strict.tolerances[0].f1.value or 0) < (found.tolerances[0].f1.value or 0)


def test_windows_are_read_beside_the_file_and_the_report_draws_them(tmp_path: Path) -> None:
    whole = predicted((SPLICED, SCORED), ([], seconds(-1, 1, -1)))
    file = tmp_path / "preds" / "spliced" / "cnn.csv"
    file.parent.mkdir(parents=True)
    write_predictions(whole.frame, file)
    without = evaluate([file], n_resamples=FEW)
    assert without.localisation == []
    assert any("2 of 2 items have no window scores" in note for note in without.notes)
    assert whole.windows is not None
    write_predictions(whole.windows, windows_path(file))
    metrics = evaluate([file], n_resamples=FEW)
    assert metrics.localisation == evaluate([whole], n_resamples=FEW).localisation
    write_report(metrics, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Where in the file" in page
    assert "0.wav over 10 s, of which 3 s are fake" in page
    windows_path(file).write_text("filepath,start_s\n")
    with pytest.raises(PredictionsError, match=r"cnn_windows\.csv: .*expected window scores"):
        evaluate([file], n_resamples=FEW)


def test_segments_may_be_a_column_to_slice_by_too() -> None:
    whole = predicted((SPLICED, SCORED), ([], seconds(-1)))
    metrics = evaluate([whole], by=["segments"], n_resamples=FEW)
    assert metrics.localisation == evaluate([whole], n_resamples=FEW).localisation
    assert len(metrics.where(kind="column")) == 2


def test_other_columns_named_segments_stop_nothing() -> None:
    whole = predicted((SPLICED, SCORED), ([], seconds(-1)))
    foreign = whole.frame.with_columns(segments=pl.lit("verse,chorus"))
    metrics = evaluate([Predictions("spliced", "cnn", foreign, whole.windows)], n_resamples=FEW)
    assert metrics.localisation == []
    assert any(note.startswith("Not localised: segments 'verse,chorus'") for note in metrics.notes)
