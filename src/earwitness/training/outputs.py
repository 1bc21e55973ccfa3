"""What tasks write of a trained detector: hashes of training items, data sets, weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from earwitness.core.cards import DetectorCard, TrainingItems
from earwitness.core.io import atomic_write, sha256_of
from earwitness.training.examples import Example, fingerprint

OWN_AUDIO = "audio of one's own"


def training_items(train: Sequence[Example]) -> TrainingItems:
    """Return hashes of the training items, so that exposure can be detected later."""
    groups = {example.group for example in train}
    paths = {example.path for example in train}
    return TrainingItems(
        manifest_digest=fingerprint(train),
        n_items=len(train),
        item_sha256=tuple(sorted({sha256_of(path) for path in paths})),
        group_sha256=tuple(sorted(hashlib.sha256(g.encode()).hexdigest() for g in groups)),
    )


def list_origins(examples: Sequence[Example], otherwise: str) -> tuple[str, ...]:
    """Return the data sets and splits that examples are from."""
    return tuple(sorted({example.origin or otherwise for example in examples}))


def save_weights(state: Mapping[str, torch.Tensor], path: Path, card: DetectorCard) -> DetectorCard:
    """Write a state as safetensors, atomically, and return the card with its SHA-256."""
    plain = {name: values.cpu().contiguous() for name, values in state.items()}
    with atomic_write(path) as temporary:
        save_file(plain, temporary, metadata={"kind": card.kind})
    return card.model_copy(update={"weights_sha256": sha256_of(path)})
