"""Registries of plug-ins by name: built in, or from entry points of other packages.

Conventions: names are listed without importing anything. A broken plug-in is reported in one line
and left out.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import logging
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import Any

from earwitness.core.errors import EarwitnessError

_NAME = re.compile(r"\w[\w.-]*")
_log = logging.getLogger("earwitness")


def nearest(word: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, or ``""``."""
    matches = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""


class Registry:
    """Plug-ins of one kind by name.

    Args:
        kind: Kind of plug-in for error messages ("detector").
        error: Type of error for a name that is unknown or cannot be loaded.
        group: Entry point group of other packages' plug-ins.
        accepts: Whether an object from an entry point can be used.
        expected: What ``accepts`` requires, for the message.
    """

    def __init__(
        self,
        kind: str,
        error: type[EarwitnessError] = EarwitnessError,
        *,
        group: str | None = None,
        accepts: Callable[[Any], bool] = callable,
        expected: str = "a function",
    ) -> None:
        self._kind = kind
        self._error = error
        self._group = group
        self._accepts = accepts
        self._expected = expected
        self._built_in: dict[str, Any] = {}
        self._noted: set[str] = set()

    def add(self, name: str, target: Any) -> None:
        """Register an object, or the place to import it from ("module:attribute"), once."""
        if name in self._built_in:
            taken = self._built_in[name]
            raise ValueError(f"two {self._kind}s are named {name!r}: {taken} and {target}")
        self._built_in[name] = target

    def load(self, name: str) -> Any:
        """Return an object, imported if needed; the registry's ``error`` if unknown or broken."""
        if name in self._built_in:
            target = self._built_in[name]
            if not isinstance(target, str):
                return target
            module, _, attribute = target.partition(":")
            return getattr(importlib.import_module(module), attribute)
        plugins = self._plugins()
        if name not in plugins:
            hint = nearest(name, list(self)) or f"; known: {', '.join(sorted(self))}"
            raise self._error(f"no {self._kind} named {name!r}{hint}")
        return self._load_plugin(plugins[name])

    def items(self) -> Iterator[tuple[str, Any]]:
        """Yield all names and objects, importing them; broken plug-ins are left out."""
        for name in self:
            with self.tolerate(name):
                yield name, self.load(name)

    @contextlib.contextmanager
    def tolerate(self, name: str) -> Iterator[None]:
        """Report errors of a plug-in and continue; errors of built-in code are raised."""
        try:
            yield
        except (Exception, SystemExit) as error:
            if name in self._built_in:
                raise
            known = isinstance(error, EarwitnessError)
            problem = str(error) if known else f"{self._kind} {name!r}: {summarize_error(error)}"
            self.skip(problem)

    def skip(self, problem: str) -> None:
        """Log, once, that a plug-in is left out; ``problem`` names it."""
        if problem not in self._noted:
            self._noted.add(problem)
            _log.warning("%s; left out", problem)

    def is_built_in(self, name: str) -> bool:
        """Return whether a name is registered by this package."""
        return name in self._built_in

    def __contains__(self, name: object) -> bool:
        return name in self._built_in or name in self._plugins()

    def __iter__(self) -> Iterator[str]:
        return iter([*self._built_in, *self._plugins()])

    def _plugins(self) -> dict[str, EntryPoint]:
        """Return the entry points of other packages by name."""
        found: dict[str, EntryPoint] = {}
        for entry in _find_entry_points(self._group, tuple(sys.path)) if self._group else ():
            if not _NAME.fullmatch(entry.name):
                problem = "expected a name of letters, digits, '_', '-' and '.'"
            elif entry.name in self._built_in:
                problem = f"earwitness has a {self._kind} of that name"
            elif entry.name in found and entry.value == found[entry.name].value:
                continue
            elif entry.name in found:
                problem = f"{_package(found[entry.name])} has a {self._kind} of that name"
            else:
                found[entry.name] = entry
                continue
            self.skip(f"{self._describe(entry)}: {problem}")
        return found

    def _load_plugin(self, entry: EntryPoint) -> Any:
        try:
            value = entry.load()
        except (Exception, SystemExit) as error:
            raise self._error(f"{self._describe(entry)}: {summarize_error(error)}") from error
        if not self._accepts(value):
            raise self._error(
                f"{self._describe(entry)}: {entry.value} is of type {type(value).__name__}, "
                f"expected {self._expected}"
            )
        return value

    def _describe(self, entry: EntryPoint) -> str:
        return f"{self._kind} {entry.name!r} of {_package(entry)}"


def list_plugins(group: str) -> dict[str, str]:
    """Return where each plug-in of a group of entry points comes from, by name, unimported."""
    return {
        f"plug-in {entry.name}": f"{entry.value} of {_package(entry)}"
        + (f" {entry.dist.version}" if entry.dist is not None else "")
        for entry in _find_entry_points(group, tuple(sys.path))
    }


def summarize_error(error: BaseException) -> str:
    """Return the type and the first line of an exception from foreign code."""
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _package(entry: EntryPoint) -> str:
    distribution = entry.dist
    return f"package {distribution.name}" if distribution is not None else "a package"


@functools.lru_cache(maxsize=16)
def _find_entry_points(group: str, search_path: tuple[str, ...]) -> list[EntryPoint]:  # noqa: ARG001 - a key
    """Return the entry points of all packages in a group, in a fixed order."""
    try:
        found = list(entry_points(group=group))
    except Exception:  # noqa: BLE001 - one package's damaged file must not hide the others
        found = []
        for distribution in distributions():
            try:
                found += distribution.entry_points.select(group=group)
            except Exception as error:  # noqa: BLE001 - as above
                problem = summarize_error(error)
                _log.warning("package %s: entry_points.txt: %s", distribution.name, problem)
    return sorted(found, key=lambda entry: (entry.name, entry.value))
