"""Prediction files: CSV or Parquet by suffix, ours and the two published forms.

A table of Parquet is a file, or a folder ``name.parquet`` of parts.

Scores rise with fakeness, from 0 to 1; targets and labels are 0 (real) and 1 (fake); an empty cell
is no score, never 0.

===========  =======================  ====================================================
form         the truth                the decision
===========  =======================  ====================================================
ours         ``target``               ``pred_prob``, ``pred_label``, ``abstained``, ``error``
Deezer's     ``target``               ``pred_prob``, ``pred_label``
SONICS'      ``target`` or ``y_true`` ``y_pred``, the score of fake
===========  =======================  ====================================================
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from earwitness.core.errors import PredictionsError
from earwitness.core.io import atomic_write, files_below, read_parquet, replaced_folder
from earwitness.core.manifest import KNOWN_COLUMNS, NAME_COLUMNS, PUBLISHED_COLUMNS
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions, encoder_columns
from earwitness.core.text_table import (
    clean_names,
    labels,
    listed,
    numbers,
    read_columns,
    read_table,
    without_missing,
)

DEFAULT_THRESHOLD = 0.5
"""Scores from here up are called fake where a file has no labels of its own."""

UNSCORED = "no score in the file"
"""The error given to rows that have neither a score nor an error."""

_TARGETS = ("target", "y_true")
_PROBS = ("pred_prob", "y_pred")
_EXPECTED = "target or y_true, and pred_label, pred_prob or y_pred, among them"
_NUMBERS = ("skip_time", "duration_s", "pred_prob_real")
_KNOWN = {*PUBLISHED_COLUMNS, *KNOWN_COLUMNS, *PREDICTION_COLUMNS, *_TARGETS, *_PROBS, *_NUMBERS}


def read_predictions(
    path: str | Path, *, dataset: str | None = None, detector: str | None = None
) -> list[Predictions]:
    """Read a prediction file and check every row.

    Args:
        path: CSV, or Parquet by suffix.
        dataset: Name of the dataset; by default from the path: the folder in
            ``preds/<dataset>/<detector>.csv`` and ``<dataset>/<detector>/test_predictions.csv``,
            the part after ``__`` in ``<detector>__<dataset>.csv``, otherwise the file's stem.
        detector: Name of the detector; by default from the column ``detector`` or the path.

    Returns:
        One ``Predictions`` per detector, in the order of their first rows. A file without labels
        gets them at 0.5. A row without a score has no label either, and a reason in ``error`` or
        ``abstained``.

    Raises:
        PredictionsError: The file cannot be read, lacks columns, is empty, has several detectors
            for one given name, ranks rows differently by ``logit`` and ``pred_prob``, or has
            invalid rows: the first is shown with its line, the others are counted.
    """
    path = Path(path)
    frame, notes = _checked(path)
    of_path = _names_of(path)
    frame = frame.with_columns(pl.col("detector").fill_null(of_path[1]))
    parts = frame.partition_by("detector", maintain_order=True)
    if detector is not None and len(parts) > 1:
        found = ", ".join(part["detector"][0] for part in parts)
        raise PredictionsError(f"{path}: detectors {found}; expected one, for one name given")
    if detector is not None:
        parts = [frame.with_columns(pl.lit(detector).alias("detector"))]
    return [_predictions(path, dataset or of_path[0], part, notes) for part in parts]


def _predictions(path: Path, dataset: str, rows: pl.DataFrame, notes: list[str]) -> Predictions:
    if (problem := _find_contradiction(rows)) is not None:
        raise PredictionsError(f"{path}: {problem}")
    found = [*notes, _describe_strange_labels(rows)]
    prefixed = tuple(f"{path}: {note}" for note in found if note)
    return Predictions(dataset, rows["detector"][0], rows, notes=prefixed)


def write_predictions(frame: pl.DataFrame, path: str | Path) -> None:
    """Write predictions atomically, as CSV or Parquet; a float that is not finite is empty."""
    path = Path(path)
    if path.suffix.lower() != ".parquet":
        write_parts([frame], path)
        return
    with atomic_write(path) as temporary:
        _finite(frame).write_parquet(temporary)


def write_parts(frames: Iterable[pl.DataFrame], path: Path) -> None:
    """Write one or more frames of predictions as they come: a CSV, or a folder of Parquet parts.

    It replaces what is there once it is complete.
    """
    if path.suffix.lower() == ".parquet":
        with replaced_folder(path) as folder:
            for number, frame in enumerate(frames):
                _finite(frame).write_parquet(folder / f"part-{number:05d}.parquet")
        return
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        for number, frame in enumerate(frames):
            _finite(frame).write_csv(file, include_header=number == 0)


def _finite(frame: pl.DataFrame) -> pl.DataFrame:
    floats = pl.selectors.float()
    return frame.with_columns(pl.when(floats.is_finite()).then(floats))


def remove_table(path: Path) -> None:
    """Remove a file, or a folder of parts, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def windows_path(path: Path) -> Path:
    """Return the path of the window scores of a prediction file."""
    suffix = ".parquet" if path.is_dir() else ".csv"
    return path.with_name(f"{path.stem}_windows{suffix}")


def read_windows(path: Path) -> pl.DataFrame | None:
    """Return the window scores of a prediction file; ``None`` if they were not kept.

    ``PredictionsError`` if the file is malformed.
    """
    file = windows_path(path)
    if not file.exists():
        return None
    types = dict.fromkeys(("start_s", "duration_s", "logit"), pl.Float64)
    try:
        if file.is_dir():
            table = read_parquet(file, error=PredictionsError)
            return table.select("filepath", *(pl.col(n).cast(t) for n, t in types.items()))
        return pl.read_csv(file, schema_overrides={**types, "filepath": pl.String}).select(
            "filepath", *types
        )
    except pl.exceptions.PolarsError as error:
        raise PredictionsError(
            f"{file}: {str(error).splitlines()[0]}, expected window scores"
        ) from None


def find_predictions(folder: str | Path) -> list[Path]:
    """Return the prediction files below a folder, recognized by their columns, sorted.

    Empty files are included, so that reading them is an error; finding none is an error, too.
    """
    files = (p for p in _tables_below(Path(folder)) if not p.name.startswith("."))
    found = sorted(p for p in files if _looks_right(p))
    if not found:
        raise PredictionsError(f"{folder}: no prediction file, expected CSVs with {_EXPECTED}")
    return found


def _tables_below(folder: Path) -> Iterator[Path]:
    """Yield tables; a folder ``name.parquet`` of parts is one, a hidden folder has none."""
    for path in files_below(folder):
        if path.parent != folder and path.parent.name.startswith("."):
            continue  # of a process that was killed
        if path.suffix.lower() == ".parquet" and path.parent.suffix.lower() == ".parquet":
            if path == min(path.parent.glob("*.parquet")):
                yield path.parent
        elif path.suffix.lower() in (".csv", ".tsv", ".parquet"):
            yield path


def _looks_right(path: Path) -> bool:
    names = read_columns(min(path.glob("*.parquet")) if path.is_dir() else path, _KNOWN)
    return names is not None and (not names or _has_columns(names))


def _has_columns(names: list[str]) -> bool:
    return any(n in names for n in _TARGETS) and any(n in names for n in ("pred_label", *_PROBS))


def _read_text(path: Path) -> tuple[_Checker, list[str]]:
    """Return every column as text under our names, and notes on columns of one meaning."""
    table = read_table(path, error=PredictionsError, known=_KNOWN)
    frame, names = table.frame, table.frame.columns
    if not _has_columns(names):
        raise PredictionsError(f"{path}: columns {listed(names)}; expected {_EXPECTED}")
    if frame.height == 0:
        raise PredictionsError(f"{path}: no rows, expected at least one item")
    notes: list[str] = []
    headings: dict[str, str] = {}
    for synonyms, read in ((_TARGETS, labels), (_PROBS, numbers)):
        found = [name for name in synonyms if name in names]
        if found:
            headings[synonyms[0]] = found[0]
        if len(found) < 2:
            continue
        taken, other = (read(without_missing(frame[name])) for name in found)
        if n_differ := (~taken.eq_missing(other)).sum():
            notes.append(
                f"{found[0]} and {found[1]} differ in {n_differ} of {frame.height} rows; "
                f"{found[0]} counts, {found[1]} is passed over"
            )
    frame = frame.rename({name: ours for ours, name in headings.items()})
    return _Checker(frame, table.lines, headings), notes


@dataclass
class _Checker:
    """Converts text columns and collects problems."""

    frame: pl.DataFrame  # text under our names
    lines: Sequence[int]  # of each row in the file
    headings: dict[str, str]  # our names → names in the file
    problems: list[tuple[int, str]] = field(default_factory=list)  # line and description

    def text(self, name: str) -> pl.Series:
        """Return a column without outer blanks; missing cells and columns are null."""
        if name not in self.frame.columns:
            return pl.Series(name, [None] * self.frame.height, dtype=pl.String)
        return without_missing(self.frame[name])

    def zero_one(self, name: str, *, needed: bool = False) -> pl.Series:
        """Return a column of 0, 1 and, unless it is needed, null."""
        text = self.text(name)
        values = labels(text)
        wrong = values.is_null() if needed else values.is_null() & text.is_not_null()
        self.report(wrong, name, "expected 0 (real) or 1 (fake)")
        return values

    def true_false(self, name: str) -> pl.Series:
        """Return a column of true, false and null."""
        text = self.text(name)
        lower, known = text.str.to_lowercase(), {"true": True, "false": False}
        values = lower.replace_strict(known, default=None, return_dtype=pl.Boolean)
        self.report(values.is_null() & text.is_not_null(), name, "expected true or false")
        return values

    def number(self, name: str, bounds: tuple[float, float] | None = None) -> pl.Series:
        """Return a column of finite numbers within bounds, and null."""
        text = self.text(name)
        values = numbers(text)
        good = values.is_finite() & (values.is_between(*bounds) if bounds else True)
        wanted = " from {:g} to {:g}".format(*bounds) if bounds else ""
        wrong = text.is_not_null() & ~good.fill_null(value=False)
        self.report(wrong, name, f"expected a number{wanted}")
        return values

    def report(self, wrong: pl.Series, name: str, expected: str) -> None:
        """Add a problem for every row where ``wrong`` is true."""
        for row in wrong.arg_true():
            value = self.frame[name][row] or ""
            heading = self.headings.get(name, name)
            self.problems.append((self.lines[row], f"{heading} {value!r}, {expected}"))

    def finish(self, path: Path) -> None:
        """Raise the first problem, if any, with the number of others."""
        if not self.problems:
            return
        line, problem = min(self.problems)
        others = f" (and {len(self.problems) - 1} more problems)" if self.problems[1:] else ""
        raise PredictionsError(f"{path}:{line}: {problem}{others}")


def _checked(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Return the typed columns of ``Predictions.frame``, ``detector`` possibly null, and notes."""
    table, notes = _read_text(path)
    names = table.frame.columns
    target = table.zero_one("target", needed=True)
    prob, label = table.number("pred_prob", (0, 1)), table.zero_one("pred_label")
    _check_pairs(table, prob, label)
    if "detector" in names:
        table.report(table.text("detector").is_null(), "detector", "expected a name")
    encoders = [
        name
        for name in encoder_columns(names)
        if (text := table.text(name)).count() == 0 or numbers(text).count() > 0
    ]
    optional = [
        name
        for name in _NUMBERS
        if name in names and numbers(text := table.text(name)).is_finite().sum() == text.count()
    ]
    values = [table.number(name) for name in ("logit", *optional, *encoders)]
    rate = table.number("native_rate_hz").cast(pl.Int64, strict=False)
    below_band = table.true_false("below_band")
    words = ("detector", "preprocessing", "precision", "windows", "abstained", "error")
    texts = [table.text(name) for name in words]
    both = table.text("abstained").is_not_null() & table.text("error").is_not_null()
    if both.any():
        table.report(both, "abstained", "expected nothing beside an error")
    table.finish(path)
    if "pred_label" not in names:
        label = (prob >= DEFAULT_THRESHOLD).cast(pl.Int8).alias("pred_label")
    kinds = [clean_names(table.frame[name]) for name in NAME_COLUMNS if name in names]
    added = (target, *values, rate, below_band, prob, label, *texts, *kinds)
    return _arranged(table.frame.with_columns(added), encoders), notes


def _arranged(frame: pl.DataFrame, encoders: list[str]) -> pl.DataFrame:
    """Order the columns; rows without a label get a reason, rows with a reason no score."""
    others = [c for c in frame.columns if c not in (*PREDICTION_COLUMNS, *encoders)]
    silent = pl.col("pred_label", "abstained")
    unscored = pl.when(pl.all_horizontal(silent.is_null())).then(pl.lit(UNSCORED))
    frame = frame.with_columns(error=pl.coalesce("error", unscored))
    scores = pl.col("logit", "pred_prob", "pred_label", *encoders)
    reasons = pl.col("abstained", "error")
    return frame.select(*others, *PREDICTION_COLUMNS, *encoders).with_columns(
        pl.when(pl.all_horizontal(reasons.is_null())).then(scores)
    )


def _check_pairs(table: _Checker, prob: pl.Series, label: pl.Series) -> None:
    """Report rows with a score but no label, or the reverse."""
    if not {"pred_prob", "pred_label"} <= set(table.frame.columns):
        return
    table.report(prob.is_null() & label.is_not_null(), "pred_prob", "expected one beside the label")
    table.report(
        label.is_null() & prob.is_not_null(), "pred_label", "expected one beside the score"
    )


def _names_of(path: Path) -> tuple[str, str]:
    """Return the names of dataset and detector in the path of a prediction file."""
    folder, stem = path.absolute().parent, path.stem
    in_run = folder.parent.name == "preds"
    if stem == "test_predictions":
        return (folder if in_run else folder.parent).name, folder.name.replace("__", "/")
    if in_run:
        return folder.name, stem.replace("__", "/")
    detector, _, dataset = stem.partition("__")
    return dataset or stem, detector or stem


def _find_contradiction(frame: pl.DataFrame) -> str | None:
    """Return a description of rows that ``logit`` and ``pred_prob`` rank differently."""
    both = _scored(frame).filter(pl.all_horizontal(pl.col("logit", "pred_prob").is_not_null()))
    if both.height < 2:
        return None
    ranked = both.sort("logit", "pred_prob")
    logit, prob = (ranked[name].to_numpy() for name in ("logit", "pred_prob"))
    highest = np.maximum.accumulate(prob)
    n_lower = np.searchsorted(logit, logit, side="left")
    before = np.where(n_lower > 0, highest[n_lower - 1], -np.inf)
    worst = int(np.argmax(before - prob))
    if before[worst] - prob[worst] <= 1e-3:  # rounding, not another ranking
        return None
    other = int(np.argmax(prob[: n_lower[worst]]))
    shown = " and ".join(
        f"{_item(ranked, row)} has logit {logit[row]:.4g} and pred_prob {prob[row]:.4g}"
        for row in (other, worst)
    )
    return (
        f"logit and pred_prob contradict each other: {shown}; expected both to rise with "
        "fakeness, or one of the columns alone"
    )


def _describe_strange_labels(frame: pl.DataFrame) -> str | None:
    """Return a note if ``pred_label`` is not a threshold of the score."""
    rows = _scored(frame)
    name = "pred_prob" if rows["pred_prob"].count() == rows.height else "logit"
    rows = rows.filter(pl.all_horizontal(pl.col(name, "pred_label").is_not_null()))
    real, fake = (rows.filter(pl.col("pred_label") == label).sort(name) for label in (0, 1))
    if not (real.height and fake.height) or real[name][-1] <= fake[name][0]:
        return None
    return (
        f"pred_label is no threshold of {name}: {_item(fake, 0)} at {fake[name][0]:.4g} is called "
        f"fake, {_item(real, -1)} at {real[name][-1]:.4g} real; decisions are those of pred_label, "
        "ranking is by the score"
    )


def _scored(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.all_horizontal(pl.col("abstained", "error").is_null()))


def _item(rows: pl.DataFrame, row: int) -> str:
    path = rows["filepath"][row] if "filepath" in rows.columns else None
    return repr(path) if path else "one row"
