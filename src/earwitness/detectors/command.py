"""Detectors that are a program: paths on its standard input, ``path<TAB>score`` on its output.

Conventions: arguments are a list and no shell is involved. The program runs in the folder of its
``detector.yaml``, once per batch of paths, and is stopped with its children at the time limit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Literal

import numpy as np
from pydantic import Field

from earwitness.core.cards import ClipContract, DetectorCard
from earwitness.core.errors import DetectorError
from earwitness.core.io import sha256_of
from earwitness.detectors.base import AnyDetector, DetectorKind, OpenOptions
from earwitness.detectors.described import Description, describe, read_description, to_logits

_LAST_BYTES = 4_000


class CommandDescription(Description):
    """``detector.yaml`` of a program.

    Attributes:
        command: The program and its arguments.
        output: Form of the score after the tab.
        environment: Variables added to those of this process.
        batch_files: Number of paths per call.
        n_parallel: Number of calls at a time.
        timeout_s: Time limit of a call.
    """

    kind: Literal["command"]
    output: Literal["logit", "prob"]
    command: tuple[str, ...] = Field(min_length=1)
    environment: dict[str, str] = Field(default_factory=dict)
    batch_files: int = Field(default=32, ge=1, le=10_000)
    n_parallel: int = Field(default=1, ge=1, le=64)
    timeout_s: float = Field(default=3600.0, gt=0)


def describe_command(path: Path | None, options: OpenOptions) -> DetectorCard:
    """Return the card of the detector with this ``detector.yaml``."""
    assert path is not None  # noqa: S101 - there is none without a description
    description = read_description(path, CommandDescription)
    parts = [*description.command, str(sorted(description.environment.items()))]
    parts += [sha256_of(program) for program in list_programs(path)]
    return describe(
        description,
        options.name,
        ClipContract(sample_rate_hz=0, reads_files=True),
        weights_sha256=sha256("\0".join(parts).encode()).hexdigest(),
        weights_from="a program of your own",
    )


def list_programs(path: Path) -> list[Path]:
    """Return the arguments that are files in the folder of a ``detector.yaml``, or below."""
    folder, command = path.parent, read_description(path, CommandDescription).command
    files = [folder / part for part in command if "\0" not in part and not Path(part).is_absolute()]
    return [file for file in dict.fromkeys(files) if file.is_file()]


class CommandDetector:
    """A program that scores files."""

    device, backend = "cpu", "command"

    def __init__(self, path: Path, options: OpenOptions) -> None:
        self.card = describe_command(path, options)
        self.remarks: list[str] = []
        self._description = read_description(path, CommandDescription)
        self._folder = path.parent.resolve()
        self.batch_size = self._description.batch_files
        self.n_parallel = self._description.n_parallel

    def keep_records(self, folder: Path) -> None:
        """Do nothing: finished rows are enough to resume."""

    def score_files(self, paths: Sequence[str]) -> list[float | str]:
        """Return the logit of each file, or the reason why it has none."""
        sent = [path for path in paths if not {"\n", "\r", "\t"} & set(path)]
        text, problem = self._call(sent) if sent else ("", "")
        found = self._parse(text, sent)
        reason = problem or "the program printed no score for this file"
        unsent = "a line feed or tab in its path cannot be sent to a program"
        return [found.get(path, reason) if path in sent else unsent for path in paths]

    def _call(self, paths: Sequence[str]) -> tuple[str, str]:
        """Return what the program printed, and why it failed if it did."""
        given, folder = self._description, self._folder
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 - a list of the user's own, no shell
                    given.command,
                    cwd=folder,
                    env=os.environ | given.environment,
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=errors,
                    start_new_session=True,  # Ctrl-C ends the run after the batches in progress
                )
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or error
                return "", f"{given.command[0]} cannot be started ({reason})"
            problem = ""
            try:
                process.communicate("".join(f"{p}\n" for p in paths).encode(), given.timeout_s)
            except subprocess.TimeoutExpired:
                problem = f"stopped after {given.timeout_s:g} s"
            finally:
                _end(process)
            if not problem and process.returncode:
                problem = _describe_end(process.returncode)
            if problem and (last := _last_line(errors)):
                problem += f": {last}"
            out.seek(0)
            return out.read().decode("utf-8", "replace"), problem

    def _parse(self, text: str, paths: Sequence[str]) -> Mapping[str, float | str]:
        """Return the score of each path that was printed; other lines are the program's own."""
        given, known = self._description, set(paths)
        found: dict[str, float | str] = {}
        for line in text.splitlines(keepends=True):
            path, tab, score = line.rpartition("\t")
            if not (tab and path in known and line.endswith("\n")):
                continue  # a line that was cut off has no line feed
            try:
                value = np.array([[float(score)]])
                found[path] = float(to_logits(value, given.output, given.fake)[0])
            except ValueError:
                found[path] = f"the program printed {score.strip()[:60]!r}, expected a number"
            except DetectorError as error:
                found[path] = str(error)
        return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program's process group."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _describe_end(status: int) -> str:
    if status > 0:
        return f"the program ended with status {status}"
    return f"the program was ended by signal {-status}"


def _last_line(errors: IO[bytes]) -> str:
    """Return the last line of standard error that is not empty."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _LAST_BYTES))
    lines = errors.read().decode("utf-8", "replace").split("\n")
    return next((line.strip()[:500] for line in reversed(lines) if line.strip()), "")


def _open(path: Path, options: OpenOptions) -> AnyDetector:
    return CommandDetector(path, options)


COMMAND = DetectorKind(describe_command, _open)
