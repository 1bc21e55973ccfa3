"""What a detector met of the rows when it was made.

Conventions: per detector and row ``trained_on``, ``selected_on``, ``unseen`` or ``unknown``. A card
that lists its training items is compared by hash and by group. Other cards speak of corpora and
splits ("SONICS train"), and a row counts by its ``source_dataset`` and ``split_tag``. A row is
``unseen`` only where card and manifest both say enough: a card that speaks of a corpus that is not
known here may mean one that has the row.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import JsonValue

from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, make_result, not_checked
from earwitness.audit.schema import Exposure, ExposureStatus, Finding
from earwitness.core.cards import DetectorCard, TrainingItems
from earwitness.datasets.catalog import layouts_by_source
from earwitness.splits.grouping import corpus_of

_SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_CLASSES = {"real": 0, "fake": 1}
_TRAINED = "judge it on a split that it was not made with; drop these rows"
_SELECTED = "its checkpoint was chosen on these rows, so that its figures flatter it; " + _TRAINED


class Origin(NamedTuple):
    """Where rows come from, as a card or a manifest says it.

    Attributes:
        corpus: One whose layout is registered, or what is said instead; empty where none is said.
        split: ``train``, ``valid`` or ``test``; ``None`` where none is said.
        target: The class it is limited to; ``None`` for both.
    """

    corpus: str
    split: str | None
    target: int | None


def check_exposure(scene: AuditContext) -> list[Outcome]:
    """Tell for every detector which rows it was trained or selected on."""
    if not scene.cards:
        n = scene.audited_rows.height
        return [not_checked(_subject(""), "no detector was named (--detector)", n_unchecked=n)]
    return [_check_card(scene, card) for card in scene.cards]


def list_exposures(scene: AuditContext) -> list[Exposure]:
    """Return what every detector met of every audited row."""
    return [
        Exposure(scene.manifests[row["set"]].name, row["row"], row["filepath"], card.name, met)
        for card in scene.cards
        for row, met in _met_rows(scene, card)
    ]


def _subject(detector: str, advice: str = _TRAINED) -> CheckSpec:
    name, whom = (f"exposure_{detector}", detector) if detector else ("exposure", "a detector")
    return CheckSpec(name, f"rows that {whom} was made with", "exposure", advice)


def _check_card(scene: AuditContext, card: DetectorCard) -> Outcome:
    met = _met_rows(scene, card)
    counts = Counter(how for _, how in met)
    if counts["unknown"] == len(met):
        return not_checked(_subject(card.name), _why_unknown(card), n_unchecked=len(met))
    findings = [_finding(scene, card, row, how) for row, how in met if how in _STATEMENTS]
    advice = _SELECTED if counts["selected_on"] else _TRAINED
    corpora = Counter(row["source_dataset"] or "no corpus" for row, how in met if how == "unseen")
    return make_result(
        _subject(card.name, advice),
        findings,
        n_checked=len(met) - counts["unknown"],
        n_unchecked=counts["unknown"],
        detail=_detail(card, counts, corpora),
        figures={"rows": _as_json(counts), "unseen_by_corpus": _as_json(corpora)},
    )


_STATEMENTS: dict[str, str] = {"trained_on": "trained on", "selected_on": "selected on"}


def _as_json(counts: Mapping[Any, int]) -> dict[str, JsonValue]:
    return {str(key): n for key, n in counts.items()}


def _finding(
    scene: AuditContext, card: DetectorCard, row: dict[str, Any], how: ExposureStatus
) -> Finding:
    said = ", ".join(getattr(card, how) or ())
    return Finding(
        check=_subject(card.name).name,
        manifest=scene.manifests[row["set"]].name,
        row=row["row"],
        filepath=row["filepath"],
        target=row["target"],
        relation="trained_on" if how == "trained_on" else "selected_on",
        detail=f"{card.name} was {_STATEMENTS[how]} {said or 'this item'}",
    )


def _detail(card: DetectorCard, counts: Counter[ExposureStatus], corpora: Counter[str]) -> str:
    said = [
        f"its card says: {words} {', '.join(getattr(card, how) or ()) or 'these items'}"
        for how, words in _STATEMENTS.items()
        if counts[how]  # type: ignore[index]  # the keys are two of the four
    ]
    told = ", ".join(f"{n} of {corpus}" for corpus, n in corpora.most_common())
    unseen = f"{counts['unseen']} rows unseen" + (f" ({told})" if told else "")
    return "; ".join([*said, unseen])


def _why_unknown(card: DetectorCard) -> str:
    if not _tells_items(card) and (card.trained_on is None or card.selected_on is None):
        return "the card does not say what it was trained and selected on"
    return "the manifest does not say of which corpus and split its rows are"


def _met_rows(
    scene: AuditContext, card: DetectorCard
) -> list[tuple[dict[str, Any], ExposureStatus]]:
    rows = scene.audited_rows.to_dicts()
    if (items := card.training_items) is None:
        return _met_origins(rows, card)
    by_item = [(row, _met_item(scene, row, items)) for row in rows]
    if items.complete:
        return by_item
    by_origin = _met_origins(rows, card)
    return [
        one if one[1] == "trained_on" else other
        for one, other in zip(by_item, by_origin, strict=True)
    ]


def _tells_items(card: DetectorCard) -> bool:
    return card.training_items is not None and card.training_items.complete


def _met_origins(
    rows: Sequence[dict[str, Any]], card: DetectorCard
) -> list[tuple[dict[str, Any], ExposureStatus]]:
    """Compare by what the card says of corpora and splits."""
    trained, selected = (_origins(said) for said in (card.trained_on, card.selected_on))
    known: dict[Origin, ExposureStatus] = {}
    met = []
    for row in rows:
        origin = row_origin(row)
        if origin not in known:
            known[origin] = _met(_among(origin, trained), _among(origin, selected))
        met.append((row, known[origin]))
    return met


def _met_item(scene: AuditContext, row: dict[str, Any], items: TrainingItems) -> ExposureStatus:
    """Compare by the hash of the file and of the group; selection is on nothing."""
    group, sound = row["group_id"], scene.sounds.get(row["file"])
    sha256 = sound.sha256 if sound else None
    in_group = group and hashlib.sha256(group.encode()).hexdigest() in items.group_sha256
    if in_group or (sha256 is not None and sha256 in items.item_sha256):
        return "trained_on"
    return "unknown" if sha256 is None else "unseen"


def _met(trained: bool | None, selected: bool | None) -> ExposureStatus:
    if trained:
        return "trained_on"
    if selected:
        return "selected_on"
    return "unknown" if trained is None or selected is None else "unseen"


def _among(origin: Origin, origins: Sequence[Origin] | None) -> bool | None:
    """Return whether rows of an origin are among others; ``None`` where that is not known."""
    if origins is None:
        return None
    answers = [_is_of(origin, other) for other in origins]
    if True in answers:
        return True
    return None if None in answers else False


def _is_of(origin: Origin, other: Origin) -> bool | None:
    if not origin.corpus:
        return None
    if origin.corpus != other.corpus:
        return False if other.corpus in layouts_by_source() else None
    if {origin.target, other.target} == {0, 1}:
        return False
    if origin.split is None or other.split is None:
        return None
    return origin.split == other.split


def _origins(said: Sequence[str] | None) -> list[Origin] | None:
    return None if said is None else [statement_origin(text) for text in said]


def statement_origin(text: str) -> Origin:
    """Read what a card says of data: "FMA-medium train (Deezer split) and its nine …"."""
    words, said = _words(text), text.casefold()
    known = [name for name in layouts_by_source() if name.casefold() in said]
    corpus = known[0] if len(known) == 1 else (said.split() or [""])[0]
    return Origin(corpus, _split(words), _target(words))


def row_origin(row: dict[str, Any]) -> Origin:
    """Read what a manifest says of a row."""
    return Origin(corpus_of(row["source_dataset"]), _split(_words(row["split_tag"])), row["target"])


def _words(text: str | None) -> list[str]:
    return re.findall(r"[a-z0-9]+", (text or "").casefold())


def _split(words: Sequence[str]) -> str | None:
    """Return the split that words name, ``None`` for none or several."""
    named = {_SPLITS[word] for word in words if word in _SPLITS}
    return named.pop() if len(named) == 1 else None


def _target(words: Sequence[str]) -> int | None:
    named = {_CLASSES[word] for word in words if word in _CLASSES}
    return named.pop() if len(named) == 1 else None
