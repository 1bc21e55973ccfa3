from __future__ import annotations

import re
from pathlib import Path

from earwitness.core.estimate import Estimate
from earwitness.evaluation import stress
from earwitness.evaluation.schema import Settings
from earwitness.evaluation.stress import Matrix, StressRow, WorstCase
from earwitness.report.stress_page import write_stress_report
from frames import HOSTILE

NONE = Estimate(reason="none")
NO_TEST = stress.Test(reason="none")


def share(value: float) -> Estimate:
    return Estimate(value=value, n_items=100, n_groups=100, reason="no interval here")


def row(detector: str, perturbation: str, lost: Estimate, flagged: Estimate) -> StressRow:
    return StressRow(
        detector=detector,
        perturbation=perturbation,
        n_items=200,
        n_paired=200,
        **dict.fromkeys(("auroc_clean", "auroc", "changed", "logit_shift", "abstained"), NONE),
        auroc_change=NO_TEST,
        accuracy_change=NO_TEST,
        rates=[{"rule": "file", "tpr": NONE, "fpr": NONE}],
        fake_to_real=lost,
        real_to_fake=flagged,
        largest_shift=None,
        n_to_abstention=0,
        n_from_abstention=0,
        n_failed=0,
        worst=[WorstCase(filepath=f"{HOSTILE}.mp3", target=1, clean_logit=1.0, logit=-2.0)],
    )


def page(folder: Path, *rows: StressRow) -> str:
    write_stress_report(Matrix(settings=Settings(), rows=list(rows)), folder / "report.html")
    return (folder / "report.html").read_text()


def test_both_directions_are_drawn_with_a_number_in_each_cell(tmp_path: Path) -> None:
    text = page(
        tmp_path,
        row("comb", "mp3_32", share(0.31), share(0.02)),
        row("comb", "polarity", share(0.0), NONE),
    )
    maps = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(maps) == 2
    assert all('role="img"' in one and "aria-label" in one for one in maps)
    assert [re.findall(r">(\.\d\d|–)<", one) for one in maps] == [[".31", ".00"], [".02", "–"]]
    assert "31 % of fakes to real (comb, mp3_32) and 2" in text


def test_names_of_worst_files_are_shown_as_text(tmp_path: Path) -> None:
    text = page(tmp_path, row(HOSTILE, "p", share(0.5), NONE))
    assert HOSTILE not in text
    assert ".mp3" in text


def test_a_run_without_flips_or_rows_is_a_page(tmp_path: Path) -> None:
    assert "No decision flips." in page(tmp_path, row("comb", "p", NONE, share(0.0)))
    assert "No decision flips." in page(tmp_path)
