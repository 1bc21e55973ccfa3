"""From features to findings: clusters of rows, reconstructions, kept rows; no audio is made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from earwitness.audit.checks import AuditContext, Outcome, make_context
from earwitness.audit.features import FileFeatures
from earwitness.audit.near_duplicates.alignment import Variant, vary
from earwitness.audit.near_duplicates.check import check_near_duplicates
from earwitness.audit.schema import AuditReport
from earwitness.audit.tables import audit_table
from earwitness.core.manifest import Manifest

N_WORDS, N_FRAMES = 600, 80


def features_of(track: int, *, copy: int = 0) -> FileFeatures:
    """Return made-up features; copies of a track differ in an eighth of their bits."""
    rng = np.random.default_rng(track)
    words = rng.integers(1, 1 << 32, N_WORDS, dtype=np.uint32)
    noise = rng.standard_normal((N_FRAMES + 3, 12))
    chroma = sum(noise[k : k + N_FRAMES] for k in range(4)) * 16
    if copy:
        other = np.random.default_rng((track, copy))
        flips = [other.integers(1 << 32, size=N_WORDS, dtype=np.uint32) for _ in range(3)]
        words = words ^ (flips[0] & flips[1] & flips[2])
    name = f"{track} {copy}"
    return FileFeatures(name, words=words, chroma=chroma.clip(-127, 127).astype(np.int8))


def context_of(
    rows: Sequence[tuple[dict[str, Any], FileFeatures]], *, n_others: int = 0
) -> AuditContext:
    """Return the context of rows with features; the last ``n_others`` are of another set."""
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
    context = make_context([audited], [other] if n_others else [], ())
    files = context.rows["file"].to_list()
    return replace(
        context, features={file: features for file, (_, features) in zip(files, rows, strict=True)}
    )


def result(outcomes: Sequence[Outcome], name: str) -> Outcome:
    (one,) = [outcome for outcome in outcomes if outcome.result.name == name]
    return one


def test_many_rows_of_two_recordings_are_flagged_without_a_link_for_every_pair() -> None:
    n = 40
    row = {"target": 0, "group_id": "a"}
    rows = [(row, features_of(1, copy=k % 2)) for k in range(2 * n)]
    copies = result(check_near_duplicates(context_of(rows)), "copies_inside")
    assert copies.result.relations == {"duplicate": 2 * n}
    assert {finding.n_others for finding in copies.findings} == {n}
    assert sum(not finding.drop for finding in copies.findings) == 1
    assert copies.findings[0].drop is False
    assert len(copies.links) == 2 * n - 1
    assert {link.row for link in copies.links} | {link.other_row for link in copies.links} == set(
        range(1, 2 * n + 1)
    )


def reconstructed(*, swapped: bool = False) -> AuditContext:
    """Return twelve tracks, each with a fake of ``codec``; two fakes may change places."""
    rows: list[tuple[dict[str, Any], FileFeatures]] = []
    for track in range(12):
        rows.append(({"group_id": f"g{track}"}, features_of(track)))
        sounding = 1 - track if swapped and track < 2 else track
        made = {"target": 1, "generator": "codec", "group_id": f"g{track}"}
        rows.append((made, features_of(sounding, copy=1)))
    return context_of(rows)


@pytest.mark.parametrize(
    ("swapped", "detail", "strange"),
    [
        (False, "codec: recall 12 of 12, precision 12 of 12", 0),
        (True, "codec: recall 10 of 12, precision 10 of 12; 2 rows could not be checked", 2),
    ],
)
def test_recall_and_precision_of_reconstructions_are_counted(
    swapped: bool, detail: str, strange: int
) -> None:
    outcomes = check_near_duplicates(reconstructed(swapped=swapped))
    check = result(outcomes, "reconstructions").result
    assert check.detail == detail
    assert check.figures == {
        "codec": {"n": 12, "n_linked": 12 - strange, "n_own": 12 - strange, "n_strange": strange}
    }
    conflicts = result(outcomes, "copies_inside").result.relations
    assert conflicts == ({"conflict": 4} if swapped else {})


def test_without_a_track_of_theirs_there_are_no_reconstructions() -> None:
    rows = [({"target": n % 2, "group_id": f"g{n}"}, features_of(n)) for n in range(12)]
    check = result(check_near_duplicates(context_of(rows)), "reconstructions").result
    assert (check.verdict, check.detail) == ("not checked", "no fake has the group_id of a real")


def test_a_reconstruction_that_is_not_recognised_is_not_checked() -> None:
    rows = [({"target": n % 2, "group_id": f"g{n // 2}"}, features_of(n)) for n in range(12)]
    check = result(check_near_duplicates(context_of(rows)), "reconstructions").result
    assert (check.verdict, check.detail) == ("not checked", "none is recognised as its track")
    assert check.figures["unknown"] == {"n": 6, "n_linked": 0, "n_own": 0, "n_strange": 0}


def test_a_single_pair_gives_no_null_distribution() -> None:
    rows = [({"target": n, "group_id": f"g{n}"}, features_of(n)) for n in range(2)]
    versions = result(check_near_duplicates(context_of(rows)), "versions_inside").result
    assert versions.verdict == "not checked"
    assert versions.detail.startswith("too few unrelated pairs in these sets")


def test_unrelated_pairs_are_of_different_groups() -> None:
    rows = [({"group_id": f"g{n}"}, features_of(n)) for n in range(9)]
    versions = result(check_near_duplicates(context_of(rows)), "versions_inside").result
    assert versions.verdict == "pass"
    assert versions.figures["strangers"]["n"] == versions.figures["n_comparisons"] == 36  # type: ignore[index,call-overload]  # JSON


def coded(track: int, *, share: float = 0.6) -> FileFeatures:
    """Return a track as a neural codec leaves it: words are lost, chroma is alike."""
    own, noise = features_of(track), features_of(10_000 + track)
    chroma = own.chroma * 0.8 + noise.chroma * share
    name, words = f"coded {track}", noise.words
    return FileFeatures(name, words=words, chroma=np.rint(chroma).clip(-127, 127).astype(np.int8))


def test_tracks_that_all_leak_do_not_hide_each_other() -> None:
    """Without group_id, true pairs are among those that the null distribution is fitted to."""
    rows: list[tuple[dict[str, Any], FileFeatures]] = [({"target": 1}, coded(n)) for n in range(48)]
    rows += [({}, features_of(n)) for n in range(48)]
    versions = result(check_near_duplicates(context_of(rows, n_others=48)), "versions_across")
    assert versions.result.relations == {"leak": 48}
    assert {(f.filepath, f.other_filepath) for f in versions.findings} == {
        (f"{n}.wav", f"{n + 48}.wav") for n in range(48)
    }


def test_a_set_of_variations_on_one_piece_does_not_pass() -> None:
    one = features_of(1)
    rows: list[tuple[dict[str, Any], FileFeatures]] = []
    for n in range(12):
        chroma = one.chroma * 0.7 + features_of(100 + n).chroma * 0.7
        faint = np.rint(chroma).clip(-127, 127).astype(np.int8)
        words = features_of(200 + n).words
        rows.append(({}, FileFeatures(f"faint {n}", words=words, chroma=faint)))
    versions = result(check_near_duplicates(context_of(rows)), "versions_inside").result
    assert versions.verdict != "pass"
    assert versions.figures["decidable"] is False
    assert "not decidable" in versions.detail


def test_a_clear_version_is_found_without_unrelated_pairs() -> None:
    rows = [({"target": 0}, features_of(1)), ({"target": 1}, coded(1))]
    versions = result(check_near_duplicates(context_of(rows)), "versions_inside").result
    assert versions.relations == {"conflict": 2}


def test_silent_files_are_unchecked() -> None:
    rows: list[tuple[dict[str, Any], FileFeatures]] = [({}, features_of(n)) for n in range(9)]
    silent = FileFeatures(
        "silent",
        words=np.zeros(N_WORDS, dtype=np.uint32),
        chroma=np.zeros((N_FRAMES, 12), dtype=np.int8),
    )
    rows.append(({}, silent))
    for name in ("copies_inside", "versions_inside"):
        check = result(check_near_duplicates(context_of(rows)), name).result
        assert (check.verdict, check.n_checked, check.n_unchecked) == ("pass", 9, 1)
        assert "1 rows could not be checked" in check.detail


def test_every_searched_scope_says_what_is_not_searched() -> None:
    clean = [({}, features_of(n)) for n in range(9)]
    for rows in (clean, [*clean, ({}, features_of(1, copy=1))]):
        context = context_of(rows)
        outcomes = check_near_duplicates(context)
        copies, versions = (result(outcomes, f"{name}_inside") for name in ("copies", "versions"))
        assert copies.result.detail.endswith(
            "not looked for: reversed sound, crops under 2 s, parts under 5 s"
        )
        assert "not looked for: reversed sound, less than 5 s in common" in versions.result.detail
        assert "pitch changed by more than 2 semitones" in versions.result.detail
        report = AuditReport(
            earwitness="0",
            manifests=[],
            detectors=[],
            checks=[copies.result, versions.result],
        )
        printed = io.StringIO()
        Console(file=printed, width=400).print(audit_table(report))
        assert printed.getvalue().count("not looked for: reversed sound") == 2


def over_backing(backing: int, own: int) -> FileFeatures:
    """Return a piece over a backing: two words in three stay, half of the notes are its own."""
    under, over = features_of(backing), features_of(own)
    keeps = np.random.default_rng(own).random(N_WORDS) < 0.8
    words = np.where(keeps, under.words, over.words)
    chroma = np.rint(under.chroma * 0.6 + over.chroma * 0.8).clip(-127, 127).astype(np.int8)
    return FileFeatures(f"{backing} {own}", words=words, chroma=chroma)


def test_pieces_over_one_backing_are_partial_and_not_dropped() -> None:
    rows: list[tuple[dict[str, Any], FileFeatures]] = [
        ({}, over_backing(1, 50 + n)) for n in range(8)
    ]
    rows += [({}, features_of(n)) for n in range(2, 12)]
    outcomes = check_near_duplicates(context_of(rows))
    copies = result(outcomes, "copies_inside")
    assert copies.result.verdict == "finding"
    assert copies.result.relations == {"partial": 8}
    assert {f.detail for f in copies.findings} == {"shares a part or its backing with a real row"}
    assert not any(f.drop for outcome in outcomes for f in outcome.findings)


def test_a_changed_version_says_what_was_changed() -> None:
    rows: list[tuple[dict[str, Any], FileFeatures]] = [({}, smooth_features(n)) for n in range(12)]
    original = smooth_features(3)
    varied, _ = vary(original.chroma, Variant(1.0, 1.06))
    rows.append(({"target": 1}, FileFeatures("fast", words=features_of(77).words, chroma=varied)))
    versions = result(check_near_duplicates(context_of(rows)), "versions_inside")
    assert versions.result.relations == {"conflict": 2}
    assert {f.filepath for f in versions.findings} == {"3.wav", "12.wav"}
    assert all("semitone" in f.detail for f in versions.findings)


def smooth_features(track: int, n_frames: int = 240) -> FileFeatures:
    """Return a long recording whose chroma changes as slowly as that of music."""
    noise = np.random.default_rng(track).standard_normal((n_frames + 3, 12))
    chroma = sum(noise[k : k + n_frames] for k in range(4)) * 16
    words = np.random.default_rng(track).integers(1, 1 << 32, N_WORDS, dtype=np.uint32)
    return FileFeatures(
        f"s{track}", words=words, chroma=np.rint(chroma).clip(-127, 127).astype(np.int8)
    )


def test_where_no_other_file_is_long_enough_nothing_is_passed() -> None:
    rows = [({"group_id": f"g{n}"}, features_of(n)) for n in range(9)]
    rows.append(({"group_id": "short"}, FileFeatures("short")))
    outcomes = check_near_duplicates(context_of(rows, n_others=1))
    for name in ("copies_across", "versions_across"):
        check = result(outcomes, name).result
        assert (check.verdict, check.detail) == (
            "not checked",
            "no file of the other sets is long enough",
        )
    assert result(outcomes, "copies_inside").result.verdict == "pass"
