"""Score and key files of ASVspoof 5, read as predictions and written from them.

Conventions: here, and here alone, polarity turns: their scores are high for bona fide, so a logit
is the negative of a score. Files are told by their first line::

    filename⇥cm-score       one line a file; further columns are passed over
    filename⇥cm-label       ``bonafide`` or ``spoof``

Keys without that line serve too, as the protocols of ASVspoof 5, 2021 and 2019 have them: words
apart by blanks, one of which is ``bonafide`` or ``spoof``, after the name of the attack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.errors import PredictionsError
from earwitness.core.files import write_text
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions
from earwitness.metrics.losses import logits

SCORE_COLUMNS = ("filename", "cm-score")
KEY_COLUMNS = ("filename", "cm-label")
_LABELS = {"bonafide": 0, "spoof": 1}
_WORDS = {target: word for word, target in _LABELS.items()}
_NO_ATTACK = ("-", "bonafide")


@dataclass(frozen=True)
class _Truth:
    """What a key says of a file."""

    target: int
    attack: str | None


def is_score_file(path: Path) -> bool:
    """Whether a file's first line is that of a score file."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline(1000).split()
    except (OSError, UnicodeError):
        return False
    return tuple(first[:2]) == SCORE_COLUMNS


def read_scores(
    scores: str | Path,
    key: str | Path,
    *,
    dataset: str | None = None,
    detector: str | None = None,
) -> Predictions:
    """Read a score file and the key that tells what is bona fide.

    Args:
        scores: The score file.
        key: The key file.
        dataset: Name of what was judged; by default what follows ``__`` in the score file's stem,
            else the key's stem.
        detector: Name of who judged; by default the score file's stem, up to ``__``.

    Returns:
        One row a file of the key, in its order: ``logit`` is the negative score, and 0 or more is
        called fake. There is no ``pred_prob``. A file without a score says so in ``error``.

    Raises:
        PredictionsError: A file cannot be read, a line is wrong or there twice, or a score is
            of a file that the key has not.
    """
    scores, key = Path(scores), Path(key)
    truths, found = _read_key(key), _read_scores(scores)
    strange = [name for name in found if name not in truths]
    if strange:
        raise PredictionsError(
            f"{scores}: {len(strange)} files that {key} has not ({strange[0]!r} first), expected "
            "scores of its files"
        )
    stem, _, rest = scores.stem.partition("__")
    dataset, detector = dataset or rest or key.stem, detector or stem
    missing = f"no score in {scores.name}"
    rows = [(name, *_row(truth, found.get(name), missing)) for name, truth in truths.items()]
    types = {
        "filepath": pl.String,
        "target": pl.Int8,
        "generator": pl.String,
        "logit": pl.Float64,
        "pred_label": pl.Int8,
        "error": pl.String,
    }
    frame = pl.DataFrame(rows, schema=types, orient="row")
    return Predictions(dataset, detector, _with_all_columns(frame, detector))


def write_scores(predictions: Predictions, scores: str | Path, key: str | Path) -> int:
    """Write a score file and its key, atomically.

    Args:
        predictions: Rows with paths; the logit's negative is the score, and where a row has none
            it follows from ``pred_prob``.
        scores: Where scores go.
        key: Where the key goes; it holds rows without a score as well.

    Returns:
        How many rows have no score and are in the key alone.

    Raises:
        PredictionsError: A path is missing, there twice, or holds a tab or a line end.
    """
    frame, where = predictions.frame, f"{predictions.detector} on {predictions.dataset}"
    names = frame["filepath"].to_list() if "filepath" in frame.columns else [None] * frame.height
    _check_names(where, names)
    values = _logits(frame)
    lines = [
        f"{name}\t{-value!r}"
        for name, value in zip(names, values, strict=True)
        if value is not None
    ]
    labels = [
        f"{name}\t{_WORDS[target]}"
        for name, target in zip(names, frame["target"].to_list(), strict=True)
    ]
    write_text(Path(scores), "\n".join(["\t".join(SCORE_COLUMNS), *lines, ""]))
    write_text(Path(key), "\n".join(["\t".join(KEY_COLUMNS), *labels, ""]))
    return len(names) - len(lines)


def _row(
    truth: _Truth, score: float | None, missing: str
) -> tuple[int, str | None, float | None, int | None, str | None]:
    if score is None:
        return truth.target, truth.attack, None, None, missing
    return truth.target, truth.attack, -score, int(-score >= 0), None


def _with_all_columns(frame: pl.DataFrame, detector: str) -> pl.DataFrame:
    texts = ("preprocessing", "precision", "windows", "abstained")
    empty = [pl.lit(None, dtype=pl.String).alias(name) for name in texts]
    return frame.with_columns(
        *empty,
        pl.lit(detector).alias("detector"),
        pl.lit(None, dtype=pl.Int64).alias("native_rate_hz"),
        pl.lit(None, dtype=pl.Boolean).alias("below_band"),
        pl.lit(None, dtype=pl.Float64).alias("pred_prob"),
    ).select("filepath", "target", "generator", *PREDICTION_COLUMNS)


def _logits(frame: pl.DataFrame) -> list[float | None]:
    def column(name: str) -> pl.Series:
        there = name in frame.columns
        return frame[name] if there else pl.Series([None] * frame.height, dtype=pl.Float64)

    prob, failed = column("pred_prob").cast(pl.Float64), frame["error"].is_not_null()
    from_prob = pl.Series(logits(prob.fill_null(0.5).to_numpy())).set(prob.is_null(), None)
    found = pl.select(
        pl.when(~failed).then(pl.coalesce(column("logit").cast(pl.Float64), from_prob))
    ).to_series()
    return found.to_list()


def _check_names(where: str, names: Sequence[str | None]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name:
            raise PredictionsError(f"{where}: a row without a filepath, expected one in every row")
        if any(mark in name for mark in "\t\r\n"):
            raise PredictionsError(f"{where}: {name!r}, expected no tab or line end in a filepath")
        if name in seen:
            raise PredictionsError(f"{where}: {name!r} is there twice, expected a file once")
        seen.add(name)


def _read_scores(path: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    lines = _lines(path)
    next(lines, None)
    for number, cells in lines:
        score = _number(cells[1]) if len(cells) > 1 else math.nan
        if not math.isfinite(score):
            shown = cells[1] if len(cells) > 1 else ""
            raise PredictionsError(f"{path}:{number}: cm-score {shown!r}, expected a number")
        _once(path, number, cells[0], found)
        found[cells[0]] = score
    return found


def _read_key(path: Path) -> dict[str, _Truth]:
    found: dict[str, _Truth] = {}
    headed = None
    for number, cells in _lines(path):
        if headed is None and tuple(cells[:2]) == KEY_COLUMNS:
            headed = True
            continue
        headed = headed or False
        name, truth = _labelled(path, number, cells if headed else _words(cells), headed=headed)
        _once(path, number, name, found)
        found[name] = truth
    if not found:
        raise PredictionsError(f"{path}: no files, expected lines of filename and cm-label")
    return found


def _labelled(path: Path, number: int, cells: Sequence[str], *, headed: bool) -> tuple[str, _Truth]:
    """Return a file and its truth: the last label of a line, the attack's name before it."""
    if headed:
        at = 1 if len(cells) > 1 and cells[1] in _LABELS else None
    else:
        at = next((i for i in range(len(cells) - 1, 0, -1) if cells[i] in _LABELS), None)
    if at is None:
        raise PredictionsError(f"{path}:{number}: no label, expected bonafide or spoof in a line")
    name = cells[0] if headed or len(cells) == 2 else cells[1]
    attack = cells[at - 1] if not headed and at > 2 else None
    known = attack if attack not in _NO_ATTACK and _LABELS[cells[at]] else None
    return name, _Truth(_LABELS[cells[at]], known)


def _words(cells: Sequence[str]) -> list[str]:
    return [word for cell in cells for word in cell.split()]


def _once(path: Path, number: int, name: str, found: dict[str, float] | dict[str, _Truth]) -> None:
    if name in found:
        raise PredictionsError(f"{path}:{number}: {name!r} again, expected each file once")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and cells of the lines that hold anything: apart by tabs, else by blanks."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeError:
        raise PredictionsError(f"{path}: is not text, expected a score or key file") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            cut = line.rstrip("\r").split("\t") if "\t" in line else line.split()
            yield number, [cell.strip() if i else cell for i, cell in enumerate(cut)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
