"""Score and key files of ASVspoof, read as predictions and written from them.

Conventions: here, and here alone, polarity turns: their scores are high for bona fide, so a logit
is the negative of a score. Score files have one line a file, in one of these forms::

    filename⇥cm-score                 ASVspoof 5, with this header; further columns are passed over
    utterance score                   no header, as SSL_Anti-spoofing and ASVspoof 2021 have
    utterance attack label score      no header, as AASIST and ASVspoof 2019 have

A key has the header ``filename⇥cm-label``, or none, as the protocols of ASVspoof 5, 2021 and 2019:
words apart by blanks, one of which is ``bonafide`` or ``spoof``, after the name of the attack. A
score file that holds the labels itself needs no key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from earwitness.core.errors import PredictionsError
from earwitness.core.io import write_text
from earwitness.core.predictions import PREDICTION_COLUMNS, Predictions
from earwitness.core.text_table import decode
from earwitness.metrics.sample import logits

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
    """Whether a file's first line is that of a score file, with a header or without."""
    if path.suffix.lower() == ".parquet":
        return False
    try:
        with path.open("rb") as file:
            text = decode(file.read(1 << 16))[2]
    except OSError:
        return False
    first = next((line.split() for line in text.lstrip("\ufeff").splitlines() if line.strip()), [])
    return _is_header(first, SCORE_COLUMNS) or _is_headerless(first)


def holds_labels(path: Path) -> bool:
    """Whether a score file says itself which files are bona fide."""
    return any(len(cells) > 2 and cells[-2] in _LABELS for _, cells in _score_lines(path)[:1])


def _is_headerless(cells: Sequence[str]) -> bool:
    if not (len(cells) == 2 or (len(cells) == 4 and cells[2] in _LABELS)):
        return False
    return math.isfinite(_number(cells[-1])) and not math.isfinite(_number(cells[0]))


def read_scores(
    scores: str | Path,
    key: str | Path | None = None,
    *,
    dataset: str | None = None,
    detector: str | None = None,
) -> Predictions:
    """Read a score file and the key that tells what is bona fide.

    Args:
        scores: The score file.
        key: The key file; a score file that holds the labels itself needs none.
        dataset: Name of what was judged; by default what follows ``__`` in the score file's stem,
            else the key's stem.
        detector: Name of who judged; by default the score file's stem, up to ``__``.

    Returns:
        One row a file of the key, in its order: ``logit`` is the negative score, and 0 or more is
        called fake. There is no ``pred_prob``. A file without a score says so in ``error``.

    Raises:
        PredictionsError: A file cannot be read, a line is wrong or there twice, a score is of a
            file that the key has not, or score file and key differ in a label.
    """
    scores, key = Path(scores), Path(scores if key is None else key)
    truths = _read_key(key)
    found = _read_scores(scores, truths)
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


def _score_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return number and cells of each line with a score, the score last."""
    lines = list(_lines(path))
    if lines and _is_header(lines[0][1], SCORE_COLUMNS):
        return [(number, cells[:2]) for number, cells in lines[1:]]
    return lines


def _is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    return [cell.casefold() for cell in cells[:2]] == list(columns)


def _read_scores(path: Path, truths: Mapping[str, _Truth]) -> dict[str, float]:
    found: dict[str, float] = {}
    lines = _score_lines(path)
    n_cells = len(lines[0][1]) if lines else 0
    for number, cells in lines:
        score = _number(cells[-1]) if len(cells) > 1 else math.nan
        if not math.isfinite(score):
            shown = cells[-1] if len(cells) > 1 else ""
            raise PredictionsError(f"{path}:{number}: cm-score {shown!r}, expected a number")
        if len(cells) != n_cells:
            raise PredictionsError(f"{path}:{number}: {len(cells)} fields, expected {n_cells}")
        name = next((c for c in cells[:-1] if c in truths), cells[0])
        _agree(path, number, cells[1:-1], truths.get(name))
        _once(path, number, name, found)
        found[name] = score
    return found


def _agree(path: Path, number: int, cells: Sequence[str], truth: _Truth | None) -> None:
    label = next((_LABELS[cell] for cell in cells if cell in _LABELS), None)
    if truth is not None and label is not None and label != truth.target:
        raise PredictionsError(
            f"{path}:{number}: {_WORDS[label]}, expected {_WORDS[truth.target]} as in the key"
        )


def _read_key(path: Path) -> dict[str, _Truth]:
    found: dict[str, _Truth] = {}
    headed = None
    for number, cells in _lines(path):
        if headed is None and _is_header(cells, KEY_COLUMNS):
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
    scored = not headed and at == len(cells) - 2 and math.isfinite(_number(cells[-1]))
    name = cells[0] if headed or len(cells) == 2 or scored else cells[1]
    attack = cells[at - 1] if scored or (not headed and at > 2) else None
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
        text = decode(path.read_bytes())[2].lstrip("\ufeff")
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read ({error.strerror or error})") from None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            cut = line.rstrip("\r").split("\t") if "\t" in line else line.split()
            yield number, [cell.strip() if i else cell for i, cell in enumerate(cut)]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
