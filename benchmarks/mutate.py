"""Mutation test of the metrics: break formulas on purpose and count how many the tests notice.

Every mutant changes one expression of ``src/earwitness/metrics``: an operator, a comparison, a
constant, a sign, a term or a function. It runs in a forked process, where an import hook compiles
the changed syntax tree in place of the file; nothing on disk changes. ``make mutate`` runs it.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "earwitness" / "metrics"
TESTS = (
    "tests/metrics/test_golden.py",
    "tests/contract/test_metrics.py",
    "tests/metrics",
    "tests/evaluation/test_calibration.py",
    "tests/cli/test_metric_plugins.py",
)
CPU_LIMIT_S = 40

SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
FUNCTIONS = {"min": "max", "max": "min", "argmin": "argmax", "argmax": "argmin"}
FUNCTIONS |= {"minimum": "maximum", "maximum": "minimum", "bisect_left": "bisect_right"}


class Mutant(NamedTuple):
    """A change of one expression.

    Attributes:
        module: Name of the module.
        line: Line of the expression.
        before: The expression.
        after: What it becomes.
        place: Its number in ``ast.walk``.
        number: Which of its changes.
    """

    module: str
    line: int
    before: str
    after: str
    place: int
    number: int

    @property
    def path(self) -> Path:
        return PACKAGE / f"{self.module}.py"

    def tree(self) -> ast.Module:
        """Return the changed module."""
        tree = ast.parse(self.path.read_text("utf-8"))
        node = list(ast.walk(tree))[self.place]
        assert isinstance(node, ast.expr)
        _replace(tree, node, _mutations(node)[self.number])
        return ast.fix_missing_locations(tree)


def mutants() -> Iterator[Mutant]:
    """Yield every mutant of every module."""
    for path in sorted(PACKAGE.glob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        skipped = _not_computed(tree)
        for place, node in enumerate(ast.walk(tree)):
            if not isinstance(node, ast.expr) or place in skipped:
                continue
            for number, new in enumerate(_mutations(node)):
                before, after = ast.unparse(node), ast.unparse(new)
                yield Mutant(path.stem, node.lineno, before, after, place, number)


def _not_computed(tree: ast.Module) -> set[int]:
    """Return the places of annotations, defaults of dataclasses and messages: not formulas."""
    left_out: set[int] = set()
    places = {id(node): n for n, node in enumerate(ast.walk(tree))}
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            parts = [node.returns, *(arg.annotation for arg in node.args.args)]
        elif isinstance(node, ast.JoinedStr):
            parts = [node]
        for part in parts:
            if part is not None:
                left_out |= {places[id(child)] for child in ast.walk(part)}
    return left_out


def _mutations(node: ast.expr) -> list[ast.expr]:
    """Return what an expression is changed to; nothing if it is of no such kind."""
    new = copy.deepcopy(node)
    match new:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) if type(op) in SWAPS:
            new.op = SWAPS[type(op)]()
            if isinstance(node, ast.BinOp) and isinstance(op, ast.Add | ast.Sub):
                return [new, copy.deepcopy(node.left)]
        case ast.Compare(ops=[op, *_]) if type(op) in SWAPS:
            new.ops[0] = SWAPS[type(op)]()
        case ast.UnaryOp(op=ast.USub() | ast.Invert() | ast.Not()):
            new = new.operand
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            new.value = 1 - value if value in (0, 1) else value + 1
        case ast.Attribute(attr=name) if name in FUNCTIONS:
            new.attr = FUNCTIONS[name]
        case ast.Name(id=name) if name in FUNCTIONS:
            new.id = FUNCTIONS[name]
        case _:
            return []
    return [new]


def _replace(tree: ast.Module, old: ast.expr, new: ast.expr) -> None:
    ast.copy_location(new, old)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])


class Hook(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):  # type: ignore[misc]
    """Imports one module from a syntax tree."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant, self.name = mutant, f"earwitness.metrics.{mutant.module}"

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        path = str(PACKAGE / f"{self.mutant.module}.py")
        return importlib.util.spec_from_file_location(name, path, loader=self)

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002
        return str(PACKAGE / f"{self.mutant.module}.py")

    def get_data(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.mutant.tree(), self.get_filename(fullname), "exec")
        return code


def is_killed(mutant: Mutant | None) -> bool:
    """Run the tests with a mutant in a forked process; a crash or a hang kills it as well."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT_S, CPU_LIMIT_S))
        if mutant is not None:
            sys.meta_path.insert(0, Hook(mutant))
        import pytest

        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *TESTS])
        os._exit(int(code))
    return os.waitpid(child, 0)[1] != 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=120, help="mutants, drawn at random (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--module", help="mutants of this module alone")
    options = parser.parse_args()
    os.chdir(ROOT)
    import polars as pl  # noqa: F401 - loaded once, in the parent
    import pydantic  # noqa: F401
    import scipy.optimize
    import scipy.stats  # noqa: F401
    import sklearn.metrics  # noqa: F401

    import earwitness.core.io  # noqa: F401

    assert not is_killed(None), "the tests fail without any mutant"
    every = [one for one in mutants() if options.module in (None, one.module)]
    draw = random.Random(options.seed)  # noqa: S311
    chosen = draw.sample(every, min(options.n or len(every), len(every)))
    survivors, start = [], time.monotonic()
    for mutant in sorted(chosen, key=lambda one: (one.module, one.line)):
        if not is_killed(mutant):
            survivors.append(mutant)
            print(
                f"survived: {mutant.module}.py:{mutant.line}: {mutant.before}  →  {mutant.after}",
                flush=True,
            )
    killed = len(chosen) - len(survivors)
    took = time.monotonic() - start
    print(f"killed {killed} of {len(chosen)} (of {len(every)} possible) in {took:.0f} s")


if __name__ == "__main__":
    main()
