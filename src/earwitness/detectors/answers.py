"""Answers of a service, kept in an append-only JSON lines file so that none is paid for twice.

A line is written before its answer is used; a last line that a kill cut off is dropped.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import NamedTuple

from earwitness.core.errors import RunError


class Answer(NamedTuple):
    """An answer: hash of the file and of the request, path of the file, and the body."""

    key: str
    path: str
    body: str


class AnswerFile:
    """Answers by key; in memory alone until ``open`` names a file."""

    def __init__(self) -> None:
        self._answers: dict[str, Answer] = {}
        self._path: Path | None = None
        self._lock = threading.Lock()

    def open(self, path: Path) -> None:
        """Read the answers of a file, if it exists, and append further ones to it.

        Raises:
            RunError: The file cannot be read or has another content.
        """
        self._answers |= {answer.key: answer for answer in read_answers(path)}
        self._path = path

    def get(self, key: str) -> Answer | None:
        """Return a recorded answer."""
        with self._lock:
            return self._answers.get(key)

    def add(self, answer: Answer) -> None:
        """Record an answer; ``RunError`` if it cannot be written."""
        line = json.dumps(answer._asdict(), ensure_ascii=True).encode() + b"\n"
        with self._lock:
            if self._path is not None:
                try:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    with self._path.open("ab", buffering=0) as file:
                        file.write(line)
                except OSError as error:
                    reason = error.strerror or error
                    raise RunError(f"{self._path}: cannot be written ({reason})") from error
            self._answers[answer.key] = answer


def read_answers(path: Path) -> list[Answer]:
    """Return the answers of a file in order, the last of each key; none if there is no file.

    Raises:
        RunError: The file cannot be read or has another content.
    """
    try:
        with path.open("rb+") as file:
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            file.truncate(len(whole))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from error
    answers: dict[str, Answer] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            answer = Answer(*(str(row[name]) for name in Answer._fields))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise RunError(f"{path}:{number}: not an answer of a service") from None
        answers[answer.key] = answer
    return list(answers.values())
