from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.core.errors import RunError
from earwitness.core.predictions import FileScore, WindowScore
from earwitness.scoring.clips import Job
from earwitness.scoring.store import RowStore, locked

SCORES = {
    Job("/a b/ö.wav"): FileScore((WindowScore(0.0, 5.0, -1.25), WindowScore(5.0, 2.5, 0.1)), (), 8),
    Job("/x.mp3", 1.5): FileScore((WindowScore(0.5, 0.78, 1e-300),), (0.25, 0.75), 44_100),
    Job("/gone\udcff.mp3"): FileScore(error="no such file"),
    Job("/d.wav"): FileScore(
        (WindowScore(0.0, 5.0, 3.5),), details={"guess": "é", "n": 3, "x": None}
    ),
    Job("/n.wav"): FileScore((WindowScore(0.0, 5.0, None, "silence"),), note="partly empty"),
}


def fill(folder: Path) -> Path:
    with RowStore(folder, "owner/name@main") as store:
        for job, score in SCORES.items():
            store.add(job, score)
    return store.path


def test_what_was_added_is_there_again_number_for_number(tmp_path: Path) -> None:
    path = fill(tmp_path / "store")
    assert path.name == "owner__name--main.jsonl"
    with RowStore(tmp_path / "store", "owner/name@main") as store:
        assert store.finished == SCORES


def test_relative_names_are_kept_from_the_root_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with RowStore(tmp_path, "d") as store:
        store.add(Job("sub/../a.wav"), FileScore(error="e"))
    assert list(store.finished) == [Job(str(tmp_path / "a.wav"))]


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_file_cut_anywhere_keeps_its_whole_rows(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("store")
    path = fill(folder)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    rubbish = data.draw(st.sampled_from([b"", b"\0" * 40, b'{"path": 1', b"\xff\xfe"]))
    path.write_bytes(whole[:cut] + rubbish)
    n_whole = max(whole[:cut].count(b"\n") - 1, 0)
    with RowStore(folder, "owner/name@main") as store:
        assert list(store.finished.items()) == list(SCORES.items())[:n_whole]
        store.add(Job("/new.wav"), FileScore(error="e"))
    with RowStore(folder, "owner/name@main") as store:
        assert len(store.finished) == n_whole + 1
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_errors_can_be_tried_again_and_the_later_row_counts(tmp_path: Path) -> None:
    fill(tmp_path)
    gone = Job("/gone\udcff.mp3")
    with RowStore(tmp_path, "owner/name@main", keep_errors=False) as store:
        assert gone not in store.finished
        store.add(gone, FileScore((WindowScore(0, 1, 2.0),)))
    with RowStore(tmp_path, "owner/name@main") as store:
        assert store.finished[gone].logit == 2.0


def test_overwriting_discards_rows(tmp_path: Path) -> None:
    fill(tmp_path)
    with RowStore(tmp_path, "owner/name@main", overwrite=True) as store:
        assert store.finished == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"not json\n", ":3: no JSON, expected a finished row; --resume always"),
        (b'{"path": "/a", "skip_s": 0}\n', ":3: not a finished row"),
        (
            b'{"path": "/a", "skip_s": 0, "windows": [], "encoders": [], "native_rate_hz": null, '
            b'"error": null}\n',
            ":3: not a finished row",
        ),
    ],
)
def test_a_damaged_row_in_the_middle_is_an_error_with_its_line(
    tmp_path: Path, line: bytes, message: str
) -> None:
    path = fill(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], line, *lines[2:]]))
    before = path.read_bytes()
    with pytest.raises(RunError, match=message):
        RowStore(tmp_path, "owner/name@main")
    assert path.read_bytes() == before


def test_the_store_of_another_detector_is_refused(tmp_path: Path) -> None:
    path = fill(tmp_path)
    path.rename(tmp_path / "other.jsonl")
    with pytest.raises(RunError, match=r"begins with .*owner/name@main.*, expected .*other"):
        RowStore(tmp_path, "other")


def test_a_folder_is_locked_once(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(RunError, match="locked by another run"):  # noqa: SIM117
        with locked(tmp_path):
            pass
    with locked(tmp_path):
        assert [entry.name for entry in tmp_path.iterdir()] == ["store"]


def test_rows_are_found_among_many_and_the_last_of_a_file_counts(tmp_path: Path) -> None:
    jobs = [Job(f"/a/{n}.wav", float(n % 3)) for n in range(300)]
    with RowStore(tmp_path, "d") as store:
        for job in jobs[::2]:
            store.add(job, FileScore(error="first"))
        assert store.finished.lacks(jobs).tolist() == [n % 2 == 1 for n in range(300)]
        store.add(jobs[0], FileScore(error="second"))
    with RowStore(tmp_path, "d") as store:
        store.add(jobs[1], FileScore(error="new"))
        assert [job in store.finished for job in jobs[:4]] == [True, True, True, False]
        assert store.finished[jobs[0]].error == "second"
        assert len(store.finished) == 151
        with pytest.raises(KeyError):
            store.finished[jobs[3]]
