"""Lazy tables of plug-ins: a name and where its code lives.

Convention: nothing is imported until it is asked for, so listing names costs nothing.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from typing import Any

from earwitness.core.errors import EarwitnessError


def nearest(word: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, or ``""``."""
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


class Registry:
    """Names of one kind of plug-in, each with the ``"module:attribute"`` that holds it.

    Args:
        kind: What the names stand for, as error messages say it ("detector").
        error: The error raised for a name that is not registered.
    """

    def __init__(self, kind: str, error: type[EarwitnessError] = EarwitnessError) -> None:
        self._kind = kind
        self._error = error
        self._targets: dict[str, str] = {}

    def add(self, name: str, target: str) -> None:
        """Register ``name`` as living at ``target`` ("module:attribute").

        Raises:
            ValueError: ``name`` is taken already.
        """
        if name in self._targets:
            taken = self._targets[name]
            raise ValueError(f"two {self._kind}s are named {name!r}: {taken} and {target}")
        self._targets[name] = target

    def load(self, name: str) -> Any:
        """Import and return what ``name`` stands for.

        Raises:
            EarwitnessError: No such name (of the type given to the registry).
        """
        if name not in self._targets:
            hint = nearest(name, list(self._targets)) or f"; known: {', '.join(sorted(self))}"
            raise self._error(f"no {self._kind} named {name!r}{hint}")
        module, _, attribute = self._targets[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)
