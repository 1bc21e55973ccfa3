"""The public face: every name is there, and reaching for none of them costs nothing."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import earwitness


@pytest.mark.parametrize("name", earwitness.__all__)
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(earwitness, name)
    own_name = {"report": "write_report"}.get(name, name)
    assert own_name in ("__version__", getattr(value, "__name__", None))
    assert value.__doc__


def test_functions_keep_their_names_when_rooms_of_the_same_name_are_imported() -> None:
    for room in ("audit.schema", "listen.results", "report.page"):
        importlib.import_module(f"earwitness.{room}")
    for name in ("audit", "listen", "report"):
        assert callable(getattr(earwitness, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'predikt'"):
        _ = earwitness.predikt


def test_importing_loads_neither_torch_nor_polars() -> None:
    code = "import earwitness, sys; assert not {'torch', 'polars'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
