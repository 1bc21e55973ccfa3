"""Which detectors there are and where their weights lie, without opening any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import bundles
import spectttra_folders
from earwitness.core.errors import DetectorError, WeightsError
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.detectors.loading import DETECTORS, Listing, list_detectors, look_up

GAMMA = "sonics-spectttra-gamma-5s"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for weights that the environment names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EARWITNESS_WEIGHTS", str(tmp_path / "shelf"))
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


def by_name() -> dict[str, Listing]:
    return {Path(each.asked).name: each for each in list_detectors()}


def test_without_weights_every_registered_one_is_told_with_its_card(shelf: Path) -> None:
    listings = list_detectors()
    assert [each.asked for each in listings] == list(DETECTORS)
    assert [each.asked for each in listings if each.is_here] == ["comb", "box"]
    assert not any(each.problem for each in listings)
    assert all(each.card is not None for each in listings)


def test_weights_on_the_shelf_are_found_under_names_and_in_folders_of_ones_own(
    shelf: Path,
) -> None:
    bundles.write_specnn(shelf / "specnn_amplitude" / "variables", bundles.specnn_variables())
    spectttra_folders.write_folder(shelf / f"awsaf49__{GAMMA}", GAMMA)
    spectttra_folders.write_folder(shelf / "tuned", GAMMA)
    card = fakeprint_card(name="mine", trained_on=("a",), training_items=None)
    save_fakeprint(card, np.zeros(4_087), 1.0, shelf / "mine")
    (shelf / "notes").mkdir()
    found = by_name()
    assert {name for name, each in found.items() if each.is_here} == {
        *("comb", "box", "specnn_amplitude", "mine", "tuned"),
    }
    mine = found["mine"]
    assert (mine.asked, mine.weights) == (str(shelf / "mine"), shelf / "mine")
    assert mine.card is not None
    assert (mine.card.name, mine.card.trained_on) == ("mine", ("a",))
    assert "notes" not in found


def test_weights_that_cannot_be_used_are_told_with_the_reason(shelf: Path) -> None:
    spectttra_folders.write_folder(shelf / GAMMA, "sonics-spectttra-alpha-5s")
    (shelf / "broken").mkdir()
    (shelf / "broken" / "card.json").write_text("{}")
    card = fakeprint_card(name="bare", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 1.0, shelf / "bare")
    (shelf / "bare" / "weights.safetensors").unlink()
    found = by_name()
    assert "expected f_clip 5, t_clip 7" in (found[GAMMA].problem or "")
    assert found[GAMMA].card is not None
    assert "card.json" in (found["broken"].problem or "")
    assert found["broken"].card is None
    assert "no such file, expected the weights" in (found["bare"].problem or "")
    assert not any(found[name].is_here for name in (GAMMA, "broken", "bare"))


def test_unknown_names_and_places_are_errors(shelf: Path) -> None:
    with pytest.raises(DetectorError, match="did you mean 'specnn_amplitude'"):
        look_up("specnn")
    with pytest.raises(WeightsError, match="not in the cache"):
        look_up("somebody/something")
    with pytest.raises(WeightsError, match="no weights for fakeprint: looked at nowhere"):
        look_up("fakeprint", weights={"fakeprint": Path("nowhere")})


@pytest.mark.parametrize("asked", [f"awsaf49/{GAMMA}", f"{GAMMA}@v1", f"awsaf49/{GAMMA}@v1"])
def test_published_ids_have_a_card_before_their_weights_are_here(shelf: Path, asked: str) -> None:
    card = look_up(asked).card
    assert card is not None
    assert (card.name, card.kind, card.trained_on) == (asked, GAMMA, ("SONICS train",))


def test_the_hub_cache_is_looked_into_without_asking_the_hub(tmp_path: Path) -> None:
    commit = "0" * 40
    repository = tmp_path / "hub" / f"models--awsaf49--{GAMMA}"
    spectttra_folders.write_folder(repository / "snapshots" / commit, GAMMA)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = (
        "import socket; socket.socket.connect = None\n"
        "from earwitness.detectors.loading import look_up\n"
        f"print(look_up({GAMMA!r}).weights)"
    )
    environment = {"HF_HOME": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(repository / "snapshots" / commit)


def test_listing_loads_neither_torch_nor_polars_nor_scipy(shelf: Path) -> None:
    spectttra_folders.write_folder(shelf / GAMMA, GAMMA)
    code = (
        "import sys; from earwitness.detectors.loading import list_detectors\n"
        "assert any(each.is_here for each in list_detectors())\n"
        "assert not {'torch', 'polars', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
