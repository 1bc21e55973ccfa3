"""Detectors in words: for a person at a terminal, and as records for JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from rich.text import Text

from earwitness.core.cards import DetectorCard
from earwitness.detectors.loading import Listing

_WIDEST = 100
_LABEL_WIDTH = 16
_SHA256_SHOWN = 12


def tell_listing(listing: Listing, *, width: int) -> list[Text]:
    """Return a few lines on one detector.

    Args:
        listing: The detector.
        width: Columns of the terminal.
    """
    card = listing.card
    heading = Text(listing.asked, style="bold")
    if card is not None and card.summary:
        heading.append(f"  {card.summary}", style="not bold")
    fields = [("weights", _weights(listing))]
    if card is not None:
        fields += [
            ("hears", _contract(card)),
            ("licence", card.licence),
            *_origin(listing.weights is not None, card),
            ("limits", card.limits),
        ]
    return [heading, *_lines(fields, width), Text()]


def tell_card(listing: Listing, *, width: int) -> list[Text]:
    """Return all that a detector's card says, and where its weights are."""
    fields = [("weights", _weights(listing))]
    if listing.card is not None:
        fields += list(_fields(listing.card))
    return [Text(listing.asked, style="bold"), *_lines(fields, width), Text()]


def listing_record(listing: Listing) -> dict[str, Any]:
    """Return a detector as JSON has it."""
    return {
        "detector": listing.asked,
        "is_here": listing.is_here,
        "weights": None if listing.weights is None else str(listing.weights),
        "problem": listing.problem,
        "card": None if listing.card is None else card_record(listing.card),
    }


def card_record(card: DetectorCard) -> dict[str, Any]:
    """Return a card as JSON has it, without the hashes of every training item."""
    hashes = {"training_items": {"item_sha256", "group_sha256"}}
    return card.model_dump(mode="json", exclude=hashes)


def _weights(listing: Listing) -> str:
    card = listing.card
    if listing.problem is not None:
        return f"cannot be used: {listing.problem}"
    if listing.weights is None or card is None:
        return f"not here; {card.weights_from if card else ''}"
    return f"{listing.weights} (SHA-256 {(card.weights_sha256 or '')[:_SHA256_SHOWN]}…)"


def _fields(card: DetectorCard) -> Iterator[tuple[str, str]]:
    yield "name", card.name
    yield "kind", card.kind
    yield "what it is", card.summary or "not said"
    yield "hears", _contract(card)
    yield "preprocessing", card.preprocessing
    yield "band", f"{card.band_hz[0]:g} to {card.band_hz[1]:g} Hz"
    yield "needs", f"{card.needs.min_level_dbfs:g} dBFS in its band, else it abstains"
    is_probability = card.score_kind == "probability"
    yield "score", "a calibrated probability" if is_probability else "uncalibrated, no probability"
    yield "threshold", f"{card.threshold:g}"
    if card.encoders:
        yield "encoders", ", ".join(card.encoders)
    yield from _origin(card.weights_sha256 is not None, card)
    if card.training_items is not None:
        items = card.training_items
        yield "training items", f"{items.n_items}, manifest digest {items.manifest_digest}"
    yield "licence", card.licence
    yield "source", card.source
    yield "get weights", card.weights_from or "not said"
    yield "limits", card.limits
    yield "SHA-256", card.weights_sha256 or "not known before the weights are here"
    for name, value in card.details.items():
        yield name, str(value)


def _contract(card: DetectorCard) -> str:
    contract = card.contract
    rate_hz = contract.sample_rate_hz
    if contract.clip_samples:
        length = f"clips of {contract.clip_samples / rate_hz:.3g} s"
    elif contract.max_samples:
        length = f"whole files up to {contract.max_samples / rate_hz:.3g} s"
    else:
        length = "whole files"
    native = ", whatever the file's own rate" if contract.native_rate else ""
    return f"{length} at {rate_hz} Hz{native}"


def _origin(is_here: bool, card: DetectorCard) -> list[tuple[str, str]]:
    """Return what it was trained and selected on, where its weights decide that and are here."""
    if not is_here and card.trained_on is None:
        return [("trained on", "whatever you train it on")]
    return [("trained on", _known(card.trained_on)), ("selected on", _known(card.selected_on))]


def _known(names: tuple[str, ...] | None) -> str:
    if names is None:
        return "not known"
    return "; ".join(names) or "nothing"


def _lines(fields: list[tuple[str, str]], width: int) -> list[Text]:
    """Return a label and its text a field, the text under itself where it is long.

    Paths and hashes are not broken, so that they can be copied.
    """
    room = max(20, min(width, _WIDEST) - _LABEL_WIDTH - 2)
    wrapper = textwrap.TextWrapper(room, break_on_hyphens=False, break_long_words=False)
    lines = []
    for label, text in fields:
        first, *others = wrapper.wrap(text) or [""]
        line = Text("  ").append(label.ljust(_LABEL_WIDTH), style="dim").append(first)
        lines += [line, *(Text(" " * (_LABEL_WIDTH + 2) + other) for other in others)]
    return lines
