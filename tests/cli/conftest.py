from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from earwitness.cli import console, main

WIDTH = 120
"""Columns of the terminal, whatever that of the tests has."""


class Outcome(NamedTuple):
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``earwitness`` in this process, as the installed command does."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for printed in (console.out, console.err):
        monkeypatch.setattr(printed, "width", WIDTH)

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["earwitness", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capsys.readouterr())

    return call
