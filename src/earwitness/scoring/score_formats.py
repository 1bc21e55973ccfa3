"""Score files and protocols of other tools, in and out.

The polarity of a format is in the names of its functions and is converted once, here: scores that
are high for real music are negated, or subtracted from 1 if they are probabilities.

=====================  =================================  ========================================
format                 lines                              scores
=====================  =================================  ========================================
asvspoof               ``filename⇥cm-score`` and a key    any number, high is real
df-arena               ``file score`` and a key           any number, high is real
all-type-add           ``name score label``               probability of real
mirex                  ``file⇥score`` and a key           probability of fake
df-arena-protocol      CSV ``file_name,label``            none: a manifest
deepfense              Parquet ``ID, path, label``        none: a manifest
=====================  =================================  ========================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import polars as pl
from scipy.special import expit

from earwitness.core.errors import ManifestError, PredictionsError
from earwitness.core.io import atomic_write, write_text
from earwitness.core.manifest import Manifest
from earwitness.core.predictions import Predictions
from earwitness.core.spectrogram import parse_target
from earwitness.core.text_table import decode, read_table
from earwitness.metrics.sample import logits as logits_of_probs
from earwitness.scoring.asvspoof import (
    Truth,
    logits_of,
    make_predictions,
    read_key,
    read_scores,
    write_scores,
)

_WORDS = ("bonafide", "spoof")
_ALL_TYPE_WORDS = ("real", "fake")


class _Line(NamedTuple):
    number: int
    name: str
    score: float
    word: str | None = None


def read_all_type_add_real_high(scores: Path, key: Path | None = None) -> Predictions:
    """Read a score file of All-Type-ADD: ``name score label``, the probability of real.

    Raises:
        PredictionsError: A line is invalid or repeated.
    """
    truths: dict[str, Truth] = {}
    found: dict[str, float] = {}
    for line in _lines(scores, n_words=3):
        target = parse_target(line.word or "")
        if target is None:
            expected = "expected real or fake"
            raise PredictionsError(f"{scores}:{line.number}: label {line.word!r}, {expected}")
        truths[line.name] = Truth(target, None)
        found[line.name] = line.score
    if key is not None:
        known = _matched(scores, found, read_key(key))
        truths, found = known.truths, known.scores
    return _from_probs(scores, truths, {name: 1 - score for name, score in found.items()})


def read_mirex_fake_high(scores: Path, key: Path | None = None) -> Predictions:
    """Read scores of MIREX 2026 AI-Generated Music Detection: ``file score``, high is fake.

    Args:
        scores: Lines of a file and its score from 0 to 1, separated by a tab, comma or blank.
        key: Classes of the files, see ``asvspoof.read_key``.

    Raises:
        PredictionsError: There is no key, a line is invalid or repeated, or a file not in the key.
    """
    if key is None:
        raise PredictionsError(f"{scores}: scores without labels, expected a key (--key)")
    found = {line.name: line.score for line in _lines(scores, n_words=2)}
    known = _matched(scores, found, read_key(key))
    return _from_probs(scores, known.truths, known.scores)


def read_df_arena_real_high(scores: Path, key: Path | None = None) -> Predictions:
    """Read a score file of DF Arena and its protocol, the key; see ``asvspoof.read_scores``."""
    return read_scores(scores, key)


def write_all_type_add_real_high(predictions: Predictions, scores: Path, _: Path) -> int:
    """Write ``name score label``, the probability of real; return the number of unscored rows.

    Names are without folder and suffix, as that tool writes them.
    """
    rows = list(_scored(predictions))
    names = [PurePosixPath(name).name.split(".")[0] for name, *_ in rows]
    _check_words(predictions, names)
    lines = [
        f"{name} {expit(-logit):.17g} {_ALL_TYPE_WORDS[target]}"
        for name, (_, logit, target) in zip(names, rows, strict=True)
    ]
    write_text(scores, "\n".join([*lines, ""]))
    return predictions.frame.height - len(rows)


def write_mirex_fake_high(predictions: Predictions, scores: Path, key: Path) -> int:
    """Write ``file⇥score``, the probability of fake, and a key; return the unscored rows."""
    rows = list(_scored(predictions))
    _check_words(predictions, [name for name, *_ in rows], refused="\t\r\n")
    write_text(scores, "\n".join([*(f"{n}\t{expit(z):.17g}" for n, z, _ in rows), ""]))
    _write_protocol(predictions.frame, key)
    return predictions.frame.height - len(rows)


def write_df_arena_real_high(predictions: Predictions, scores: Path, key: Path) -> int:
    """Write ``file score``, the negated logit, and the protocol; return the unscored rows."""
    rows = list(_scored(predictions))
    _check_words(predictions, [name for name, *_ in rows])
    write_text(scores, "\n".join([*(f"{name} {-logit!r}" for name, logit, _ in rows), ""]))
    _write_protocol(predictions.frame, key)
    return predictions.frame.height - len(rows)


def read_protocol(path: Path) -> Manifest:
    """Read a CSV of DF Arena or a Parquet of DeepFense as a manifest; other columns are kept."""
    names = {"file_name": "filepath", "path": "filepath", "label": "target"}
    known = read_table(path, error=ManifestError, known=(*names, "filepath", "target", "ID"))
    frame = known.frame.rename(names, strict=False)
    missing = [name for name in ("filepath", "target") if name not in frame.columns]
    if missing:
        found = ", ".join(known.frame.columns)
        raise ManifestError(f"{path}: columns {found}; expected file_name or path, and label")
    targets = [parse_target(word or "") for word in frame["target"]]
    for line, word, target in zip(known.lines, frame["target"], targets, strict=True):
        if target is None:
            expected = "expected bonafide or spoof"
            raise ManifestError(f"{path}:{line}: label {word!r}, {expected}")
    return Manifest(path.stem, frame.with_columns(pl.Series("target", targets, dtype=pl.Int8)))


def write_df_arena_protocol(manifest: Manifest, path: Path) -> None:
    """Write ``file_name,label`` with absolute paths, as DF Arena expects."""
    paths = [str(found.absolute()) for found in manifest.locate_all()]
    _write_protocol(manifest.frame.with_columns(pl.Series("filepath", paths)), path)


def write_deepfense(manifest: Manifest, path: Path) -> None:
    """Write the Parquet ``ID, path, label, dataset_name`` of DeepFense with absolute paths."""
    frame = manifest.frame
    paths = [str(found.absolute()) for found in manifest.locate_all()]
    stems = [PurePosixPath(name).stem for name in frame["filepath"]]
    is_known = "source_dataset" in frame.columns and frame["source_dataset"].null_count() == 0
    table = pl.DataFrame(
        {
            "ID": stems if len(set(stems)) == len(stems) else frame["filepath"].to_list(),
            "path": paths,
            "label": [_WORDS[target] for target in frame["target"]],
            "dataset_name": frame["source_dataset"] if is_known else [manifest.name] * len(paths),
        }
    )
    with atomic_write(path) as temporary:
        table.write_parquet(temporary)


class ScoreFormat(NamedTuple):
    """How a score file is read (with its key) and written (with its key)."""

    read: Callable[[Path, Path | None], Predictions]
    write: Callable[[Predictions, Path, Path], int]


SCORE_FORMATS = {
    "asvspoof": ScoreFormat(read_scores, write_scores),
    "df-arena": ScoreFormat(read_df_arena_real_high, write_df_arena_real_high),
    "all-type-add": ScoreFormat(read_all_type_add_real_high, write_all_type_add_real_high),
    "mirex": ScoreFormat(read_mirex_fake_high, write_mirex_fake_high),
}
"""Formats of scores by name."""

PROTOCOL_FORMATS: dict[str, Callable[[Manifest, Path], None]] = {
    "df-arena-protocol": write_df_arena_protocol,
    "deepfense": write_deepfense,
}
"""Formats of manifests by name; ``read_protocol`` reads them."""


class _Known(NamedTuple):
    truths: dict[str, Truth]
    scores: dict[str, float]


def _matched(path: Path, scores: Mapping[str, float], truths: Mapping[str, Truth]) -> _Known:
    """Return classes and scores under the names of the key, found by path or unique stem."""
    stems: dict[str, list[str]] = {}
    for name in truths:
        stems.setdefault(PurePosixPath(name).stem, []).append(name)
    found: dict[str, float] = {}
    for name, score in scores.items():
        named = [name] if name in truths else stems.get(PurePosixPath(name).stem, [])
        if len(named) != 1 or named[0] in found:
            expected = "expected one file of the key"
            raise PredictionsError(f"{path}: {name!r} is {len(named)} files of the key, {expected}")
        found[named[0]] = score
    return _Known(dict(truths), found)


def _from_probs(path: Path, truths: Mapping[str, Truth], probs: Mapping[str, float]) -> Predictions:
    detector, _, dataset = path.stem.partition("__")
    logits = logits_of_probs(list(probs.values())).tolist()
    return make_predictions(
        dataset or path.stem,
        detector,
        truths,
        dict(zip(probs, logits, strict=True)),
        missing=f"no score in {path.name}",
        probs=probs,
    )


def _lines(path: Path, *, n_words: int) -> Iterator[_Line]:
    """Yield the lines of a file of probabilities; names are not repeated."""
    try:
        text = decode(path.read_bytes())[2].lstrip("\ufeff")
    except OSError as error:
        raise PredictionsError(f"{path}: cannot be read ({error.strerror or error})") from None
    seen: set[str] = set()
    for number, row in enumerate(text.splitlines(), start=1):
        if not row.strip():
            continue
        delimiter = "\t" if "\t" in row else None
        if n_words == 2 and delimiter is None and "," in row:
            delimiter = ","
        name, *words = row.strip().rsplit(delimiter, n_words - 1)
        score = _probability(words[0]) if len(words) == n_words - 1 else None
        if score is None:
            shown = words[0] if words else row.strip()[:60]
            raise PredictionsError(f"{path}:{number}: score {shown!r}, expected 0 to 1")
        if name in seen:
            raise PredictionsError(f"{path}:{number}: {name!r} again, expected each file once")
        seen.add(name)
        yield _Line(number, name.strip(), score, words[1] if n_words > 2 else None)
    if not seen:
        raise PredictionsError(f"{path}: no scores, expected lines of a file and its score")


def _probability(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def _scored(predictions: Predictions) -> Iterator[tuple[str, float, int]]:
    """Yield path, logit and class of the rows with a score."""
    frame = predictions.frame
    rows = zip(frame["filepath"], logits_of(frame), frame["target"], strict=True)
    return ((name, logit, target) for name, logit, target in rows if logit is not None)


def _check_words(predictions: Predictions, names: Iterable[str], refused: str = "") -> None:
    """Raise ``PredictionsError`` for repeated names, or blanks (or ``refused``) in them."""
    where = f"{predictions.detector} on {predictions.dataset}"
    for name, n in Counter(names).items():
        if n > 1:
            raise PredictionsError(f"{where}: {name!r} {n} times, expected each name once")
        if not name or (any(c in name for c in refused) if refused else len(name.split()) != 1):
            raise PredictionsError(f"{where}: {name!r}, expected a name without blanks")


def _write_protocol(frame: pl.DataFrame, path: Path) -> None:
    words = [_WORDS[target] for target in frame["target"]]
    table = pl.DataFrame({"file_name": frame["filepath"], "label": words})
    write_text(path, table.write_csv())
