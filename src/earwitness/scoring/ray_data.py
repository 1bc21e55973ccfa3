"""Score a plan on a Ray cluster: tasks decode on its processors, pools of actors run detectors.

Conventions: a row of the data between stages is a part of a file, pickled by this very run. Tasks
yield rows in a fixed order: Ray rebuilds a lost block alone, by repeating the task that made it.
All machines have the same version of this package, and see files under the same paths.
"""

from __future__ import annotations

import contextlib
import pickle
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

from pydantic import Field

from earwitness import __version__
from earwitness.core.cards import DetectorCard
from earwitness.core.errors import DetectorError, RunError, UsageError
from earwitness.core.predictions import FileScore
from earwitness.scoring.batching import OpenFile, Scorers, Tally
from earwitness.scoring.clips import ClipRequest, Cut, DecodedFile, Job
from earwitness.scoring.options import Section
from earwitness.scoring.predict import OnFileDone, Plan, Progress, plan_tasks
from earwitness.scoring.ray_cluster import check_version, count_resource, plain_errors
from earwitness.scoring.recorded import Recorded
from earwitness.scoring.workers import Task, decode_files

if TYPE_CHECKING:
    import pyarrow as pa

N_FILES = 64
"""Maximum number of files that a task decodes; it starts a process for them."""

_ROW = "row"


class Pool(Section):
    """The actors of every detector.

    Attributes:
        actors: Maximum number of actors of a detector; ``None`` follows from the cluster.
        num_cpus: Processors of an actor; ``None`` follows from the cluster.
        num_gpus: GPUs of an actor.
    """

    actors: Annotated[int | None, Field(ge=1)] = None
    num_cpus: Annotated[float | None, Field(gt=0)] = None
    num_gpus: Annotated[float, Field(ge=0)] = 0.0


class RayDetector(Recorded):
    """A detector that workers of a cluster have opened and can open; this process has its card."""

    def __init__(self, opened: _Opened, opening: Callable[[], Any], pool: Pool) -> None:
        super().__init__(opened.card)
        self.backend, self.device, self.batch_size = (
            opened.backend,
            opened.device,
            opened.batch_size,
        )
        self.remarks: tuple[str, ...] = opened.remarks
        self.opening, self.pool = opening, pool


class _Opened(NamedTuple):
    """What a worker says about a detector that it has opened."""

    card: DetectorCard
    backend: str
    device: str
    batch_size: int
    remarks: tuple[str, ...]
    version: str


class _Row(NamedTuple):
    """A part of a file, and what detectors have found, by their numbers, with their remarks."""

    decoded: DecodedFile
    found: tuple[tuple[int, Job, FileScore | OpenFile], ...] = ()
    remarks: tuple[tuple[int, str], ...] = ()


def open_on_ray(names: Sequence[str], pool: Pool, **opening: Any) -> list[RayDetector]:
    """Open detectors in a worker of the cluster, and return stand-ins for them.

    Args:
        names: See ``open_detector``.
        pool: The actors of every detector.
        opening: Options of ``open_detector``.

    Raises:
        UsageError: The cluster is too small, or has another version of this package.
        DetectorError: An unknown detector, or one that reads files itself.
        WeightsError: Weights are missing, damaged or do not fit.
    """
    import ray

    pool = fit_pool(pool, len(names), n_cpus=count_resource("CPU"), n_gpus=count_resource("GPU"))
    if not pool.num_gpus and opening.get("device") == "auto":
        opening["device"] = "cpu"
    openings = [partial(_open, Path.cwd(), name, opening) for name in names]
    look = ray.remote(_look).options(num_cpus=pool.num_cpus, num_gpus=pool.num_gpus)
    with plain_errors():
        found = ray.get([look.remote(opening) for opening in openings])
    for opened in found:
        check_version(opened.version, __version__)
        if opened.card.contract.reads_files:
            raise DetectorError(
                f"{opened.card.name}: reads whole files itself; --engine ray decodes them for "
                "detectors of clips, expected --shard K/N or --engine slurm with it"
            )
    return [RayDetector(*both, pool) for both in zip(found, openings, strict=True)]


def fit_pool(pool: Pool, n_detectors: int, *, n_cpus: float, n_gpus: float) -> Pool:
    """Return a pool with numbers for what a cluster has: half of its processors decode.

    Raises:
        UsageError: The cluster has no room for an actor of every detector and one task.
    """
    share = n_cpus / 2 / n_detectors
    num_cpus = (min(1.0, round(share, 2)) or 1.0) if pool.num_cpus is None else pool.num_cpus
    needed = n_detectors * num_cpus + 1, n_detectors * pool.num_gpus
    # Fewer would not be an error of Ray's: it waits for machines to be added.
    if needed[0] > n_cpus or needed[1] > n_gpus:
        raise UsageError(
            f"--engine ray: {n_cpus:g} CPUs and {n_gpus:g} GPUs in the cluster, expected "
            f"{needed[0]:g} and {needed[1]:g}: num_cpus and num_gpus for each detector's first "
            "actor, and one CPU to decode"
        )
    n = n_gpus / n_detectors / pool.num_gpus if pool.num_gpus else share / num_cpus
    actors = max(1, int(n)) if pool.actors is None else pool.actors
    return Pool(actors=actors, num_cpus=num_cpus, num_gpus=pool.num_gpus)


def _open(folder: Path, name: str, options: Mapping[str, Any]) -> Any:
    from earwitness.detectors.loading import open_detector

    with contextlib.chdir(folder):  # names and weights may be relative paths
        return open_detector(name, **options)


def _look(opening: Callable[[], Any]) -> _Opened:
    opened = opening()
    about = (opened.card, opened.backend, opened.device, opened.batch_size)
    return _Opened(*about, tuple(opened.remarks), __version__)


def score_on_ray(
    plan: Plan,
    *,
    n_workers: int | None = None,
    advance: OnFileDone | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Score the files of a plan of ``RayDetector`` into its tallies; see ``score_plan``.

    Ray may score a file more than once, of which the first score counts; files whose scores do not
    arrive are scored again.

    Args:
        plan: The plan.
        n_workers: 0 decodes in the processes of Ray, where a decoder that crashes on a file would
            be started again forever; else every task has one process for it.
        advance: Called for every finished file.
        should_stop: Called after every block of scores; once true, the rest is left.

    Raises:
        RunError: The cluster failed.
    """
    tallies = [tally for tally in plan.tallies if isinstance(tally, Tally)]
    progress = Progress(plan, advance)
    tasks = plan.tasks
    while tasks and not should_stop():
        for row in _rows(tasks, tallies, 0 if n_workers == 0 else 1, should_stop):
            for number, job, found in row.found:
                tallies[number].join(job, found)
            for number, text in row.remarks:
                detector = tallies[number].detector
                if isinstance(detector, RayDetector) and text not in detector.remarks:
                    detector.remarks += (text,)
            progress.decoded(row.decoded)
        before, tasks = tasks, plan_tasks(plan.waiting, tallies)
        if len(tasks) == len(before) and not should_stop():
            raise RunError(f"--engine ray: {len(tasks)} files came back without a score")


def _rows(
    tasks: Sequence[Task], tallies: Sequence[Tally], n_workers: int, should_stop: Callable[[], bool]
) -> Iterator[_Row]:
    """Yield the scored parts of files as blocks of them are ready."""
    import ray.data

    n_rounds = 4 * max(count_resource("CPU"), 1)
    n_files = max(1, min(N_FILES, int(len(tasks) / n_rounds)))
    chunks = [tasks[start : start + n_files] for start in range(0, len(tasks), n_files)]
    data: Any = ray.data.from_arrow([_table([chunk]) for chunk in chunks])
    data = data.map_batches(
        partial(_decode, n_workers=n_workers),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=1,
    )
    for number, tally in enumerate(tallies):
        detector = cast(RayDetector, tally.detector)
        later = {after.request for after in tallies[number + 1 :]}
        pool = detector.pool
        data = data.map_batches(
            _Scorer,
            fn_constructor_args=(number, detector, tally.request, tally.batch_size, later),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=pool.actors),
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
        )
    with plain_errors():
        for table in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from _unpacked(table)
            if should_stop():
                return


def _decode(table: pa.Table, *, n_workers: int) -> Iterator[pa.Table]:
    for tasks in _unpacked(table):
        for decoded in in_order(tasks, decode_files(tasks, n_workers=n_workers)):
            yield _table([_Row(decoded)])


def in_order(tasks: Sequence[Task], parts: Iterator[DecodedFile]) -> Iterator[DecodedFile]:
    """Yield the parts of files in the order of tasks; few are out of it."""
    early: dict[tuple[Job, int], DecodedFile] = {}
    for task in tasks:
        part, n_parts = 0, 1
        while part < n_parts:
            while (task.job, part) not in early:
                decoded = next(parts)
                early[decoded.job, decoded.part] = decoded
            decoded = early.pop((task.job, part))
            part, n_parts = part + 1, decoded.n_parts
            yield decoded


class _Scorer:
    """Actor of a detector; it opens the detector for its first block."""

    def __init__(
        self,
        number: int,
        asked: RayDetector,
        request: ClipRequest,
        batch_size: int | None,
        later: Iterable[ClipRequest],
    ) -> None:
        self._number, self._asked, self._later = number, asked, set(later)
        self._request, self._batch_size = request, batch_size
        self._detector: Any = None

    def __call__(self, table: pa.Table) -> pa.Table:
        detector = self._detector = self._detector or self._open()
        tally = Tally(detector=detector, request=self._request, batch_size=self._batch_size)
        rows: list[_Row] = _unpacked(table)
        with Scorers([detector], max(1, int(self._asked.pool.num_cpus or 1))) as scorers:
            for row in rows:
                scorers.add([tally], row.decoded)
            scorers.finish([tally])
        results = tally.results()
        return _table([self._add(row, tally.key(row.decoded.job), results) for row in rows])

    def _open(self) -> Any:
        detector = self._asked.opening()
        if detector.card != self._asked.card:
            raise DetectorError(
                f"{detector.card.name}: other weights or options on {platform.node()} than on the "
                "machine that was asked first, expected the same"
            )
        return detector

    def _add(self, row: _Row, key: Job, results: dict[Job, FileScore | OpenFile]) -> _Row:
        """Return a row with its file's result, unless an earlier row has it; used clips go."""
        found = [(self._number, key, results.pop(key))] if key in results else []
        remarks = ((self._number, text) for text in self._detector.remarks)
        cuts = {
            request: cut if isinstance(cut, str) or request in self._later else Cut([], cut.n_clips)
            for request, cut in row.decoded.cuts.items()
        }
        left = replace(row.decoded, cuts=cuts)
        return _Row(left, (*row.found, *found), (*row.remarks, *remarks))


def _table(values: Sequence[Any]) -> pa.Table:
    import pyarrow as pa

    packed = [pickle.dumps(value, protocol=5) for value in values]
    return pa.table({_ROW: pa.array(packed, pa.large_binary())})


def _unpacked(table: pa.Table) -> list[Any]:
    return [pickle.loads(value) for value in table[_ROW].to_pylist()]  # noqa: S301 - our own
