"""Songs that were uploaded: one thread scores them one after the other, in order of arrival.

Names of clients are data: files are named by random tokens, in a private folder.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import IO, Literal, TypeVar

from earwitness.core.downloads import DownloadError, within
from earwitness.core.errors import (
    AudioError,
    EarwitnessError,
    RunError,
    StoppedError,
    first_line,
)
from earwitness.datasets.catalog import AUDIO_SUFFIXES
from earwitness.detectors.base import AnyDetector
from earwitness.listen.dossier import recode
from earwitness.listen.listen import listen
from earwitness.listen.results import SongResult
from earwitness.listen.song_sections import changes_sections, findings_section, places_sections
from earwitness.perturb.suites import Suite
from earwitness.report.blocks import Note, Section
from earwitness.web.waveform import Waveform, draw_waveform

TIME_LIMIT_S = 600.0
"""Longest time that a song is scored for."""
KEEP_S = 3600.0
"""Time after which an uploaded file is deleted."""
_LOGGER = logging.getLogger(__name__)

_T = TypeVar("_T")
IsLate = Callable[[], bool]
State = Literal["waiting", "scoring", "done"]


@dataclass
class UploadedSong:
    """A song and what is known of it.

    Attributes:
        token: Its random name, in addresses and on disk.
        name: Its name as the client gave it; never a path.
        path: Where it is.
        added_s: When it came, on the monotonic clock.
        state: How far its scoring is.
        progress: What is being done, in words.
        result: Results of the detectors.
        wave: Its waveform; ``None`` if it was not drawn.
        sections: Sections of its page, drawn once.
        changes_state: How far scoring after changes is; ``None`` if nobody asked.
        changes: The section on changes.
        error: Why it has no result.
    """

    token: str
    name: str
    path: Path
    added_s: float
    state: State = "waiting"
    progress: str = ""
    result: SongResult | None = None
    wave: Waveform | None = None
    sections: list[Section] = field(default_factory=list)
    changes_state: State | None = None
    changes: list[Section] = field(default_factory=list)
    error: str | None = None


class Songs:
    """Uploaded songs, and the thread that scores them; a context manager.

    Args:
        detectors: The detectors.
        suite: Changes that are scored on request.
        keep: Folder in which uploads stay; ``None`` deletes them after an hour and at the end.
        time_limit_s: Longest time that a song, or each of its changed copies, is scored for; then
            it has an error, and the next one is scored.
    """

    def __init__(
        self,
        detectors: Sequence[AnyDetector],
        suite: Suite,
        *,
        keep: Path | None = None,
        time_limit_s: float = TIME_LIMIT_S,
    ) -> None:
        self.detectors = detectors
        self._suite, self._time_limit_s = suite, time_limit_s
        self._is_kept = keep is not None
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
        self._folder = keep or Path(tempfile.mkdtemp(prefix="earwitness-serve-"))
        self._songs: dict[str, UploadedSong] = {}
        self._jobs: queue.SimpleQueue[tuple[UploadedSong, bool] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="scoring", daemon=True)

    def __enter__(self) -> Songs:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the song at hand, and delete the files."""
        for song in self._songs.values():
            song.state = song.state if song.state == "scoring" else "done"
        self._jobs.put(None)
        self._thread.join(timeout=5)
        if not self._is_kept:
            shutil.rmtree(self._folder, ignore_errors=True)

    def all(self) -> list[UploadedSong]:
        """Return the songs, latest first."""
        self.expire()
        return list(self._songs.values())[::-1]

    def get(self, token: str) -> UploadedSong | None:
        """Return a song by its token."""
        self.expire()
        return self._songs.get(token)

    def add(self, name: str, content: IO[bytes]) -> UploadedSong:
        """Store a song under a random name, and queue it."""
        token = secrets.token_urlsafe(16)
        shown = PureWindowsPath(name).name or "unnamed"
        suffix = PureWindowsPath(shown).suffix.lower()
        path = self._folder / f"{token}{suffix if suffix in AUDIO_SUFFIXES else ''}"
        with path.open("xb") as file:
            shutil.copyfileobj(content, file)
        if self._is_kept:
            with (self._folder / "names.jsonl").open("a", encoding="utf-8") as names:
                names.write(json.dumps({"file": path.name, "name": shown}) + "\n")
        song = UploadedSong(token, shown, path, time.monotonic())
        self._songs[token] = song
        self._jobs.put((song, False))
        return song

    def ask_for_changes(self, song: UploadedSong) -> None:
        """Queue scoring after the changes of the suite, once."""
        if song.changes_state is None and song.result is not None and song.result.has_verdict:
            song.changes_state = "waiting"
            self._jobs.put((song, True))

    def expire(self) -> None:
        """Delete songs that are an hour old and not in use, unless they are kept."""
        oldest_s = time.monotonic() - KEEP_S
        for song in list(self._songs.values()):
            is_busy = song.state != "done" or song.changes_state in ("waiting", "scoring")
            if not self._is_kept and not is_busy and song.added_s < oldest_s:
                self._songs.pop(song.token, None)
                song.path.unlink(missing_ok=True)

    def _work(self) -> None:
        while (job := self._next()) is not None:
            song, is_change = job
            try:
                problem = None
                self._score_changes(song) if is_change else self._score(song)
            except EarwitnessError as error:
                problem = first_line(error).replace(str(song.path), "the file")
            except Exception:  # one song must not end the thread; the traceback is in the log
                _LOGGER.exception("a song could not be scored")
                problem = "internal error; see the log of the server"
            if is_change:
                song.changes += [_no_changes(problem)] if problem else []
                song.changes_state = "done"
            else:
                song.error, song.state = problem or song.error, "done"

    def _next(self) -> tuple[UploadedSong, bool] | None:
        while True:
            try:
                return self._jobs.get(timeout=60)
            except queue.Empty:
                self.expire()

    def _score(self, song: UploadedSong) -> None:
        if song.state != "waiting":
            return
        song.state, song.progress = "scoring", "scoring"

        def score(is_late: IsLate) -> tuple[SongResult, Waveform | None, list[Section]]:
            (result,) = listen([song.path], self.detectors, should_stop=is_late)
            if result.error is not None:
                return result, None, []
            song.progress = "drawing"
            wave = None
            with contextlib.suppress(AudioError):  # detectors may read what is not all readable
                wave = draw_waveform(song.path, result)
            return (
                result,
                wave,
                [
                    findings_section(result),
                    *places_sections(result, name=song.name),
                ],
            )

        result, song.wave, song.sections = in_time(self._time_limit_s, score)
        song.result, song.error = result, result.error

    def _score_changes(self, song: UploadedSong) -> None:
        if (result := song.result) is None:
            return
        song.changes_state = "scoring"

        def score(is_late: IsLate) -> list[Section]:
            def working(progress: str) -> None:
                if is_late():
                    raise StoppedError("stopped")
                song.progress = progress

            recoded = list(recode(song.path, self.detectors, self._suite, working))
            return list(changes_sections(result, recoded))

        n_songs = 1 + len(self._suite.perturbations)
        song.changes = in_time(self._time_limit_s * n_songs, score)


def in_time(limit_s: float, call: Callable[[IsLate], _T]) -> _T:
    """Run a call in a thread with a time limit; it gets a function that says whether it is late.

    Python cannot end a thread: a late one runs until it asks, and its result is dropped.

    Raises:
        RunError: It was late.
    """
    ends_s = time.monotonic() + limit_s
    try:
        return within(limit_s, lambda: call(lambda: time.monotonic() > ends_s))
    except (DownloadError, StoppedError):
        raise RunError(f"not finished within {limit_s:g} s, the time limit of a song") from None


def _no_changes(reason: str) -> Section:
    return Section("changes", "After re-encoding", "", [Note(f"No scores: {reason}")])
