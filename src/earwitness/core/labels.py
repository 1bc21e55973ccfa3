"""The two classes by the names that people give them.

Conventions: 0 is real, 1 is fake. Names are compared in lower case, without blanks, hyphens and
underscores.
"""

from __future__ import annotations

REAL_NAMES = (
    *("original", "real", "bonafide", "genuine", "authentic", "human", "humanmade", "natural"),
    *("0", "0.0"),
)
FAKE_NAMES = (
    *("deepfake", "fake", "spoof", "spoofed", "synthetic", "synthesized", "generated"),
    *("ai", "aigenerated", "aimade", "artificial", "machine", "1", "1.0"),
)

PUBLISHED_NAMES = ("Original", "Deepfake")
"""How the published pipeline writes the classes, by their number."""

_NUMBERS = dict.fromkeys(REAL_NAMES, 0) | dict.fromkeys(FAKE_NAMES, 1)
_TRUE_FALSE = {"false": 0, "true": 1}
_DROPPED = str.maketrans("", "", " \t-_")


def parse_label(text: str) -> int | None:
    """Return the class that a name stands for, or ``None`` where it stands for none."""
    if text.strip().startswith("-"):  # -1 is no 1
        return None
    return _NUMBERS.get(text.translate(_DROPPED).lower())


def parse_target(text: str) -> int | None:
    """Return the class that a cell of a target column stands for, or ``None``.

    As ``parse_label``; any other spelling of the numbers 0 and 1 counts, and true is fake.
    """
    named = parse_label(text)
    if named is None:
        named = _TRUE_FALSE.get(text.strip().lower())
    if named is not None:
        return named
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value in (0, 1) else None


def parse_classes(names: tuple[str, ...]) -> int | None:
    """Return which of two names is that of the fakes, or ``None`` unless each class has one."""
    numbers = [parse_label(name) for name in names]
    return numbers.index(1) if sorted(n for n in numbers if n is not None) == [0, 1] else None
