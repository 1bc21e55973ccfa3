from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from earwitness.core.errors import DetectorError
from earwitness.core.registry import Registry, nearest

GROUP = "earwitness.toys"
Install = Callable[..., Path]


@pytest.fixture
def registry() -> Registry:
    table = Registry("detector", DetectorError, group=GROUP)
    table.add("specnn_amplitude", "json:dumps")
    return table


def test_loads_what_a_name_stands_for(registry: Registry) -> None:
    assert registry.load("specnn_amplitude")({"a": 1}) == '{"a": 1}'


def test_a_value_can_be_registered_itself(registry: Registry) -> None:
    registry.add("seven", 7)
    assert registry.load("seven") == 7


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


def test_another_package_registers_a_name(registry: Registry, install: Install) -> None:
    install("toys", "louder = json:loads")
    assert list(registry) == ["specnn_amplitude", "louder"]
    assert "louder" in registry
    assert not registry.is_built_in("louder")
    assert registry.load("louder")("[1]") == [1]


def test_names_are_listed_without_an_import(registry: Registry, install: Install) -> None:
    folder = install("toys", "louder = toys_code:louder")
    (folder / "toys_code.py").write_text("raise SystemExit('imported')")
    assert list(registry) == ["specnn_amplitude", "louder"]


def test_a_registry_takes_its_own_group_alone(registry: Registry, install: Install) -> None:
    install("toys", "louder = json:loads", group="earwitness.others")
    assert list(registry) == ["specnn_amplitude"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("no_such_module:f", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("json:no_such_name", "AttributeError: module 'json' has no attribute 'no_such_name'"),
        ("json:__name__", "json:__name__ is of type str, expected a function"),
        ("toys_code:f", "RuntimeError: first line"),
        ("toys_exit:f", "SystemExit: 3"),
    ],
)
def test_a_broken_plug_in_is_reported_once_and_left_out(
    registry: Registry,
    install: Install,
    caplog: pytest.LogCaptureFixture,
    target: str,
    problem: str,
) -> None:
    folder = install("toys", "fine = json:loads", f"louder = {target}")
    (folder / "toys_code.py").write_text("raise RuntimeError('first line\\nsecond line')")
    (folder / "toys_exit.py").write_text("raise SystemExit(3)")
    for _ in range(2):
        assert [name for name, _ in registry.items()] == ["specnn_amplitude", "fine"]
    named = f"detector 'louder' of package toys: {problem}"
    assert caplog.messages == [f"{named}; left out"]
    with pytest.raises(DetectorError) as raised:
        registry.load("louder")
    assert str(raised.value) == named


def test_a_plug_in_cannot_take_a_built_in_name(
    registry: Registry, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("toys", "specnn_amplitude = json:loads")
    assert list(registry) == ["specnn_amplitude"]
    assert registry.load("specnn_amplitude")([1]) == "[1]"
    assert caplog.messages == [
        "detector 'specnn_amplitude' of package toys: earwitness has a detector of that name; "
        "left out"
    ]


def test_of_two_packages_with_one_name_the_first_is_kept(
    registry: Registry, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("toys", "louder = json:loads")
    install("others", "louder = json:dumps")
    assert registry.load("louder") is json.dumps
    assert caplog.messages == [
        "detector 'louder' of package toys: package others has a detector of that name; left out"
    ]


def test_a_name_that_is_no_file_name_is_refused(
    registry: Registry, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("toys", "../up = json:loads")
    assert list(registry) == ["specnn_amplitude"]
    assert "detector '../up' of package toys: expected a name of letters" in caplog.text


def test_a_damaged_list_of_entry_points_hides_no_other_package(
    registry: Registry, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("damaged", "no equals sign")
    install("toys", "louder = json:loads")
    with caplog.at_level(logging.WARNING):
        assert list(registry) == ["specnn_amplitude", "louder"]
    assert "package damaged: entry_points.txt: TypeError" in caplog.text
