"""Foreign objects beside tensors in a PyTorch file: passed over, never built.

Conventions: PyTorch's own unpickler for tensors and plain containers (``weights_only=True``) reads
the file. Whatever class or function the file names beyond those becomes a ``Placeholder``: nothing
of that name is imported or called. So a checkpoint that keeps a NumPy score or a namespace of
options beside its tensors can be read, and a whole pickled model is told by its class.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch


class Placeholder:
    """What stands for a foreign object; it takes any arguments and state and forgets them."""

    def __new__(cls, *_: Any, **__: Any) -> Placeholder:
        """Take any arguments, also those that ``copyreg`` passes."""
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Forget a state."""


def load_tensors(path: Path) -> Any:
    """Return what a PyTorch file holds: tensors, plain containers, placeholders.

    Raises:
        pickle.UnpicklingError: The file is damaged, of the format before PyTorch 1.6 with foreign
            objects in it, or names what PyTorch blocks outright.
    """
    with _standing_in(path):
        return torch.load(path, map_location="cpu", weights_only=True)


def _standing_in(path: Path) -> contextlib.AbstractContextManager[object]:
    serialization: Any = torch.serialization
    if not hasattr(serialization, "get_unsafe_globals_in_checkpoint"):
        return contextlib.nullcontext()
    try:
        names = serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # noqa: BLE001 - whatever is wrong with the file, torch.load says it
        return contextlib.nullcontext()
    kinds = [(type(name.rpartition(".")[2], (Placeholder,), {}), name) for name in names]
    allowed: contextlib.AbstractContextManager[object] = serialization.safe_globals(kinds)
    return allowed
