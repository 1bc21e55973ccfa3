"""From sounds to rows: families of rows, reconstructions, what to keep; no audio is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earwitness.auditing.near_duplicates import check_near_duplicates
from earwitness.auditing.scene import Outcome, Scene, set_scene
from earwitness.auditing.sounds import Sound
from earwitness.core.manifest import Manifest

N_WORDS, N_FRAMES = 600, 80


def sound_of(track: int, *, copy: int = 0) -> Sound:
    """Return a made-up sound; copies of a track differ in an eighth of their bits."""
    rng = np.random.default_rng(track)
    words = rng.integers(1, 1 << 32, N_WORDS, dtype=np.uint32)
    noise = rng.standard_normal((N_FRAMES + 3, 12))
    chroma = sum(noise[k : k + N_FRAMES] for k in range(4)) * 16
    if copy:
        other = np.random.default_rng((track, copy))
        flips = [other.integers(1 << 32, size=N_WORDS, dtype=np.uint32) for _ in range(3)]
        words = words ^ (flips[0] & flips[1] & flips[2])
    name = f"{track} {copy}"
    return Sound(name, words=words, chroma=chroma.clip(-127, 127).astype(np.int8))


def scene_of(rows: Sequence[tuple[dict[str, Any], Sound]], *, n_others: int = 0) -> Scene:
    """Return rows and what they sound like; the last ones are of another set."""
    frame = pl.DataFrame(
        [
            {"filepath": f"{n}.wav", "target": 0, "generator": None} | row
            for n, (row, _) in enumerate(rows)
        ]
    )
    parts = [frame.head(frame.height - n_others), frame.tail(n_others)]
    audited, other = (
        Manifest(name, part, (Path("/nowhere"),))
        for name, part in zip(("eval", "train"), parts, strict=True)
    )
    scene = set_scene([audited], [other] if n_others else [], ())
    files = scene.rows["file"].to_list()
    return replace(
        scene, sounds={file: sound for file, (_, sound) in zip(files, rows, strict=True)}
    )


def result(outcomes: Sequence[Outcome], name: str) -> Outcome:
    (one,) = [outcome for outcome in outcomes if outcome.result.name == name]
    return one


def test_many_rows_of_two_sounds_are_told_of_without_a_link_for_every_pair() -> None:
    n = 40
    row = {"target": 0, "group_id": "a"}
    rows = [(row, sound_of(1, copy=k % 2)) for k in range(2 * n)]
    copies = result(check_near_duplicates(scene_of(rows)), "copies_inside")
    assert copies.result.relations == {"duplicate": 2 * n}
    assert {finding.n_others for finding in copies.findings} == {n}
    assert sum(not finding.drop for finding in copies.findings) == 1
    assert copies.findings[0].drop is False
    assert len(copies.links) == 2 * n - 1
    assert {link.row for link in copies.links} | {link.other_row for link in copies.links} == set(
        range(1, 2 * n + 1)
    )


def reconstructed(*, swapped: bool = False) -> Scene:
    """Return twelve tracks, each with a fake of ``codec``; two fakes may change places."""
    rows: list[tuple[dict[str, Any], Sound]] = []
    for track in range(12):
        rows.append(({"group_id": f"g{track}"}, sound_of(track)))
        heard = 1 - track if swapped and track < 2 else track
        made = {"target": 1, "generator": "codec", "group_id": f"g{track}"}
        rows.append((made, sound_of(heard, copy=1)))
    return scene_of(rows)


@pytest.mark.parametrize(
    ("swapped", "told", "strange"),
    [
        (False, "codec: recall 12 of 12, precision 12 of 12", 0),
        (True, "codec: recall 10 of 12, precision 10 of 12; 2 rows could not be looked at", 2),
    ],
)
def test_recall_and_precision_of_reconstructions_are_counted(
    swapped: bool, told: str, strange: int
) -> None:
    outcomes = check_near_duplicates(reconstructed(swapped=swapped))
    heard = result(outcomes, "reconstructions").result
    assert heard.detail == told
    assert heard.figures == {
        "codec": {"n": 12, "n_linked": 12 - strange, "n_own": 12 - strange, "n_strange": strange}
    }
    conflicts = result(outcomes, "copies_inside").result.relations
    assert conflicts == ({"conflict": 4} if swapped else {})


def test_without_a_track_of_theirs_there_are_no_reconstructions() -> None:
    rows = [({"target": n % 2, "group_id": f"g{n}"}, sound_of(n)) for n in range(12)]
    heard = result(check_near_duplicates(scene_of(rows)), "reconstructions").result
    assert (heard.verdict, heard.detail) == ("not checked", "no fake has the group_id of a real")


def test_a_reconstruction_that_is_not_heard_as_its_track_is_not_checked() -> None:
    rows = [({"target": n % 2, "group_id": f"g{n // 2}"}, sound_of(n)) for n in range(12)]
    heard = result(check_near_duplicates(scene_of(rows)), "reconstructions").result
    assert (heard.verdict, heard.detail) == ("not checked", "none is heard as its track")
    assert heard.figures["unknown"] == {"n": 6, "n_linked": 0, "n_own": 0, "n_strange": 0}


def test_the_only_pair_there_is_is_not_held_against_itself() -> None:
    rows = [({"target": n, "group_id": f"g{n}"}, sound_of(n)) for n in range(2)]
    versions = result(check_near_duplicates(scene_of(rows)), "versions_inside").result
    assert versions.verdict == "not checked"
    assert versions.detail.startswith("too few strangers in these sets")


def test_strangers_are_pairs_that_differ() -> None:
    rows = [({"group_id": f"g{n}"}, sound_of(n)) for n in range(9)]
    versions = result(check_near_duplicates(scene_of(rows)), "versions_inside").result
    assert versions.verdict == "pass"
    assert versions.figures["strangers"]["n"] == versions.figures["n_comparisons"] == 36  # type: ignore[index,call-overload]  # JSON


def test_where_no_other_file_is_long_enough_nothing_is_passed() -> None:
    rows = [({"group_id": f"g{n}"}, sound_of(n)) for n in range(9)]
    rows.append(({"group_id": "short"}, Sound("short")))
    outcomes = check_near_duplicates(scene_of(rows, n_others=1))
    for name in ("copies_across", "versions_across"):
        check = result(outcomes, name).result
        assert (check.verdict, check.detail) == (
            "not checked",
            "no file of the other sets is long enough",
        )
    assert result(outcomes, "copies_inside").result.verdict == "pass"
