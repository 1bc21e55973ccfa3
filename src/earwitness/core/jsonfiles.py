"""Reads a JSON file that is one pydantic model; every fault is an error of one line."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from earwitness.core.errors import EarwitnessError

_Model = TypeVar("_Model", bound=BaseModel)

MOST_BYTES = 256 << 20
"""Size from which up a file is refused unread; a large benchmark's takes a tenth."""


def read_model(
    path: Path, model: type[_Model], *, error: type[EarwitnessError], expected: str
) -> _Model:
    """Read a model that ``model_dump_json`` wrote.

    Args:
        path: The file.
        model: What it holds.
        error: What is raised.
        expected: What the file should be, for the message.

    Raises:
        EarwitnessError: It cannot be read, is too large, or does not hold that model.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as reason:
        raise error(f"{path}: cannot be read ({reason.strerror or reason})") from None
    if len(content) > MOST_BYTES:
        raise error(f"{path}: over {MOST_BYTES} bytes; expected {expected}")
    try:
        return model.model_validate_json(content)
    except ValidationError as reason:
        raise error(f"{path}: {first_problem(reason)}; expected {expected}") from None


def first_problem(error: ValidationError) -> str:
    """Return where the first problem is and what it is, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    return " ".join(f"{where[:200]}: {first['msg'][:200]}".split())
