"""Training a task into a folder.

Conventions: ``training.json`` records examples, hyperparameters and initial weights; a different
training is refused. ``card.json`` is written last: a folder with one is finished.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from earwitness import __version__
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import RunError
from earwitness.core.io import atomic_write, sweep, write_json
from earwitness.detectors.base import CARD_JSON
from earwitness.scoring.options import Resume
from earwitness.training.curves import CURVES_CSV, Callbacks, draw_curves
from earwitness.training.examples import Example, fingerprint, split_frame
from earwitness.training.task import (
    TRAINING_JSON,
    Details,
    Hardware,
    HeldOut,
    TrainConfig,
    Trained,
    TrainingTask,
)
from earwitness.training.trainer import CHECKPOINTS, TENSORBOARD, fit


@dataclass(frozen=True)
class TrainedDetector:
    """Card, weights and learning curves of a trained detector, and metrics of the test, if any."""

    card: DetectorCard
    trained: Trained
    test: HeldOut | None = None


def train(
    task: TrainingTask,
    config: TrainConfig,
    out: Path,
    *,
    resume: Resume = "missing",
    hardware: Hardware | None = None,
    callbacks: Callbacks | None = None,
    on_note: Callable[[str], None] = lambda _: None,
) -> TrainedDetector:
    """Train a detector, or resume after the last whole epoch of an interrupted call.

    The name of ``out`` is the detector's; ``on_note`` is called with each anomaly of the data.

    Raises:
        RunError: The folder contains another training, a finished one, or foreign weights.
        StoppedError: ``callbacks.should_stop`` returned true; the same call resumes.
    """
    task.check_folder(out)
    settings = {**task.settings, **asdict(config)}
    begin(out, task.train, task.valid, settings, test=task.test, resume=resume)
    for note in task.check_data():
        on_note(note)
    hardware = hardware or Hardware()
    trained = fit(task, config, out, hardware=hardware, callbacks=callbacks)
    card = task.make_card(out.resolve().name, _details(trained, settings))
    test = task.evaluate(trained, card, out, hardware)
    if test:
        card = card.model_copy(update={"details": card.details | test.details})
    draw_curves(trained.rows, out, title=card.name, best_epoch=trained.best_epoch)
    card = task.save(trained, card, out)
    _drop_checkpoints(out)
    return TrainedDetector(card, trained, test)


def begin(
    out: Path,
    train: Sequence[Example],
    valid: Sequence[Example],
    settings: Mapping[str, Any],
    *,
    test: Sequence[Example] = (),
    resume: Resume,
) -> None:
    """Write ``training.json`` and ``split.csv``; ``RunError`` in the folder of another training."""
    path = out / TRAINING_JSON
    splits = {"train": train, "valid": valid, **({"test": test} if test else {})}
    now = {
        "examples": {split: fingerprint(examples) for split, examples in splits.items()},
        "settings": json.loads(json.dumps(settings)),
    }
    refuse_finished(out, resume=resume)
    if resume == "always":
        for name in (CHECKPOINTS, TENSORBOARD):
            shutil.rmtree(out / name, ignore_errors=True)
        for name in (CARD_JSON, CURVES_CSV, TRAINING_JSON):
            (out / name).unlink(missing_ok=True)
    elif path.is_file():
        differences = list(_differences(_read(path), now))
        if differences:
            raise RunError(
                f"{path}: from another training: {'; '.join(differences)}. Choose another folder, "
                "or --resume always to start over"
            )
    write_json(path, now)
    with atomic_write(out / "split.csv") as temporary:
        split_frame(train, valid, test).write_csv(temporary)


def refuse_finished(out: Path, *, resume: Resume) -> None:
    """Raise ``RunError`` if a folder has a finished training, unless ``resume`` is ``always``."""
    sweep(out, below=True)
    if resume != "always" and (out / CARD_JSON).is_file():
        _drop_checkpoints(out)  # of a run that was killed after it had written the card
        raise RunError(
            f"{out}: contains a detector already, expected a new folder, or --resume always to "
            "start over"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {part: dict(content[part]) for part in ("examples", "settings")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as a training ({error})") from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = [
        f"other {split} examples"
        for split in ("train", "valid", "test")
        if before["examples"].get(split) != now["examples"].get(split)
    ]
    was, is_now = before["settings"], now["settings"]
    found += [
        f"{name} was {was.get(name)!r}, is {is_now.get(name)!r}"
        for name in sorted(was.keys() | is_now.keys())
        if was.get(name) != is_now.get(name)
    ]
    return found


def _details(trained: Trained, settings: Mapping[str, Any]) -> Details:
    """Return the details of a card: metrics, settings and versions."""
    row = trained.best_row
    details: Details = {
        "epochs": len(trained.rows),
        "best_epoch": trained.best_epoch,
        **{name: round(row[name], 6) for name in row if name.startswith("valid_")},
        "earwitness": __version__,
        **{name: version(name) for name in ("torch", "pytorch-lightning", "numpy")},
    }
    return details | {k: v for k, v in settings.items() if isinstance(v, (int, float, str))}


def _drop_checkpoints(out: Path) -> None:
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
