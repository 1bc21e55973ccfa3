"""Damaged copies of every kind of file that is read: each ends in a result or a one-line error.

Run as ``python tests/fuzz/run.py --seconds 3600 --seed 1 [--format w.pth]``. A child reads file
after file under limits of memory and time, and another takes its place where it dies. What falls
is kept in ``--keep``.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LIMIT_S = 30.0
"""Longest time that a child may take for a file, in seconds of its own processor time."""
LIMIT_BYTES = 2 << 30
"""Memory that a child may take beyond what it has when it starts."""
_WAIT_S = 300.0
"""Longest wait for a child on a loaded machine; its processor time is what is limited."""


class Fall(NamedTuple):
    """A mutant that ended in neither a result nor a one-line error."""

    file: str
    number: int
    how: str


class Outcome(NamedTuple):
    """What came of some time: mutants by file, and those that fell."""

    n_tried: Counter[str]
    falls: list[Fall]


def fuzz(
    seconds: float,
    seed: int,
    *,
    only: str = "",
    keep: Path | None = None,
    n_rounds: int = sys.maxsize,
    folder: Path,
) -> Outcome:
    """Try mutants of the seeds in ``folder`` for some time, in rounds of one a format."""
    from fuzz.formats import all_formats

    formats = [one for one in all_formats() if only in ("", one.file)]
    outcome = Outcome(Counter(), [])
    with _Children(folder) as children:
        valid = {one.file: (folder / one.file).read_bytes() for one in formats}
        ends_at = time.monotonic() + seconds
        for number in range(n_rounds):
            for one in formats if only else [f for f in formats if number % f.every == 0]:
                if time.monotonic() >= ends_at:
                    return outcome
                draw = random.Random(f"{seed} {one.file} {number}")  # noqa: S311
                mutant = one.mutate(valid[one.file], draw)
                how = children.read(one.file, mutant)
                (folder / one.file).write_bytes(valid[one.file])
                outcome.n_tried[one.file] += 1
                if how:
                    outcome.falls.append(Fall(one.file, number, how))
                    _keep(keep, f"{number}-{one.file.replace('/', '_')}", mutant)
    return outcome


def _keep(folder: Path | None, name: str, mutant: bytes) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(mutant)


class _Children:
    """A child that reads, and its successor where it has died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = multiprocessing.get_context("spawn")
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, file: str, content: bytes) -> str:
        """Return how a file fell, or nothing."""
        (self._folder / file).write_bytes(content)
        if self._child is None:
            self._start()
        assert self._pipe is not None
        assert self._child is not None
        try:
            self._pipe.send(file)
            if self._pipe.poll(_WAIT_S):
                return str(self._pipe.recv())
            how = f"no end after {_WAIT_S:g} s"
        except (EOFError, OSError):
            self._child.join()
            how = f"died with status {self._child.exitcode}"
        self._end()
        return how

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # forking beside threads: the child reads only
            child = self._context.Process(target=_serve, args=(self._folder, theirs), daemon=True)  # type: ignore[attr-defined]
            child.start()
        theirs.close()
        self._child = child

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join()
        if self._pipe is not None:
            self._pipe.close()
        self._child = self._pipe = None


def _serve(folder: Path, pipe: Connection) -> None:
    from fuzz.formats import all_formats

    readers = {one.file: one.read for one in all_formats()}
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with contextlib.suppress(EOFError), Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        while True:
            file = pipe.recv()
            pipe.send(_try(readers[file], folder / file))


def _try(read: object, path: Path) -> str:
    from earwitness.core.errors import EarwitnessError

    began = time.process_time()
    how = ""
    try:
        with _one_line_warnings():
            read(path)  # type: ignore[operator]
    except EarwitnessError as error:
        how = f"more than one line: {error!r}" if "\n" in str(error) else ""
    except MemoryError:
        how = f"over {LIMIT_BYTES} bytes: {traceback.format_exc(limit=-2)}"
    except BaseException:  # noqa: BLE001 - it is what is looked for
        how = traceback.format_exc(limit=-3)
    took = time.process_time() - began
    return how or (f"{took:.0f} s" if took > LIMIT_S else "")


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", default="", help="a single kind of file, by its name")
    parser.add_argument("--keep", type=Path, help="folder for mutants that fell")
    options = parser.parse_args()
    from fuzz.seeds import write_seeds

    with tempfile.TemporaryDirectory() as temporary:
        write_seeds(Path(temporary))
        n_tried, falls = fuzz(
            options.seconds,
            options.seed,
            only=options.format,
            keep=options.keep,
            folder=Path(temporary),
        )
    for kind, n in Counter((fall.file, fall.how) for fall in falls).most_common():
        print(n, *kind)
    for file, n in n_tried.items():
        print(f"{n:>7} {file}")
    print(f"{n_tried.total()} mutants, {len(falls)} fell")
    sys.exit(bool(falls))


if __name__ == "__main__":
    main()
