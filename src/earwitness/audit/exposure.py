"""Exposure: whether a detector was trained or selected on the rows.

Cards that list training items are compared by the hashes of files and groups, others by the corpora
and splits that they name ("SONICS train"). A row is ``unseen`` only if card and manifest both say
enough: a corpus without a registered layout may contain any row.
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
from earwitness.audit.checks import AuditContext, CheckSpec, Outcome, Row, make_result, not_checked
from earwitness.audit.schema import Exposure, ExposureStatus, Relation
from earwitness.core.cards import DetectorCard, TrainingItems
from earwitness.datasets.catalog import layouts_by_source
from earwitness.splits.grouping import corpus_of

_T = TypeVar("_T")
_ALL_SPLITS = "all splits"
_USES: dict[Relation, str] = {"trained_on": "trained on", "selected_on": "selected on"}


class Origin(NamedTuple):
    """Corpus, split and class of rows, as a card or a manifest states them.

    Attributes:
        corpus: One with a registered layout, or the stated name; empty for none.
        split: ``train``, ``valid`` or ``test``; ``None`` if not stated; ``all splits`` of a card.
        target: ``None`` for both classes.
    """

    corpus: str
    split: str | None
    target: int | None


def check_exposure(context: AuditContext) -> list[Outcome]:
    """Flag the rows that each detector was trained or selected on."""
    if not context.cards:
        return [not_checked(_spec(""), NO_DETECTOR, n_unchecked=context.audited_rows.height)]
    return [_check_card(context, card) for card in context.cards]


def list_exposures(context: AuditContext) -> list[Exposure]:
    """Return the exposure of every detector to every audited row."""
    return [
        Exposure(context.name_of(row), row["row"], row["filepath"], card.name, status)
        for card in context.cards
        for row, status in _list_statuses(context, card)
    ]


def _spec(detector: str, *, is_selected: bool = False) -> CheckSpec:
    name, whom = (f"exposure_{detector}", detector) if detector else ("exposure", "a detector")
    advice = "evaluate it on a split that was not used to make it, or drop these rows"
    if is_selected:
        selected = "its checkpoint was selected on these rows, so that its metrics are too good"
        advice = f"{selected}; {advice}"
    return CheckSpec(name, f"rows that {whom} was trained or selected on", "exposure", advice)


def _check_card(context: AuditContext, card: DetectorCard) -> Outcome:
    rows = _list_statuses(context, card)
    counts = Counter(status for _, status in rows)
    if counts["unknown"] == len(rows):
        return not_checked(_spec(card.name), _why_unknown(card), n_unchecked=len(rows))
    spec = _spec(card.name, is_selected=counts["selected_on"] > 0)
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
    """Return the function from an origin to its exposure, by the corpora that a card names."""
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
    """Return the exposure by the hashes of file and group; no item was used for selection."""
    group, features = row["group_id"], context.features.get(row["file"])
    sha256 = features.sha256 if features else None
    in_group = group and hashlib.sha256(group.encode()).hexdigest() in items.group_sha256
    if in_group or (sha256 is not None and sha256 in items.item_sha256):
        return "trained_on"
    return "unknown" if sha256 is None else "unseen"


def _is_among(origin: Origin, others: Sequence[Origin] | None) -> bool | None:
    """Return whether an origin is covered by others; ``None`` if unknown."""
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
    """Return the origin in a text of a card ("FMA-medium train (Deezer split) and its nine …")."""
    folded = text.casefold()
    known = [name for name in layouts_by_source() if name.casefold() in folded]
    corpus = known[0] if len(known) == 1 else (folded.split() or [""])[0]
    split = _ALL_SPLITS if _ALL_SPLITS in folded else _find_split(text)
    return Origin(corpus, split, _find({"real": 0, "fake": 1}, text))


def row_origin(row: Row) -> Origin:
    """Return the origin that a manifest states of a row."""
    return Origin(corpus_of(row["source_dataset"]), _find_split(row["split_tag"]), row["target"])


def _find_split(text: str | None) -> str | None:
    valid = dict.fromkeys(("valid", "validation", "val", "dev"), "valid")
    return _find(valid | {"train": "train", "training": "train", "test": "test"}, text)


def _find(known: Mapping[str, _T], text: str | None) -> _T | None:
    """Return the value of the words of a text; ``None`` for none or several values."""
    words = re.findall(r"[a-z0-9]+", (text or "").casefold())
    found = {known[word] for word in words if word in known}
    return found.pop() if len(found) == 1 else None
