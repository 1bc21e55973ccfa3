from __future__ import annotations

import pytest

from earwitness.core.errors import DetectorError
from earwitness.core.registry import Registry, nearest


@pytest.fixture
def registry() -> Registry:
    table = Registry("detector", DetectorError)
    table.add("specnn_amplitude", "json:dumps")
    return table


def test_loads_what_a_name_stands_for(registry: Registry) -> None:
    assert registry.load("specnn_amplitude")({"a": 1}) == '{"a": 1}'


def test_a_typo_gets_a_suggestion(registry: Registry) -> None:
    with pytest.raises(DetectorError, match=r"no detector named 'specnn'; did you mean 'specnn_a"):
        registry.load("specnn")


def test_something_else_gets_the_list(registry: Registry) -> None:
    with pytest.raises(DetectorError, match="'zzz'; known: specnn_amplitude"):
        registry.load("zzz")


def test_a_name_is_taken_once(registry: Registry) -> None:
    with pytest.raises(ValueError, match="two detectors are named 'specnn_amplitude'"):
        registry.add("specnn_amplitude", "json:loads")


def test_nearest_says_nothing_when_nothing_is_near() -> None:
    assert nearest("abc", ["xyz"]) == ""
