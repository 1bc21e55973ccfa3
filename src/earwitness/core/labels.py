"""The two classes by the names that people give them.

Conventions: 0 is real, 1 is fake. Names are compared in lower case, without blanks, hyphens and
underscores.
"""

from __future__ import annotations

REAL_NAMES = ("original", "real", "bonafide", "genuine", "authentic", "human", "0", "0.0")
FAKE_NAMES = ("deepfake", "fake", "spoof", "synthetic", "generated", "ai", "1", "1.0")

PUBLISHED_NAMES = ("Original", "Deepfake")
"""How the published pipeline writes the classes, by their number."""

_NUMBERS = dict.fromkeys(REAL_NAMES, 0) | dict.fromkeys(FAKE_NAMES, 1)
_DROPPED = str.maketrans("", "", " \t-_")


def parse_label(text: str) -> int | None:
    """Return the class that a name stands for, or ``None`` where it stands for none."""
    return _NUMBERS.get(text.translate(_DROPPED).lower())


def parse_classes(names: tuple[str, ...]) -> int | None:
    """Return which of two names is that of the fakes, or ``None`` unless each class has one."""
    numbers = [parse_label(name) for name in names]
    return numbers.index(1) if sorted(n for n in numbers if n is not None) == [0, 1] else None
