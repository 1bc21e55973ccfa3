"""Rows that come from one place: group, track, song, caption, artist, video.

Conventions: across sets any of them is a leak. Inside a set the same track, song, caption or video
is by design where ``group_id`` joins the rows, and a finding where it does not: intervals would
take them for independent. Artists are compared across sets alone.
"""

from __future__ import annotations

import re

from earwitness.audit.context import AuditContext, Outcome
from earwitness.audit.overlap import SharedKey, compare_across, compare_groups
from earwitness.datasets import fakemusiccaps
from earwitness.splits.grouping import named_files, track_keys

_JOIN = "give these rows one group_id: intervals take rows of different groups for independent"

GROUP = SharedKey("group", "the same group_id", "no row has a group_id")
TRACK = SharedKey(
    "track",
    "the same track, song or caption",
    "no row is of a corpus whose file names tell (FMA, SONICS, FakeMusicCaps)",
    advice_inside=_JOIN,
)
ARTIST = SharedKey(
    "artist",
    "the same artist",
    "no row names an artist",
    advice_across="drop these rows: detectors learn artists, and would be judged on known ones",
)
VIDEO = SharedKey(
    "video", "the same YouTube video", "no row tells a YouTube id", advice_inside=_JOIN
)

_NOBODY = {"various artists", "various", "unknown", "unknown artist", "n/a", "none"}
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")


def check_group(scene: AuditContext) -> list[Outcome]:
    """Compare ``group_id``; inside a set it is what joins rows."""
    return [compare_across(scene, GROUP, scene.rows["group_id"].to_list())]


def check_track(scene: AuditContext) -> list[Outcome]:
    """Compare what the file names of known corpora tell."""
    keys = track_keys(scene.rows)
    return [compare_across(scene, TRACK, keys), compare_groups(scene, TRACK, keys)]


def check_artist(scene: AuditContext) -> list[Outcome]:
    """Compare artists, without regard to case and spaces."""
    keys = [_artist(name) for name in scene.rows["artist"].to_list()]
    return [compare_across(scene, ARTIST, keys)]


def check_video(scene: AuditContext) -> list[Outcome]:
    """Compare YouTube ids: a column of their own, or FakeMusicCaps' names, which are such ids."""
    named = zip(named_files(scene.rows), scene.rows["youtube_id"].to_list(), strict=True)
    keys = [video or _video(corpus, stem) for (corpus, stem, _), video in named]
    return [compare_across(scene, VIDEO, keys), compare_groups(scene, VIDEO, keys)]


def _artist(name: str | None) -> str | None:
    plain = " ".join((name or "").casefold().split())
    return None if plain in _NOBODY else plain or None


def _video(corpus: str, stem: str) -> str | None:
    is_id = corpus == fakemusiccaps.SOURCE and _VIDEO_ID.fullmatch(stem)
    return stem if is_id else None
