"""Checkpoints of ResNet-18 as training scripts write them, by torchvision's names.

Conventions: a checkpoint is the table of tensors itself or holds it at some depth (``state_dict``,
``model``, …). All names of the network may have one prefix (``model.``, ``_orig_mod.module.``, …),
its layers may be numbered as in ``nn.Sequential(*resnet.children())``, and the one linear layer may
have any name (``fc.1`` behind dropout). Nothing is guessed beyond that: whatever else is there is
refused by name.
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

_TABLES = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "weights")
_MAX_DEPTH = 3
_STEM_SHAPE = (7, 7)
_CHILDREN = {
    "0": "conv1",
    "1": "bn1",
    "4": "layer1",
    "5": "layer2",
    "6": "layer3",
    "7": "layer4",
    "9": "fc",
}
"""Numbers of the layers that have weights among a ResNet's children."""
_IGNORED = re.compile(r"(.*\.)?(criterion|\w*loss\w*|\w*(acc|auroc|f1|metric)\w*)\.")
"""State of losses and metrics that Lightning keeps beside the network."""
_DEPTHS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "ResNet-18",
    (False, (3, 4, 6, 3)): "ResNet-34",
    (True, (3, 4, 6, 3)): "ResNet-50",
    (True, (3, 4, 23, 3)): "ResNet-101",
    (True, (3, 8, 36, 3)): "ResNet-152",
}
_CLASS_LISTS = ("classes", "class_names", "label_names", "labels")
_SETTINGS = ("hyper_parameters", "hparams", "config", "args", "meta", "metadata")
_N_SHOWN = 4

State = dict[str, torch.Tensor]


class Checkpoint(NamedTuple):
    """A checkpoint of an image network.

    Attributes:
        body: Everything but the linear layer, by torchvision's names.
        head: ``fc.weight`` and ``fc.bias``; empty where there is no linear layer.
        others: Tensors that belong to neither.
        classes: What the outputs stand for, where the file says it; else empty.
    """

    body: State
    head: State
    others: State
    classes: tuple[str, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, see above.

    Raises:
        WeightsError: The file cannot be read, or holds no ResNet-18; the message names what it
            holds.
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
    body = {n: v for n, v in rest.items() if n.partition(".")[0] in _CHILDREN.values()}
    _check_depth(body, path)
    others = {name: values for name, values in rest.items() if name not in body}
    return Checkpoint(body, head, others, find_classes(content))


def _find_table(content: Any, path: Path) -> State:
    tables = [_tensors_in(part) for part in _walk(content, _MAX_DEPTH)]
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
    """Yield tables, the usual names first and outer ones before inner ones."""
    if not isinstance(content, Mapping):
        return
    yield content
    if depth:
        usual = [name for name in _TABLES if name in content]
        for name in (*usual, *(name for name in content if name not in usual)):
            yield from _walk(content[name], depth - 1)


def _tensors_in(table: Mapping[Any, Any]) -> State:
    return {
        name: values
        for name, values in table.items()
        if isinstance(name, str) and isinstance(values, torch.Tensor)
    }


def _find_prefix(table: State, path: Path) -> str:
    """Return the prefix of the names of the network.

    Raises:
        WeightsError: There is no network of this kind, or more than one.
    """
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
        and values.shape[2:] == _STEM_SHAPE
        and f"{name.removesuffix(stem)}{inner}conv1.weight" in table
    ]


def _rename(name: str, prefix: str) -> str:
    """Return torchvision's name of a tensor of the network, and the own name of any other."""
    if not name.startswith(prefix):
        return name
    first, dot, rest = name.removeprefix(prefix).partition(".")
    return _CHILDREN.get(first, first) + dot + rest


def _is_linear(name: str, values: torch.Tensor) -> bool:
    return name.endswith(".weight") and values.ndim == 2 and not _IGNORED.match(name)


def _check_depth(body: State, path: Path) -> None:
    """Refuse the deeper networks of the family by their name."""
    blocks = tuple(
        len({n.split(".")[1] for n in body if n.startswith(f"layer{layer}.")})
        for layer in range(1, 5)
    )
    name = _DEPTHS.get(("layer1.0.conv3.weight" in body, blocks), "ResNet-18")
    if name != "ResNet-18":
        raise WeightsError(f"{path}: a {name}, expected a ResNet-18")


def find_classes(content: Any) -> tuple[str, ...]:
    """Return the names of a network's outputs by number, where its checkpoint says them.

    Args:
        content: What a checkpoint file holds.
    """
    if not isinstance(content, Mapping):
        return ()
    for settings in (content, *(content.get(name) for name in _SETTINGS)):
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
    for key in _CLASS_LISTS:
        listed = settings.get(key)
        if isinstance(listed, list | tuple) and all(isinstance(name, str) for name in listed):
            yield tuple(listed)


def _join(names: Collection[object]) -> str:
    shown = [str(name)[:60] for name in names][:_N_SHOWN]
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
    """Write a trained network, atomically and the card last, and return its card.

    Every state goes into a plain ``.pth``; the first one is the detector's, and goes into
    ``weights.safetensors`` with its card as well.

    Args:
        card: Its card, without hashes.
        states: Stem of the ``.pth`` → tensors by torchvision's names; the detector's comes first.
        folder: Where they go.
        published: Write each ``.pth`` in the shape of the published training script: output 0 is
            the deepfake, and the linear layer is ``fc.1``, behind dropout. The card says so.
        beside: Writes what else belongs into the folder, given the card, before the card is there.
    """
    if published:
        turned = parse_classes(card.classes) == 1
        states = {stem: _two_outputs(state, turned=turned) for stem, state in states.items()}
        names = card.classes[::-1] if turned else card.classes
        card = card.model_copy(update={"classes": names})
    hashes: dict[str, float | int | str] = {}
    for stem, state in states.items():
        path = folder / f"{stem}.pth"
        content = io.BytesIO()  # a file's own name would be part of what is saved
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
    """Return a state with two outputs, in reversed order where ``turned``."""
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
