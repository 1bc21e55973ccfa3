"""A folder of a training: what it is, whether it may go on, and what is kept of it.

Conventions: ``training.json`` says what decides the outcome (examples, plan, weights to begin
with); a training that differs is refused. ``card.json`` is written last: a folder that has one is
finished.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from earwitness import __version__
from earwitness.core.cards import DetectorCard, TrainingItems
from earwitness.core.errors import RunError
from earwitness.core.io import atomic_write, sha256_of, sweep, write_json
from earwitness.detectors.base import CARD_JSON
from earwitness.scoring.options import Resume
from earwitness.training.curves import CURVES_CSV, draw_curves
from earwitness.training.examples import Example, fingerprint, split_frame
from earwitness.training.trainer import CHECKPOINTS, TENSORBOARD, Trained

TRAINING_JSON, SPLIT_CSV = "training.json", "split.csv"
_LIBRARIES = ("torch", "pytorch-lightning", "numpy")


def begin(
    out: Path,
    train: Sequence[Example],
    valid: Sequence[Example],
    settings: Mapping[str, Any],
    *,
    test: Sequence[Example] = (),
    resume: Resume,
) -> None:
    """Write what a training is, after checking that it may go on in a folder.

    Raises:
        RunError: The folder holds a finished training, or another one.
    """
    path = out / TRAINING_JSON
    sides = {"train": train, "valid": valid, **({"test": test} if test else {})}
    now = {
        "examples": {side: fingerprint(examples) for side, examples in sides.items()},
        "settings": json.loads(json.dumps(settings)),
    }
    refuse_finished(out, resume=resume)
    if resume == "always":
        _forget(out)
    elif path.is_file():
        differences = list(_differences(_read(path), now))
        if differences:
            raise RunError(
                f"{path}: the training there is another one: {'; '.join(differences)}. Choose "
                "another folder, or --resume always to train anew"
            )
    write_json(path, now)
    with atomic_write(out / SPLIT_CSV) as temporary:
        split_frame(train, valid, test).write_csv(temporary)


def refuse_finished(out: Path, *, resume: Resume) -> None:
    """Refuse a folder that holds a finished training, unless it is to be trained anew.

    Raises:
        RunError: It does.
    """
    sweep(out, below=True)
    if resume != "always" and (out / CARD_JSON).is_file():
        drop_checkpoints(out)  # of a run that was killed after it had written the card
        raise RunError(
            f"{out}: holds a detector already, expected a new folder, or --resume always to train "
            "anew"
        )


def _forget(out: Path) -> None:
    for name in (CHECKPOINTS, TENSORBOARD):
        shutil.rmtree(out / name, ignore_errors=True)
    for name in (CARD_JSON, CURVES_CSV, TRAINING_JSON):
        (out / name).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {part: dict(content[part]) for part in ("examples", "settings")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as a training ({error})") from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    told = [
        f"other examples to {side} with"
        for side in ("train", "valid", "test")
        if before["examples"].get(side) != now["examples"].get(side)
    ]
    was, is_now = before["settings"], now["settings"]
    told += [
        f"{name} was {was.get(name)!r}, is {is_now.get(name)!r}"
        for name in sorted(was.keys() | is_now.keys())
        if was.get(name) != is_now.get(name)
    ]
    return told


def training_items(train: Sequence[Example]) -> TrainingItems:
    """Return hashes of what was learned from, so that exposure can be told later."""
    groups = {example.group for example in train}
    paths = {example.path for example in train}
    return TrainingItems(
        manifest_digest=fingerprint(train),
        n_items=len(train),
        item_sha256=tuple(sorted({sha256_of(path) for path in paths})),
        group_sha256=tuple(sorted(hashlib.sha256(g.encode()).hexdigest() for g in groups)),
    )


def origins(examples: Sequence[Example], otherwise: str) -> tuple[str, ...]:
    """Return the data sets and splits that examples are from."""
    return tuple(sorted({example.origin or otherwise for example in examples}))


def figures_of(trained: Trained, settings: Mapping[str, Any]) -> dict[str, float | int | str]:
    """Return what a card tells of a training: figures, settings, versions."""
    row = trained.best_row
    told: dict[str, float | int | str] = {
        "epochs": len(trained.rows),
        "best_epoch": trained.best_epoch,
        **{name: round(row[name], 6) for name in row if name.startswith("valid_")},
        "earwitness": __version__,
        **{name: version(name) for name in _LIBRARIES},
    }
    return told | {k: v for k, v in settings.items() if isinstance(v, (int, float, str))}


def save_state(state: Mapping[str, torch.Tensor], path: Path, card: DetectorCard) -> str:
    """Write a network's state as safetensors, atomically, and return its SHA-256."""
    plain = {name: values.cpu().contiguous() for name, values in state.items()}
    with atomic_write(path) as temporary:
        save_file(plain, temporary, metadata={"kind": card.kind})
    return sha256_of(path)


def draw(trained: Trained, out: Path, *, title: str) -> None:
    """Draw the curves; to be called before the card is written, which says that all is done."""
    draw_curves(trained.rows, out, title=title, best_epoch=trained.best_epoch)


def drop_checkpoints(out: Path) -> None:
    """Remove the checkpoints of a finished training."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
