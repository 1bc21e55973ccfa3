"""Whether the training or the selection of a detector used the rows.

A card that lists its training items is compared by the hash of files and groups. Other cards name
corpora and splits ("SONICS train"), which are compared with ``source_dataset`` and ``split_tag``. A
row is ``unseen`` only where card and manifest both say enough: a corpus that is not known here may
contain any row.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar

from pydantic import JsonValue

from earwitness.audit.balance import NO_DETECTOR
from earwitness.audit.checks import (
    AuditContext,
    CheckSpec,
    Outcome,
    Row,
    make_result,
    not_checked,
)
from earwitness.audit.schema import Exposure, ExposureStatus, Relation
from earwitness.core.cards import DetectorCard, TrainingItems
from earwitness.datasets.catalog import layouts_by_source
from earwitness.splits.grouping import corpus_of

_T = TypeVar("_T")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    "test": "test",
}
_ALL_SPLITS = "all splits"
_TARGETS = {"real": 0, "fake": 1}
_TRAINED = "evaluate it on a split that was not used to make it, or drop these rows"
_SELECTED = "its checkpoint was selected on these rows, so that its metrics are too good; "
_USES: dict[Relation, str] = {"trained_on": "trained on", "selected_on": "selected on"}


class Origin(NamedTuple):
    """Where rows come from, as a card or a manifest states it.

    Attributes:
        corpus: One with a registered layout, or the stated name; empty for none.
        split: ``train``, ``valid`` or ``test``; ``None`` where none is stated; ``all splits`` on
            cards that name the whole corpus.
        target: The class it is limited to; ``None`` for both.
    """

    corpus: str
    split: str | None
    target: int | None


def check_exposure(context: AuditContext) -> list[Outcome]:
    """Flag the rows that each detector was trained or selected on."""
    if not context.cards:
        n_rows = context.audited_rows.height
        return [not_checked(_spec(""), NO_DETECTOR, n_unchecked=n_rows)]
    return [_check_card(context, card) for card in context.cards]


def list_exposures(context: AuditContext) -> list[Exposure]:
    """Return the exposure of every detector to every audited row."""
    return [
        Exposure(context.name_of(row), row["row"], row["filepath"], card.name, status)
        for card in context.cards
        for row, status in _list_statuses(context, card)
    ]


def _spec(detector: str, advice: str = _TRAINED) -> CheckSpec:
    name, whom = (f"exposure_{detector}", detector) if detector else ("exposure", "a detector")
    return CheckSpec(name, f"rows that {whom} was trained or selected on", "exposure", advice)


def _check_card(context: AuditContext, card: DetectorCard) -> Outcome:
    rows = _list_statuses(context, card)
    counts = Counter(status for _, status in rows)
    if counts["unknown"] == len(rows):
        return not_checked(_spec(card.name), _why_unknown(card), n_unchecked=len(rows))
    spec = _spec(card.name, _SELECTED * bool(counts["selected_on"]) + _TRAINED)
    findings = [
        context.make_finding(
            spec.name,
            row,
            use,
            f"{card.name} was {words} {', '.join(getattr(card, use) or ()) or 'this item'}",
        )
        for row, status in rows
        for use, words in _USES.items()
        if status == use
    ]
    corpora = Counter(row["source_dataset"] or "no corpus" for row, how in rows if how == "unseen")
    return make_result(
        spec,
        findings,
        n_checked=len(rows) - counts["unknown"],
        n_unchecked=counts["unknown"],
        detail=_describe(card, counts, corpora),
        figures={"rows": _to_json(counts), "unseen_by_corpus": _to_json(corpora)},
    )


def _to_json(counts: Mapping[Any, int]) -> dict[str, JsonValue]:
    return {str(key): n for key, n in counts.items()}


def _describe(card: DetectorCard, counts: Mapping[Any, int], corpora: Counter[str]) -> str:
    uses = [
        f"its card says: {words} {', '.join(getattr(card, use) or ()) or 'these items'}"
        for use, words in _USES.items()
        if counts[use]
    ]
    by_corpus = ", ".join(f"{n} of {corpus}" for corpus, n in corpora.most_common())
    unseen = f"{counts['unseen']} rows unseen" + (f" ({by_corpus})" if by_corpus else "")
    return "; ".join([*uses, unseen])


def _why_unknown(card: DetectorCard) -> str:
    is_complete = card.training_items is not None and card.training_items.complete
    if not is_complete and (card.trained_on is None or card.selected_on is None):
        return "the card does not say what it was trained and selected on"
    return "the manifest does not say which corpus and split its rows are from"


def _list_statuses(context: AuditContext, card: DetectorCard) -> list[tuple[Row, ExposureStatus]]:
    """Return the audited rows with their exposure to a detector."""
    by_origin, items = _compare_origins(card), card.training_items
    statuses: list[tuple[Row, ExposureStatus]] = []
    for row in context.audited_rows.iter_rows(named=True):
        by_item = None if items is None else _compare_item(context, row, items)
        if by_item == "trained_on" or (by_item is not None and items and items.complete):
            statuses.append((row, by_item))
        else:
            statuses.append((row, by_origin(row_origin(row))))
    return statuses


def _compare_origins(card: DetectorCard) -> Callable[[Origin], ExposureStatus]:
    """Return what gives the exposure of an origin, by the corpora and splits that a card names."""
    trained_on, selected_on = (
        None if texts is None else [statement_origin(text) for text in texts]
        for texts in (card.trained_on, card.selected_on)
    )

    @cache
    def compare(origin: Origin) -> ExposureStatus:
        is_trained, is_selected = (_is_among(origin, one) for one in (trained_on, selected_on))
        if is_trained:
            return "trained_on"
        if is_selected:
            return "selected_on"
        return "unknown" if is_trained is None or is_selected is None else "unseen"

    return compare


def _compare_item(context: AuditContext, row: Row, items: TrainingItems) -> ExposureStatus:
    """Compare by the hash of the file and of the group; nothing was selected on items."""
    group, features = row["group_id"], context.features.get(row["file"])
    sha256 = features.sha256 if features else None
    in_group = group and hashlib.sha256(group.encode()).hexdigest() in items.group_sha256
    if in_group or (sha256 is not None and sha256 in items.item_sha256):
        return "trained_on"
    return "unknown" if sha256 is None else "unseen"


def _is_among(origin: Origin, others: Sequence[Origin] | None) -> bool | None:
    """Return whether an origin is covered by others; ``None`` where that is unknown."""
    if others is None:
        return None
    answers = [_is_within(origin, other) for other in others]
    if True in answers:
        return True
    return None if None in answers else False


def _is_within(origin: Origin, other: Origin) -> bool | None:
    if not origin.corpus:
        return None
    if origin.corpus != other.corpus:
        return False if other.corpus in layouts_by_source() else None
    if {origin.target, other.target} == {0, 1}:
        return False
    if other.split == _ALL_SPLITS:
        return True
    if origin.split is None or other.split is None:
        return None
    return origin.split == other.split


def statement_origin(text: str) -> Origin:
    """Return the origin that a card states: "FMA-medium train (Deezer split) and its nine …"."""
    folded = text.casefold()
    known = [name for name in layouts_by_source() if name.casefold() in folded]
    corpus = known[0] if len(known) == 1 else (folded.split() or [""])[0]
    split = _ALL_SPLITS if _ALL_SPLITS in folded else _find(_SPLITS, text)
    return Origin(corpus, split, _find(_TARGETS, text))


def row_origin(row: Row) -> Origin:
    """Return the origin that a manifest states of a row."""
    return Origin(corpus_of(row["source_dataset"]), _find(_SPLITS, row["split_tag"]), row["target"])


def _find(known: Mapping[str, _T], text: str | None) -> _T | None:
    """Return what the words of a text stand for; ``None`` for nothing or several things."""
    words = re.findall(r"[a-z0-9]+", (text or "").casefold())
    found = {known[word] for word in words if word in known}
    return found.pop() if len(found) == 1 else None
