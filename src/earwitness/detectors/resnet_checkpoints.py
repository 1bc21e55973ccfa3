"""ResNet-18 checkpoints of training scripts, with torchvision's names.

A checkpoint is a state dict or contains one (``state_dict``, ``model``, …). Names may share a
prefix (``model.``, ``_orig_mod.module.``, …) or be numbered as in
``nn.Sequential(*resnet.children())``; the linear layer may have any name. Other tensors are errors.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file

from earwitness.core.cards import DetectorCard
from earwitness.core.errors import WeightsError
from earwitness.core.io import atomic_write, sha256_of
from earwitness.core.spectrogram import parse_classes
from earwitness.detectors.base import WEIGHTS_FILE, write_card
from earwitness.detectors.resnet import CARD_KEY, KIND
from earwitness.detectors.torch_file import read_content

_LAYERS = {"0": "conv1", "1": "bn1", "9": "fc"} | {str(n + 3): f"layer{n}" for n in range(1, 5)}
"""Index among a ResNet's children → name, of the layers with weights."""
_IGNORED = re.compile(r"(.*\.)?(criterion|\w*loss\w*|\w*(acc|auroc|f1|metric)\w*)\.")
"""State of losses and metrics in Lightning checkpoints."""

State = dict[str, torch.Tensor]


class Checkpoint(NamedTuple):
    """A checkpoint of an image network.

    Attributes:
        body: Tensors of all layers but the last, by torchvision's names.
        head: ``fc.weight`` and ``fc.bias``, or empty.
        others: Other tensors.
        classes: Class names by output, if the file has them.
    """

    body: State
    head: State
    others: State
    classes: tuple[str, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        WeightsError: The file cannot be read or contains no ResNet-18.
    """
    content = read_content(path)
    table = _find_table(content, path)
    prefix = _find_prefix(table, path)
    named = {_rename(name, prefix): values for name, values in table.items()}
    linear = [n.removesuffix(".weight") for n, v in named.items() if _is_linear(n, v)]
    if len(linear) > 1:
        shapes = (f"{stem}.weight {tuple(named[f'{stem}.weight'].shape)}" for stem in linear)
        raise WeightsError(f"{path}: {_join(list(shapes))}, expected one linear layer")
    heads = {f"{stem}.{part}": f"fc.{part}" for stem in linear for part in ("weight", "bias")}
    head = {heads[name]: values for name, values in named.items() if name in heads}
    if "fc.weight" in head:
        head.setdefault("fc.bias", head["fc.weight"].new_zeros(len(head["fc.weight"])))
    rest = {n: v for n, v in named.items() if n not in heads and not _IGNORED.match(n)}
    body = {n: v for n, v in rest.items() if n.partition(".")[0] in _LAYERS.values()}
    _check_depth(body, path)
    others = {name: values for name, values in rest.items() if name not in body}
    return Checkpoint(body, head, others, find_classes(content))


def _find_table(content: Any, path: Path) -> State:
    tables = [_tensors_in(part) for part in _walk(content, depth=3)]
    convolutional = [t for t in tables if any(v.ndim == 4 for v in t.values())]
    found = next(filter(_prefixes, convolutional), next(iter(convolutional), None))
    if found is None:
        if isinstance(content, Mapping):
            shown = f"a table of {_join(list(content))}" if content else "an empty table"
        else:
            shown = f"a whole pickled object of type {type(content).__name__}"
        raise WeightsError(
            f"{path}: {shown}, expected a table of tensors by name, as "
            "torch.save(model.state_dict(), path) writes it"
        )
    return found


def _walk(content: Any, depth: int) -> Iterator[Mapping[Any, Any]]:
    """Yield nested mappings, common names first and outer ones before inner ones."""
    if not isinstance(content, Mapping):
        return
    yield content
    if depth:
        common = [
            "state_dict",
            "model_state_dict",
            "model_state",
            "model",
            "network",
            "net",
            "weights",
        ]
        for name in dict.fromkeys([*(name for name in common if name in content), *content]):
            yield from _walk(content[name], depth - 1)


def _tensors_in(table: Mapping[Any, Any]) -> State:
    return {
        name: values
        for name, values in table.items()
        if isinstance(name, str) and isinstance(values, torch.Tensor)
    }


def _find_prefix(table: State, path: Path) -> str:
    """Return the common prefix of the network's names; ``WeightsError`` unless there is one."""
    found = _prefixes(table)
    if not found:
        raise WeightsError(
            f"{path}: no ResNet among its {len(table)} tensors ({_join(list(table))}), expected a "
            "ResNet-18 with torchvision's names (conv1.weight, layer1.0.conv1.weight, …), with or "
            "without a prefix"
        )
    if len(found) > 1:
        shown = ", ".join(repr(prefix) for prefix in found)
        raise WeightsError(f"{path}: {len(found)} networks, below {shown}; expected one")
    return found[0]


def _prefixes(table: State) -> list[str]:
    return [
        name.removesuffix(stem)
        for stem, inner in (("conv1.weight", "layer1.0."), ("0.weight", "4.0."))
        for name, values in table.items()
        if name.endswith(stem)
        and values.shape[2:] == (7, 7)
        and f"{name.removesuffix(stem)}{inner}conv1.weight" in table
    ]


def _rename(name: str, prefix: str) -> str:
    """Return torchvision's name of a tensor of the network; other names unchanged."""
    if not name.startswith(prefix):
        return name
    first, dot, rest = name.removeprefix(prefix).partition(".")
    return _LAYERS.get(first, first) + dot + rest


def _is_linear(name: str, values: torch.Tensor) -> bool:
    return name.endswith(".weight") and values.ndim == 2 and not _IGNORED.match(name)


def _check_depth(body: State, path: Path) -> None:
    """Raise ``WeightsError`` for a deeper ResNet, by its name."""
    names: dict[tuple[bool, tuple[int, ...]], str] = {
        (False, (3, 4, 6, 3)): "ResNet-34",
        (True, (3, 4, 6, 3)): "ResNet-50",
        (True, (3, 4, 23, 3)): "ResNet-101",
        (True, (3, 8, 36, 3)): "ResNet-152",
    }
    blocks = tuple(
        len({n.split(".")[1] for n in body if n.startswith(f"layer{layer}.")})
        for layer in range(1, 5)
    )
    if name := names.get(("layer1.0.conv3.weight" in body, blocks)):
        raise WeightsError(f"{path}: a {name}, expected a ResNet-18")


def find_classes(content: Any) -> tuple[str, ...]:
    """Return the class names in the content of a checkpoint, by output, or an empty tuple."""
    if not isinstance(content, Mapping):
        return ()
    keys = ("hyper_parameters", "hparams", "config", "args", "meta", "metadata")
    for settings in (content, *(content.get(name) for name in keys)):
        for names in _class_lists(settings) if isinstance(settings, Mapping) else ():
            if parse_classes(names) is not None:
                return names
    return ()


def _class_lists(settings: Mapping[Any, Any]) -> Iterator[tuple[str, ...]]:
    numbers = settings.get("class_to_idx")
    if isinstance(numbers, Mapping) and sorted(map(str, numbers.values())) == ["0", "1"]:
        yield tuple(str(name) for name in sorted(numbers, key=lambda name: str(numbers[name])))
    names = settings.get("idx_to_class")
    if isinstance(names, Mapping) and sorted(map(str, names)) == ["0", "1"]:
        yield tuple(str(names[number]) for number in sorted(names, key=str))
    for key in ("classes", "class_names", "label_names", "labels"):
        listed = settings.get(key)
        if isinstance(listed, list | tuple) and all(isinstance(name, str) for name in listed):
            yield tuple(listed)


def _join(names: Collection[object]) -> str:
    shown = [str(name)[:60] for name in names][:4]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def save_resnet(
    card: DetectorCard,
    states: Mapping[str, Mapping[str, torch.Tensor]],
    folder: Path,
    *,
    published: bool = False,
    beside: Callable[[DetectorCard], object] = lambda _: None,
) -> DetectorCard:
    """Write a trained network atomically, its card last, and return its card.

    Args:
        card: Its card, without hashes.
        states: Stem of a ``.pth`` → state dict; the first is also written as
            ``weights.safetensors``, with its card.
        folder: Output folder.
        published: Write each ``.pth`` like the published training script: output 0 is the
            deepfake, and the linear layer is ``fc.1``, after dropout.
        beside: Called with the card, to write further files before the card.
    """
    if published:
        turned = parse_classes(card.classes) == 1
        states = {stem: _two_outputs(state, turned=turned) for stem, state in states.items()}
        names = card.classes[::-1] if turned else card.classes
        card = card.model_copy(update={"classes": names})
    hashes: dict[str, float | int | str] = {}
    for stem, state in states.items():
        path = folder / f"{stem}.pth"
        content = io.BytesIO()  # torch.save includes the name of a file
        torch.save(_contiguous(_behind_dropout(state) if published else state), content)
        with atomic_write(path) as temporary:
            temporary.write_bytes(content.getvalue())
        hashes[f"sha256 {path.name}"] = sha256_of(path)
    details = {n: v for n, v in card.details.items() if not n.startswith("sha256 ")}
    card = card.model_copy(update={"details": details | hashes, "weights_sha256": None})
    path = folder / WEIGHTS_FILE
    with atomic_write(path) as temporary:
        metadata = {"kind": KIND, CARD_KEY: card.model_dump_json()}
        save_file(_contiguous(next(iter(states.values()))), temporary, metadata=metadata)
    card = card.model_copy(update={"weights_sha256": sha256_of(path)})
    beside(card)
    write_card(card, folder)
    return card


def _two_outputs(state: Mapping[str, torch.Tensor], *, turned: bool) -> dict[str, torch.Tensor]:
    """Return a state dict with two outputs, in reversed order if ``turned``."""
    changed = dict(state)
    for name in ("fc.weight", "fc.bias"):
        rows = state[name]
        rows = rows if len(rows) == 2 else torch.cat([torch.zeros_like(rows), rows])
        changed[name] = rows.flip(0) if turned else rows
    return changed


def _behind_dropout(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("fc.", "fc.1.", 1): values for name, values in state.items()}


def _contiguous(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: values.detach().cpu().contiguous() for name, values in state.items()}
