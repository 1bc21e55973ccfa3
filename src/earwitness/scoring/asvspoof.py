"""Read and write ASVspoof score and key files.

ASVspoof scores are high for bona fide, so a logit is a negated score. A score file is one of::

    filename⇥cm-score                 ASVspoof 5, with this header; further columns are ignored
    utterance score                   no header, as SSL_Anti-spoofing and ASVspoof 2021
    utterance attack label score      no header, as AASIST and ASVspoof 2019; needs no key

A key has the header ``filename⇥cm-label``, or none, as the protocols of ASVspoof 5, 2021 and 2019:
words separated by blanks, one of them ``bonafide`` or ``spoof``, after the name of the attack. It
may also be a CSV of files and labels, such as a manifest.
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
from earwitness.core.spectrogram import parse_target
from earwitness.core.text_table import decode, read_columns, read_table
from earwitness.metrics.sample import logits

SCORE_COLUMNS = ("filename", "cm-score")
KEY_COLUMNS = ("filename", "cm-label")
_FILE_COLUMNS = ("filepath", "file_name", "filename", "file", "path")
_LABEL_COLUMNS = ("target", "label", "cm-label")
_LABELS = {"bonafide": 0, "spoof": 1}
_WORDS = {target: word for word, target in _LABELS.items()}
_NO_ATTACK = ("-", "bonafide")


@dataclass(frozen=True)
class Truth:
    """Class of a file, and its attack or generator if known."""

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
    truths = read_key(key)
    found = _read_scores(scores, truths)
    strange = [name for name in found if name not in truths]
    if strange:
        raise PredictionsError(
            f"{scores}: {len(strange)} files are not in {key} ({strange[0]!r} first), expected "
            "scores of its files"
        )
    stem, _, rest = scores.stem.partition("__")
    dataset, detector = dataset or rest or key.stem, detector or stem
    logits = {name: -score for name, score in found.items()}
    return make_predictions(dataset, detector, truths, logits, missing=f"no score in {scores.name}")


def make_predictions(
    dataset: str,
    detector: str,
    truths: Mapping[str, Truth],
    logits: Mapping[str, float],
    *,
    missing: str,
    probs: Mapping[str, float] | None = None,
) -> Predictions:
    """Return predictions of another tool.

    Args:
        dataset: Name of the dataset.
        detector: Name of the detector.
        truths: Class of each file, in the order of the rows.
        logits: Logit of each scored file; it is called fake from 0 up.
        missing: Error of files without one.
        probs: ``pred_prob`` of each scored file, if the tool gives probabilities.
    """
    texts = ("preprocessing", "precision", "windows", "abstained")
    empty: dict[str, type[pl.DataType]] = dict.fromkeys(texts, pl.String)
    empty |= {"native_rate_hz": pl.Int64, "below_band": pl.Boolean}
    rows = [
        (name, truth.target, truth.attack, logits.get(name), (probs or {}).get(name))
        for name, truth in truths.items()
    ]
    schema = {"filepath": pl.String, "target": pl.Int8, "generator": pl.String}
    schema |= {"logit": pl.Float64, "pred_prob": pl.Float64}
    frame = pl.DataFrame(rows, schema, orient="row").with_columns(
        *(pl.lit(None, dtype).alias(name) for name, dtype in empty.items()),
        detector=pl.lit(detector),
        pred_label=(pl.col("logit") >= 0).cast(pl.Int8),
        error=pl.when(pl.col("logit").is_null()).then(pl.lit(missing)),
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
    scored = zip(names, logits_of(frame), strict=True)
    lines = [f"{name}\t{-value!r}" for name, value in scored if value is not None]
    targets = zip(names, frame["target"].to_list(), strict=True)
    labels = [f"{name}\t{_WORDS[target]}" for name, target in targets]
    write_text(Path(scores), "\n".join(["\t".join(SCORE_COLUMNS), *lines, ""]))
    write_text(Path(key), "\n".join(["\t".join(KEY_COLUMNS), *labels, ""]))
    return len(names) - len(lines)


def logits_of(frame: pl.DataFrame) -> list[float | None]:
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
    lines = list(split_lines(path))
    if lines and _is_header(lines[0][1], SCORE_COLUMNS):
        return [(number, cells[:2]) for number, cells in lines[1:]]
    return lines


def _is_header(cells: Sequence[str], columns: Sequence[str]) -> bool:
    return [cell.casefold() for cell in cells[:2]] == list(columns)


def _read_scores(path: Path, truths: Mapping[str, Truth]) -> dict[str, float]:
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


def _agree(path: Path, number: int, cells: Sequence[str], truth: Truth | None) -> None:
    label = next((_LABELS[cell] for cell in cells if cell in _LABELS), None)
    if truth is not None and label is not None and label != truth.target:
        raise PredictionsError(
            f"{path}:{number}: {_WORDS[label]}, expected {_WORDS[truth.target]} as in the key"
        )


def read_key(path: Path) -> dict[str, Truth]:
    """Return the classes of the files of a key; a ``PredictionsError`` if it is invalid."""
    if (table := _read_table(path)) is not None:
        return table
    found: dict[str, Truth] = {}
    lines = list(split_lines(path))
    headed = bool(lines) and _is_header(lines[0][1], KEY_COLUMNS)
    for number, cells in lines[headed:]:
        words = cells if headed else " ".join(cells).split()
        name, truth = _labelled(path, number, words, headed=headed)
        _once(path, number, name, found)
        found[name] = truth
    if not found:
        raise PredictionsError(f"{path}: no files, expected lines of filename and cm-label")
    return found


def _read_table(path: Path) -> dict[str, Truth] | None:
    """Return the content of a CSV or Parquet key, ``None`` if the file is another."""
    known = (*_FILE_COLUMNS, *_LABEL_COLUMNS, "generator")
    names = read_columns(path, known) or []
    file = next((name for name in _FILE_COLUMNS if name in names), None)
    label = next((name for name in _LABEL_COLUMNS if name in names), None)
    if file is None or label is None or (file, label) == KEY_COLUMNS:
        return None
    table = read_table(path, error=PredictionsError, needed=(file, label), known=known)
    attacks = table.frame["generator"] if "generator" in names else [None] * table.frame.height
    found: dict[str, Truth] = {}
    cells = zip(table.lines, table.frame[file], table.frame[label], attacks, strict=True)
    for line, name, word, attack in cells:
        target = parse_target(word or "")
        if target is None or not name:
            expected = "expected a file and a word for real or fake"
            raise PredictionsError(f"{path}:{line}: {name or ''!r} {word or ''!r}, {expected}")
        _once(path, line, name, found)
        found[name] = Truth(target, attack if target else None)
    return found


def _labelled(path: Path, number: int, cells: Sequence[str], *, headed: bool) -> tuple[str, Truth]:
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
    return name, Truth(_LABELS[cells[at]], known)


def _once(path: Path, number: int, name: str, found: dict[str, float] | dict[str, Truth]) -> None:
    if name in found:
        raise PredictionsError(f"{path}:{number}: {name!r} again, expected each file once")


def split_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
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
