"""What every detector that reads files itself must hold to: programs and services of others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from builders import write_tone
from detectors.test_command import write_program
from detectors.test_service import Service
from earwitness.core.manifest import Manifest
from earwitness.detectors.base import FileDetector
from earwitness.detectors.loading import detector_name, hash_weights, look_up, open_detector
from earwitness.scoring.predict import predict
from foreign import describe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="process groups as POSIX has them")


@pytest.fixture(params=["command", "http"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "command":
        yield write_program(tmp_path / "theirs", batch_files=2)
        return
    server = Service()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    given = {"upload": "file", "score": "results.0.ai", "output": "prob", "fake": 1, "retries": 0}
    describe(tmp_path / "theirs" / "detector.yaml", kind="http", url=server.url, **given)
    yield str(tmp_path / "theirs")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def detector(name: str) -> FileDetector:
    found = open_detector(name)
    assert isinstance(found, FileDetector)
    return found


@pytest.fixture
def songs(tmp_path: Path) -> list[str]:
    return [str(write_tone(tmp_path / f"{at}.wav", hz=200 + 50 * at)) for at in range(5)]


def test_the_card_says_what_is_known_without_opening(name: str, detector: FileDetector) -> None:
    listing, card = look_up(name), detector.card
    assert listing.card == card
    assert listing.is_here
    assert (detector_name(name, {}), card.kind) == (card.name, detector.backend)
    assert card.contract.reads_files
    assert len(card.weights_sha256 or "") == 64
    assert card.weights_from
    assert card.limits.endswith(".")
    assert type(card).model_validate_json(card.model_dump_json()) == card
    assert "detector.yaml" in hash_weights(name, {})


def test_a_score_depends_on_its_file_alone(detector: FileDetector, songs: list[str]) -> None:
    scores = detector.score_files(songs)
    assert len({*scores}) == len(songs)
    assert all(isinstance(score, float) for score in scores)
    assert detector.score_files(songs[::-1]) == scores[::-1]
    assert [detector.score_files([song])[0] for song in songs] == scores
    assert detector.score_files([]) == []


def test_a_missing_file_has_a_reason_and_costs_no_other_its_score(
    detector: FileDetector, songs: list[str], tmp_path: Path
) -> None:
    names = [Path(songs[0]).name, "absent.wav", Path(songs[1]).name]
    frame = pl.DataFrame({"filepath": names, "target": 0})
    (found,) = predict(Manifest("set", frame, (tmp_path,)), [detector], n_workers=0)
    assert found.frame["logit"].is_not_null().to_list() == [True, False, True]
    reason = found.frame["error"][1]
    assert reason
    assert "\n" not in reason
