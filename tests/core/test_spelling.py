from __future__ import annotations

import pytest

from earwitness.core.io import compose, tidy_path


@pytest.mark.parametrize("path", ["a/é.wav", "./a/e\u0301.wav", "a//b/../é.wav", "a\\é.wav"])
def test_spellings_of_one_path_are_one(path: str) -> None:
    assert tidy_path(path) == "a/é.wav"


def test_paths_that_differ_stay_apart() -> None:
    paths = ["a.wav", "A.wav", "/a.wav", "../a.wav", "b/a.wav"]
    assert [tidy_path(path) for path in paths] == paths


def test_both_normal_forms_are_one_text() -> None:
    assert compose("e\u0301") == compose("\u00e9") == "\u00e9"
