"""Scores of a store that are read from disk when they are asked for.

Only a hash and a position of every row are in memory: 16 bytes, so that stores of many millions of
files can be resumed.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earwitness.core.errors import RunError
from earwitness.core.predictions import FileScore
from earwitness.core.remote import is_url, redact
from earwitness.scoring.clips import Job

Parse = Callable[[bytes], tuple[Job, FileScore]]


class StoredScores(Mapping[Job, FileScore]):
    """Scores by job; of several rows of a job the last counts.

    Args:
        paths: Files of rows. Positions are those of the files joined; only the last may grow.
        parse: Returns the job and the score of a row.
    """

    def __init__(self, paths: Sequence[Path], parse: Parse) -> None:
        self._paths, self._parse = paths, parse
        sizes = (path.stat().st_size for path in paths[:-1])
        self.starts = [0, *accumulate(sizes)]
        self._hashes, self._offsets = array("q"), array("q")
        self._new: dict[int, int] = {}

    def note(self, job: Job, offset: int) -> None:
        """Note the position in bytes of a row that is on disk."""
        self._new[hash(job)] = offset
        if len(self._new) >= 1 << 20:
            self._sort()

    def _sort(self) -> None:
        """Move what is new into the sorted arrays."""
        hashes = np.concatenate([_numbers(self._hashes), np.fromiter(self._new, np.int64)])
        values = np.fromiter(self._new.values(), np.int64)
        offsets = np.concatenate([_numbers(self._offsets), values])
        order = np.lexsort((offsets, hashes))
        is_last = np.append(np.diff(hashes[order]) != 0, True)[: len(order)]
        kept = order[is_last]
        self._hashes, self._offsets = (
            array("q", part[kept].tobytes()) for part in (hashes, offsets)
        )
        self._new = {}

    def _offset(self, job: Job) -> int | None:
        """Return the position of a job's row, or ``None`` if it has none."""
        key = hash(_key(job))
        if (found := self._new.get(key)) is not None:
            return found
        at = bisect_right(self._hashes, key) - 1
        return self._offsets[at] if at >= 0 and self._hashes[at] == key else None

    def lacks(self, jobs: Iterable[Job]) -> NDArray[np.bool_]:
        """Return which jobs have no row; for many jobs faster than ``in``."""
        return self._find(jobs) < 0

    def _find(self, jobs: Iterable[Job]) -> NDArray[np.int64]:
        """Return the position of each job's row, -1 without one."""
        self._sort()
        wanted = np.fromiter((hash(_key(job)) for job in jobs), np.int64)
        known, offsets = _numbers(self._hashes), _numbers(self._offsets)
        found = np.full(len(wanted), -1)
        at = np.searchsorted(known, wanted)
        is_known = at < len(known)
        is_known[is_known] = known[at[is_known]] == wanted[is_known]
        found[is_known] = offsets[at[is_known]]
        return found

    def read(self, jobs: Sequence[Job]) -> list[FileScore]:
        """Return the score of each job, read in the order of the files; ``KeyError`` without."""
        offsets = self._find(jobs)
        if (offsets < 0).any():
            raise KeyError(jobs[int(np.argmin(offsets))])
        order = np.argsort(offsets, kind="stable").tolist()
        rows = self._rows(offsets[order].tolist())
        scores = dict(zip(order, map(self._checked, (jobs[at] for at in order), rows), strict=True))
        return [scores[at] for at in range(len(jobs))]

    def __contains__(self, job: object) -> bool:
        # Two of 10 million jobs have one hash of 64 bits in one of 10 million runs.
        return isinstance(job, Job) and self._offset(job) is not None

    def __getitem__(self, job: Job) -> FileScore:
        if (offset := self._offset(job)) is None:
            raise KeyError(job)
        return self._checked(job, next(self._rows([offset])))

    def _checked(self, job: Job, row: tuple[Job, FileScore]) -> FileScore:
        found, score = row
        if found != _key(job):
            raise RunError(
                f"{self._paths[-1]}: the row of {found.path} has the hash of {_key(job).path}; "
                "--resume always scores all again"
            )
        return score

    def __iter__(self) -> Iterator[Job]:
        return (job for job, _ in self._rows(self._positions()))

    def __len__(self) -> int:
        return len(self._positions())

    def _positions(self) -> list[int]:
        """Return the positions of all rows that count, in order."""
        self._sort()
        return sorted(self._offsets)

    def _rows(self, offsets: Iterable[int]) -> Iterator[tuple[Job, FileScore]]:
        """Yield the rows at positions that rise."""
        at = -1
        with ExitStack() as stack:
            for offset in offsets:
                if (number := bisect_right(self.starts, offset) - 1) != at:
                    at = number
                    stack.close()
                    file = stack.enter_context(self._paths[at].open("rb"))
                file.seek(offset - self.starts[at])
                yield self._parse(file.readline())


def _key(job: Job) -> Job:
    return job._replace(path=redact(job.path)) if is_url(job.path) else job


def _numbers(values: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(values, np.int64) if values else np.zeros(0, np.int64)
