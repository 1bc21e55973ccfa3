"""``earwitness dossier``: the page of one file."""

from __future__ import annotations

import hashlib
import html
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from builders import write_comb
from earwitness.detectors.fakeprint import fakeprint_card, save_fakeprint
from earwitness.detectors.loading import open_detector
from earwitness.listen.dossier import gather
from earwitness.scoring.prediction_files import write_predictions
from frames import predictions
from soundfiles import music, write_av

Run = Callable[..., tuple[int, str, str]]
HOSTILE_TAG = "<script>window.hit=1</script>"
NAME = "<b>Lied ü.mp3"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a song with hostile tags and name, and one detector."""
    monkeypatch.chdir(tmp_path)
    card = fakeprint_card(name="mine", trained_on=None, training_items=None)
    save_fakeprint(card, np.zeros(4_087), 3.0, tmp_path / "mine")
    tags = {"title": HOSTILE_TAG, "artist": "A. Nonym"}
    write_av(tmp_path / NAME, music(44_100, 4, 2), 44_100, "libmp3lame", format="mp3", tags=tags)
    return tmp_path


def text_of(page: Path) -> str:
    """The page's text, without markup."""
    return html.unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))


def test_a_file_and_what_is_found_in_it(run: Run) -> None:
    code, out, err = run("dossier", NAME, "--detector", "mine,comb", "--suite", "none")
    assert (code, out) == (0, "written to dossier.html\n"), err
    page, text = Path("dossier.html").read_text(encoding="utf-8"), text_of(Path("dossier.html"))
    assert hashlib.sha256(Path(NAME).read_bytes()).hexdigest() in text
    for said in (
        "mp3, mp3",
        "44100 Hz, 2 channels",
        "A. Nonym",
        "none",
        "C2PA manifest",
        "says fake",
        "155",
        "No measured error: mine. Its findings have no weight.",
        "no reference predictions were given (--reference)",
        "It is not trained.",
        "0.064]",
        "what changes do to the scores (--suite)",
        "no verdict proves how a song was made",
    ):
        assert said in text, said
    for hostile in (HOSTILE_TAG, "<b>Lied"):
        assert hostile not in page
        assert html.escape(hostile, quote=False) in page


def test_its_command_makes_the_same_page_again(run: Run) -> None:
    assert run("dossier", NAME, "--detector", "mine", "--suite", "changes.yaml")[0] == 2
    Path("changes.yaml").write_text("perturbations: [gain_db_-12, mp3_128]\n")
    Path("models").mkdir()
    Path("mine").rename("models/mine")
    assert run("dossier", NAME, "--detector", "models/mine", "--suite", "changes.yaml")[0] == 0
    first, text = Path("dossier.html").read_bytes(), text_of(Path("dossier.html"))
    assert "gain_db_-12" in text
    assert "as it is" in text
    found = re.search(r"earwitness dossier .*?--suite changes\.yaml", text)
    assert found is not None
    _, *words = shlex.split(found[0])
    assert run(*words)[0] == 0
    assert Path("dossier.html").read_bytes() == first


def test_redacted_pages_name_nothing(run: Run, folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "copy secret.mp3").write_bytes(Path(NAME).read_bytes())
    Path("m.csv").write_text("filepath,target\none/copy secret.mp3,0\ntwo/copy secret.mp3,0\n")
    asked = ("dossier", NAME, "--detector", "mine", "--suite", "none", "--against", "m.csv")
    assert run(*asked)[0] == 0
    assert "copy secret.mp3" in text_of(Path("dossier.html"))
    assert "the same bytes" in text_of(Path("dossier.html"))
    assert run(*asked, "--redact", "--root", folder)[0] == 0
    text = text_of(Path("dossier.html"))
    for private in ("Lied", "Nonym", "script", "secret", "m.csv", str(folder)):
        assert private not in text
    assert "match 1" in text
    assert "FILE --detector mine --against AGAINST --root ROOT --suite none --redact" in text
    assert hashlib.sha256(Path(NAME).read_bytes()).hexdigest() in text


def test_errors_on_reals_like_it_and_a_bounded_ratio(run: Run) -> None:
    whole = predictions(n_tracks=60, detector="mine", shift=8).frame.with_columns(
        native_rate_hz=pl.when(pl.int_range(pl.len()) % 3 == 0).then(44_100).otherwise(48_000),
        codec=pl.lit("mp3"),
        duration_s=pl.int_range(pl.len()) / 10,
        detector=pl.lit("mine"),
    )
    write_predictions(whole, "reference.csv")
    detector = open_detector("mine")
    found = gather(Path(NAME), [detector], suite=None, reference=[Path("reference.csv")])
    kinds = {one.reals: one.fpr for one in found.errors}
    assert list(kinds) == [
        "all reals",
        "reals of 44100 Hz",
        "reals in mp3",
        "reals 2 to 8 s long",
        "reals like this file in all of these",
    ]
    assert kinds["all reals"].n_items == 60
    assert kinds["all reals"].value == pytest.approx(
        (whole.filter(target=0)["pred_label"] == 1).mean()
    )
    assert (
        kinds["reals 2 to 8 s long"].n_items
        == whole.filter(pl.col("duration_s").is_between(2, 8), target=0).height
    )
    (ratio,) = found.ratios
    assert (ratio.n_real, ratio.n_fake) == (60, 120)
    assert ratio.bound_log10 == pytest.approx(np.log10(60))
    assert 0 < ratio.log10 <= ratio.bound_log10
    code, _, err = run("dossier", NAME, "--detector", "mine", "--suite", "none",
                       "--reference", "reference.csv")  # fmt: skip
    assert (code, err) == (0, "")
    text = text_of(Path("dossier.html"))
    assert "times likelier if fake" in text
    assert "Reference predictions: reference.csv." in text


def test_a_trace_has_its_picture(run: Run, folder: Path) -> None:
    write_comb(folder / "comb.wav", 1, seconds=12, level=0.05)
    assert run("dossier", "comb.wav", "--detector", "comb", "--suite", "none")[0] == 0
    assert "Trace of a decoder found" in text_of(Path("dossier.html"))
    assert "comb: the comb" in text_of(Path("dossier.html"))


def test_wrong_inputs(run: Run) -> None:
    Path("text.mp3").write_text("hello")
    code, _, err = run("dossier", "text.mp3", "--detector", "mine")
    assert (code, err) == (1, "")
    assert "No answer:" in text_of(Path("dossier.html"))
    assert "nothing is known of its origin" in text_of(Path("dossier.html"))
    for arguments, said in (
        (["nowhere.mp3"], "nowhere.mp3: no such file"),
        ([NAME, "--out", NAME], "--out"),
        ([NAME, "--suite", "nowhere.yaml"], "nowhere.yaml"),
        ([NAME, "--reference", "nowhere.csv", "--suite", "none"], "nowhere.csv"),
    ):
        code, _, err = run("dossier", *arguments, "--detector", "mine")
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err
