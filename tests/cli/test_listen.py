"""``earwitness listen`` and ``earwitness detectors``, and the wrong things people type."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import spectttra_folders
from builders import write_comb, write_tone
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint

Run = Callable[..., tuple[int, str, str]]
GAMMA = "sonics-spectttra-gamma-5s"


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two detectors whose weights are here, in a working folder with songs."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shelf"
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 3.0, folder / "mine")
    spectttra_folders.write_folder(folder / GAMMA, GAMMA)
    monkeypatch.setenv("EARWITNESS_WEIGHTS", str(folder))
    write_tone(tmp_path / "songs" / "[red]ein Lied ü.wav", seconds=2, hz=6_000)
    write_comb(tmp_path / "songs" / "zwei.wav", 1)
    (tmp_path / "songs" / "text.mp3").write_text("hello")
    return folder


def test_one_song(run: Run) -> None:
    code, out, err = run("listen", "songs/[red]ein Lied ü.wav", "--save", "bild.svg")
    assert code == 0
    assert "songs/[red]ein Lied ü.wav  0:02 long" in out
    assert "mine says fake, score 0.95" in out
    assert f"{GAMMA} " in out
    assert "input of 5 s" in out
    assert "█" in out
    assert "timeline drawn in bild.svg" in err
    assert "[red]ein Lied ü.wav" in Path("bild.svg").read_text(encoding="utf-8")


def test_silence_gets_no_verdict(run: Run) -> None:
    soundfile.write("silence.wav", np.zeros((44_100, 2)), 44_100)
    code, out, err = run("listen", "silence.wav", "--save", "bild.png")
    assert (code, err) == (1, "")
    assert "mine abstained: nothing to analyse (digital silence)." in out
    assert f"{GAMMA} abstained: nothing to analyse (digital silence)." in out
    code, out, _ = run("listen", "silence.wav", "songs/zwei.wav", "--detector", "shelf/mine")
    assert code == 0
    assert "mine: nothing to analyse (digital silence)" in out
    assert "abstained" in out


def test_several_songs_make_a_table_and_a_bad_one_a_row(run: Run) -> None:
    code, out, _ = run("listen", "songs", "gone.mp3", "--detector", "shelf/mine", "--save", "p")
    assert code == 0
    for told in ("zwei.wav", "text/HTML", "gone.mp3", "no such file", "says fake", "0.95"):
        assert told in out
    assert GAMMA not in out
    assert sorted(path.name for path in Path("p").iterdir()) == [
        "_red_ein Lied ü.png",
        "zwei.png",
    ]


def test_json_is_all_there_is_on_stdout(run: Run) -> None:
    code, out, _ = run("listen", "songs", "--json", "--save", "p")
    assert code == 0
    told = json.loads(out)
    assert [card["name"] for card in told["detectors"]] == ["comb", "box", GAMMA, "mine"]
    songs = {Path(song["file"]).name: song for song in told["songs"]}
    assert songs["text.mp3"]["error"] == "a text/HTML file, not audio"
    comb, box, gamma, mine = songs["[red]ein Lied ü.wav"]["opinions"]
    assert "2 s long, too few frames" in comb["abstained"]
    assert box["abstained"] == comb["abstained"]
    assert (mine["verdict"], mine["is_probability"]) == ("says fake", False)
    assert [w["end_s"] for w in gamma["windows"]] == [2.0]


def test_nothing_judged_is_exit_code_1(run: Run) -> None:
    code, out, _ = run("listen", "songs/text.mp3")
    assert (code, out) == (1, "songs/text.mp3: a text/HTML file, not audio\n")
    assert run("listen", "gone.mp3", "--json")[0] == 1


def test_weights_and_preprocessing_can_be_named(run: Run) -> None:
    code, out, err = run(
        *("listen", "songs/zwei.wav", "--detector", GAMMA, "--weights", f"shelf/{GAMMA}"),
        *("--preprocessing", "published", "--windows", "1", "--device", "cpu"),
    )
    assert (code, "mine" in out) == (0, False)
    assert "treated as 16000 Hz without resampling, as in the published code" in " ".join(
        out.split()
    )
    code, _, err = run(
        "listen", "songs/zwei.wav", "--detector", "shelf/mine", "--preprocessing", "published"
    )
    assert "mine has only one preprocessing: correct" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--windows", "0"), "--windows 0: expected published, all or a whole number"),
        (("--device", "toaster"), "--device toaster: expected auto"),
        (("--detector", "specnn"), "did you mean 'specnn_amplitude'"),
        (("--save", "bild.jpg"), "--save bild.jpg: expected a .png or .svg file"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Run, arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run("listen", "songs/zwei.wav", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_without_weights_the_detectors_of_the_package_are_used(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARWITNESS_WEIGHTS")
    _, out, err = run("listen", "songs/zwei.wav")
    assert "comb " in out
    assert err == ""


def test_detectors_are_listed(run: Run, shelf: Path) -> None:
    code, out, _ = run("detectors")
    assert code == 0
    assert f"{shelf / GAMMA} (SHA-256" in " ".join(out.split())
    assert str(shelf / "mine") in out
    assert "not available; yours to bring" in out
    assert "not available; trained by you in seconds" in out
    assert "CC-BY-NC-4.0" in out


def test_a_card_is_shown_in_full(run: Run, shelf: Path) -> None:
    code, out, _ = run("detectors", "shelf/mine", "sonics-spectttra-alpha-120s")
    assert code == 0
    for told in ("uncalibrated, no probability", "5000 to 16000 Hz", "n_fft", "clips of 120 s"):
        assert told in out
    assert run("detectors", "specnn")[0] == 2


def test_detectors_as_json(run: Run, shelf: Path) -> None:
    _, out, _ = run("detectors", "--json")
    here = {each["detector"]: each for each in json.loads(out) if each["is_here"]}
    assert set(here) == {"comb", "box", GAMMA, str(shelf / "mine")}
    assert len(here[GAMMA]["card"]["weights_sha256"]) == 64


def test_listing_detectors_loads_no_torch(shelf: Path) -> None:
    code = (
        "import sys; sys.argv = ['earwitness', 'detectors']\n"
        "from earwitness.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('loaded', sorted({'torch', 'polars', 'scipy', 'altair'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded []\n")


def test_listening_without_a_picture_loads_no_charts_and_no_torch(tmp_path: Path) -> None:
    song = tmp_path / "a.wav"
    soundfile.write(song, 0.1 * np.random.default_rng(0).standard_normal(6 * 44_100), 44_100)
    code = (
        "import sys\n"
        f"sys.argv = ['earwitness', 'listen', {str(song)!r}, '--detector', 'comb,box']\n"
        "from earwitness.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end\n"
        "print('loaded', sorted({'torch', 'altair', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded []\n")
