"""Checkpoints of ResNet-18 in the shapes that training scripts leave."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Callable, Mapping

import numpy as np
import torch

State = Mapping[str, torch.Tensor]
_CHILDREN = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")


def prefixed(state: State, prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: values for name, values in state.items()}


def behind_dropout(state: State, stem: str = "fc.1") -> dict[str, torch.Tensor]:
    """Return the state of a network whose linear layer has another name."""
    return {n.replace("fc.", f"{stem}.", 1): v for n, v in state.items()}


def numbered(state: State, prefix: str) -> dict[str, torch.Tensor]:
    """Return the state of ``nn.Sequential(*list(resnet.children())[:-1])`` and a linear layer."""
    named = {}
    for name, values in state.items():
        first, _, rest = name.partition(".")
        own = f"{prefix}{_CHILDREN.index(first)}.{rest}" if first != "fc" else f"classifier.{rest}"
        named[own] = values
    return named


def lightning(state: State) -> dict[str, object]:
    moments = {n: {"exp_avg": v.clone()} for n, v in enumerate(state.values())}
    return {
        "epoch": 3,
        "global_step": 40,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed(state, "model.") | {"criterion.weight": torch.ones(2)},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": 0.5}},
        "optimizer_states": [{"state": moments, "param_groups": [{"lr": 1e-3}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 1e-3, "dropout": 0.3},
    }


SHAPES: dict[str, Callable[[State], object]] = {
    "plain": dict,
    "ordered": OrderedDict,
    "old": lambda s: {n: v for n, v in s.items() if not n.endswith("num_batches_tracked")},
    "fc.1": behind_dropout,
    "fc.4": lambda s: behind_dropout(s, "fc.4"),
    "head": lambda s: behind_dropout(s, "head"),
    "state_dict": lambda s: {"epoch": 3, "state_dict": s},
    "model_state_dict": lambda s: {
        "model_state_dict": behind_dropout(s),
        "optimizer_state_dict": {"state": {0: {"exp_avg": s["conv1.weight"]}}},
        "best_acc": 0.9,
    },
    "model": lambda s: {"model": s, "optimizer": {}, "arch": "resnet18"},
    "model and state_dict": lambda s: {"model": "resnet18", "state_dict": s},
    "nested": lambda s: {"checkpoint": {"model": {"state_dict": s}}},
    "unusual": lambda s: {"optimizer": {"m": s["conv1.weight"]}, "classifier_weights": dict(s)},
    "module.": lambda s: prefixed(s, "module."),
    "model.": lambda s: prefixed(behind_dropout(s), "model."),
    "net.": lambda s: prefixed(s, "net."),
    "backbone.": lambda s: prefixed(s, "backbone."),
    "_orig_mod.": lambda s: prefixed(behind_dropout(s), "_orig_mod."),
    "stacked": lambda s: {"state_dict": prefixed(behind_dropout(s), "_orig_mod.module.model.")},
    "head beside the backbone": lambda s: {
        (n if n.startswith("fc.") else f"backbone.{n}"): v for n, v in s.items()
    },
    "head below another name": lambda s: {
        (f"model.classifier.2.{n[3:]}" if n.startswith("fc.") else f"model.features.{n}"): v
        for n, v in s.items()
    },
    "numbered": lambda s: numbered(s, "backbone."),
    "lightning": lightning,
    "numpy score": lambda s: {"state_dict": s, "best": np.float64(0.5), "curve": np.ones(3)},
    "namespace": lambda s: lightning(s) | {"hyper_parameters": argparse.Namespace(lr=1e-3)},
}
"""What a training script saves of a network, by its state in torchvision's names."""
