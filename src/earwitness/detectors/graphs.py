"""A detector's network as a graph that can be written down and run elsewhere.

Conventions: the first output is the logit of the fake, ``(n,)``; what goes in are features, since
front ends (Fourier transforms in double precision) are not part of graphs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn


@dataclass(frozen=True, eq=False)
class Graph:
    """A network and what goes in and comes out.

    Attributes:
        network: Of features ``(n, …)``, a tuple of outputs.
        features: Of samples ``(n, n_samples)`` float32 as the detector's contract has them (mono,
            at its rate), what goes in.
        outputs: Names of what comes out.
        about: What the features are, in a sentence.
    """

    network: nn.Module
    features: Callable[[torch.Tensor], torch.Tensor]
    outputs: tuple[str, ...]
    about: str


@runtime_checkable
class HasGraph(Protocol):
    """A detector with a network."""

    def graph(self) -> Graph:
        """Return its network as a graph."""
        ...


class Judge(nn.Module):
    """A network, and what is made of it for a graph.

    Args:
        network: The network.
        judge: Of the network and features, a tuple of outputs.
    """

    def __init__(
        self,
        network: nn.Module,
        judge: Callable[[Any, torch.Tensor], tuple[torch.Tensor, ...]],
    ) -> None:
        super().__init__()
        self.network = network
        self._judge = judge

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs."""
        return self._judge(self.network, features)
