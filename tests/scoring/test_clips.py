"""What several detectors ask of a file is read once, and is what each would have read alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earwitness.audio import decode
from earwitness.audio.decode import Span, read_slice
from earwitness.core.cards import ClipContract
from earwitness.core.errors import AudioError
from earwitness.scoring import clips
from earwitness.scoring.clips import ClipRequest, Cut, DecodedFile, Job, cut_file
from earwitness.scoring.workers import Task, decode_files

CONTRACTS = (
    ClipContract(sample_rate_hz=44_100, clip_samples=34_398),
    ClipContract(sample_rate_hz=16_000, clip_samples=32_000, crop="three_quarters", mono=True),
    ClipContract(sample_rate_hz=16_000, clip_samples=90_000, crop="three_quarters", mono=True),
    ClipContract(sample_rate_hz=16_000, clip_samples=20_000),
    ClipContract(sample_rate_hz=16_000, native_rate=True, clip_samples=50_000, mono=True),
    ClipContract(sample_rate_hz=44_100, max_samples=200_000, min_samples=16_384),
)


@pytest.fixture(scope="module", params=["a.mp3", "a.flac", "a.ogg", "mono.mp3"])
def song(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds of noise under a rising tone."""
    times = np.arange(7 * 44_100) / 44_100
    noise = np.random.default_rng(0).standard_normal((len(times), 2))
    stereo = 0.3 * np.sin(400 * times**2)[:, None] + 0.05 * noise
    path = tmp_path_factory.mktemp("song") / str(request.param)
    soundfile.write(path, stereo[:, :1] if path.stem == "mono" else stereo, 44_100)
    return path


@settings(deadline=None, max_examples=15)
@given(
    st.lists(
        st.tuples(st.sampled_from(CONTRACTS), st.sampled_from(["published", 1, 2, 3, "all"])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([1, 200_000, 32 * 2**20]),
)
def test_clips_are_those_that_each_would_have_read_alone(
    song: Path, asked: list[tuple[ClipContract, int]], part_bytes: int
) -> None:
    requests = tuple(dict.fromkeys(ClipRequest(contract, windows) for contract, windows in asked))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "PART_BYTES", part_bytes)
        parts = list(decode_files([Task(Job(str(song)), requests)], n_workers=0))
    assert [part.part for part in parts] == list(range(parts[0].n_parts))
    for request in requests:
        cuts = [cut for part in parts if isinstance(cut := part.cuts[request], Cut)]
        found = [clip for cut in cuts for clip in cut.clips]
        assert {cut.n_clips for cut in cuts} == {len(found)}
        for clip in found:
            assert clip.window is not None
            alone = read_slice(
                *(song, *clip.window),
                sample_rate_hz=clip.sample_rate_hz,
                mono=request.contract.mono,
            )
            np.testing.assert_array_equal(clip.samples, alone)


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[list[Span]]:
    reads: list[list[Span]] = []

    def counted(info: decode.AudioInfo, spans: list[Span]) -> list[np.ndarray]:
        reads.append(list(spans))
        return decode.read_spans(info, spans)

    monkeypatch.setattr(clips, "read_spans", counted)
    return reads


def test_a_file_is_read_once_for_all(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = count_reads(monkeypatch)
    cut_file(Job(str(song)), tuple(ClipRequest(contract) for contract in CONTRACTS))
    assert len(reads) == 1


def test_little_is_read_of_a_long_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros(8_000 * 60 * 60, np.int16), 8_000)
    reads = count_reads(monkeypatch)
    contract = ClipContract(sample_rate_hz=16_000, clip_samples=80_000, crop="three_quarters")
    decoded = cut_file(Job(str(tmp_path / "long.wav")), (ClipRequest(contract),))
    assert decoded.info is not None
    assert decoded.info.duration_s == 3_600
    ((span,),) = reads
    assert 40_000 <= span.stop - span.start <= 50_000


def test_a_long_file_comes_in_parts_that_stay_small(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", np.zeros((8_000 * 60 * 60, 2), np.int16), 8_000)
    request = ClipRequest(ClipContract(sample_rate_hz=16_000, clip_samples=80_000), "all")
    task = Task(Job(str(tmp_path / "long.wav")), (request,))
    n_clips = 0
    for decoded in decode_files([task], n_workers=0):
        cut = decoded.cuts[request]
        assert isinstance(cut, Cut)
        assert cut.n_clips == 720
        assert sum(clip.samples.nbytes for clip in cut.clips) <= clips.PART_BYTES
        n_clips += len(cut.clips)
    assert n_clips == 720


def test_what_one_needs_of_a_damaged_file_does_not_cost_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = decode.read_spans

    def broken_late(info: decode.AudioInfo, spans: list[Span]) -> list[np.ndarray]:
        if any(span.stop > 100_000 for span in spans):
            raise AudioError(info.path, "damaged near 12.50 s")
        return real(info, spans)

    monkeypatch.setattr(clips, "read_spans", broken_late)
    soundfile.write(tmp_path / "a.wav", np.zeros(20 * 8_000), 8_000)
    early = ClipRequest(ClipContract(sample_rate_hz=8_000, clip_samples=8_000))
    late = ClipRequest(
        ClipContract(sample_rate_hz=8_000, clip_samples=8_000, crop="three_quarters")
    )
    decoded: DecodedFile = cut_file(Job(str(tmp_path / "a.wav")), (early, late))
    assert isinstance(decoded.cuts[early], Cut)
    assert decoded.cuts[late] == "damaged near 12.50 s"
