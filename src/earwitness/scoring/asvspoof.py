"""Read and write ASVspoof score and key files.

ASVspoof scores are high for bona fide, so a logit is a negated score. A score file is one of::

    filename⇥cm-score                 ASVspoof 5, with this header; further columns are ignored
    utterance score                   no header, as SSL_Anti-spoofing and ASVspoof 2021
    utterance attack label score      no header, as AASIST and ASVspoof 2019; needs no key

A key has the header ``filename⇥cm-label``, or none, as the protocols of ASVspoof 5, 2021 and 2019:
words separated by blanks, one of them ``bonafide`` or ``spoof``, after the name of the attack.
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
    target: int
    attack: str | None


def is_score_file(path: Path) -> bool:
    """Return whether a file's first line is that of a score file."""
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
    """Return whether a score file has labels."""
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
    """Read a score file and its key.

    Args:
        scores: The score file.
        key: The key file; not needed if the score file has labels.
        dataset: By default what follows ``__`` in the score file's stem, or the key's stem.
        detector: By default the score file's stem up to ``__``.

    Returns:
        One row per file of the key, in order: ``logit`` is the negated score, fake from 0 up, and
        ``pred_prob`` is null. A file without a score has an ``error``.

    Raises:
        PredictionsError: A file cannot be read, has an invalid or repeated line, scores a file that
            is not in the key, or contradicts the key.
    """
    scores, key = Path(scores), Path(scores if key is None else key)
    truths = _read_key(key)
    found = _read_scores(scores, truths)
    strange = [name for name in found if name not in truths]
    if strange:
        raise PredictionsError(
            f"{scores}: {len(strange)} files are not in {key} ({strange[0]!r} first), expected "
            "scores of its files"
        )
    stem, _, rest = scores.stem.partition("__")
    dataset, detector = dataset or rest or key.stem, detector or stem
    texts = ("preprocessing", "precision", "windows", "abstained")
    empty: dict[str, type[pl.DataType]] = dict.fromkeys(texts, pl.String)
    empty |= {"native_rate_hz": pl.Int64, "below_band": pl.Boolean, "pred_prob": pl.Float64}
    logit, missing = pl.col("logit"), pl.lit(f"no score in {scores.name}")
    frame = pl.DataFrame(
        [(name, truth.target, truth.attack, found.get(name)) for name, truth in truths.items()],
        {"filepath": pl.String, "target": pl.Int8, "generator": pl.String, "logit": pl.Float64},
        orient="row",
    ).with_columns(-logit)
    frame = frame.with_columns(
        *(pl.lit(None, dtype).alias(name) for name, dtype in empty.items()),
        detector=pl.lit(detector),
        pred_label=(logit >= 0).cast(pl.Int8),
        error=pl.when(logit.is_null()).then(missing),
    )
    columns = ("filepath", "target", "generator", *PREDICTION_COLUMNS)
    return Predictions(dataset, detector, frame.select(columns))


def write_scores(predictions: Predictions, scores: str | Path, key: str | Path) -> int:
    """Write a score file and its key, atomically; return the number of rows in the key only.

    These have no score. The score is the negated logit, computed from ``pred_prob`` if missing. A
    path that is missing or repeated, or has a tab or line end, raises a ``PredictionsError``.
    """
    frame, where = predictions.frame, f"{predictions.detector} on {predictions.dataset}"
    names = frame["filepath"].to_list() if "filepath" in frame.columns else [None] * frame.height
    _check_names(where, names)
    scored = zip(names, _logits(frame), strict=True)
    lines = [f"{name}\t{-value!r}" for name, value in scored if value is not None]
    targets = zip(names, frame["target"].to_list(), strict=True)
    labels = [f"{name}\t{_WORDS[target]}" for name, target in targets]
    write_text(Path(scores), "\n".join(["\t".join(SCORE_COLUMNS), *lines, ""]))
    write_text(Path(key), "\n".join(["\t".join(KEY_COLUMNS), *labels, ""]))
    return len(names) - len(lines)


def _logits(frame: pl.DataFrame) -> list[float | None]:
    """Return the logit of each row, computed from ``pred_prob`` if missing."""
    empty = pl.Series([None] * frame.height, dtype=pl.Float64)
    columns = (frame[name] if name in frame.columns else empty for name in ("logit", "pred_prob"))
    logit, prob = (column.cast(pl.Float64) for column in columns)
    from_prob = pl.Series(logits(prob.fill_null(0.5).to_numpy())).set(prob.is_null(), None)
    found = pl.coalesce(logit, from_prob)
    return pl.select(pl.when(frame["error"].is_null()).then(found)).to_series().to_list()


def _check_names(where: str, names: Sequence[str | None]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name:
            raise PredictionsError(f"{where}: a row without a filepath, expected one in every row")
        if any(mark in name for mark in "\t\r\n"):
            raise PredictionsError(f"{where}: {name!r}, expected no tab or line end in a filepath")
        if name in seen:
            raise PredictionsError(f"{where}: {name!r} twice, expected each file once")
        seen.add(name)


def _score_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Return the number and cells of each line with a score, the score last."""
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
    lines = list(_lines(path))
    headed = bool(lines) and _is_header(lines[0][1], KEY_COLUMNS)
    for number, cells in lines[headed:]:
        words = cells if headed else " ".join(cells).split()
        name, truth = _labelled(path, number, words, headed=headed)
        _once(path, number, name, found)
        found[name] = truth
    if not found:
        raise PredictionsError(f"{path}: no files, expected lines of filename and cm-label")
    return found


def _labelled(path: Path, number: int, cells: Sequence[str], *, headed: bool) -> tuple[str, _Truth]:
    """Return a file and its truth: the last label of a line, after the name of the attack."""
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


def _once(path: Path, number: int, name: str, found: dict[str, float] | dict[str, _Truth]) -> None:
    if name in found:
        raise PredictionsError(f"{path}:{number}: {name!r} again, expected each file once")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and cells of non-empty lines, split at tabs, otherwise at blanks."""
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
