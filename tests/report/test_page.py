"""The report as a file: what stands in it, and what cannot."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

import earwitness as ew
from earwitness.audit.schema import CheckResult
from earwitness.core.estimate import Estimate
from earwitness.evaluation.checks import list_baselines
from earwitness.evaluation.schema import (
    Calibration,
    Claim,
    Metrics,
    OperatingPoint,
    Prevalence,
    Transfer,
)
from earwitness.evaluation.summarize import evaluate_counts
from earwitness.report.comparison import read_comparison
from earwitness.report.metric_tables import estimates_tables, write_estimates
from earwitness.report.page import write_report
from earwitness.report.tables import Cell, Column, Row, Table
from frames import HOSTILE, audited, baseline, fail, keep, predictions

HALF = Estimate(value=0.5, low=0.4, high=0.6, n_items=100, n_groups=50, method="m")
NONE = Estimate(reason="only fakes in this slice")


class Reader(HTMLParser):
    """Tags, ids and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(metrics: Metrics, folder: Path, **options: object) -> Reader:
    path = folder / "report.html"
    write_report(metrics, path, **options)
    return Reader(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    broken = (pl.col("group_id") == "FMA:0") & (pl.col("target") == 1)
    whole = fail(predictions(), broken, error="not an MP3 file")
    return ew.evaluate([whole, predictions(detector="vit", seed=1, shift=0.4)], n_resamples=60)


@pytest.fixture(scope="module")
def written(metrics: Metrics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(metrics, path)
    return path


@pytest.fixture(scope="module")
def page(written: Path) -> Reader:
    return Reader(written.read_text(encoding="utf-8"))


def with_points(metrics: Metrics) -> Metrics:
    """The same metrics with what is fitted beside them."""
    point = OperatingPoint(
        detector="cnn",
        rule="fpr=0.05",
        threshold=0.731,
        fitted_on="calibration half",
        n_fitted=88,
        recall=HALF,
        specificity=NONE,
        false_flags_per_100k=Estimate(value=50_000.0, n_items=8, reason="too few groups"),
        prevalences=[Prevalence(prevalence=0.001, precision=HALF)],
        claims=[
            Claim(fpr=0.01, n_reals=299, n_reals_here=60, n_flagged_here=0, n_reals_flagged=299),
            Claim(fpr=0.05, n_reals=59, n_reals_here=60, n_flagged_here=0, n_reals_flagged=59),
            Claim(
                fpr=0.001, n_reals=2995, n_reals_here=60, n_flagged_here=9, n_reals_flagged=15702
            ),
            Claim(fpr=0.0001, n_reals=29956, n_reals_here=60),
        ],
    )
    transfer = Transfer(
        detector="cnn",
        rule="fpr=0.05",
        fitted_on="FMA",
        threshold=None,
        applied_to="SONICS",
        fpr=NONE,
        recall=HALF,
        reason="too few reals",
    )
    calibration = Calibration(
        detector="cnn",
        method="platt",
        scale=0.5,
        offset=-1.25,
        fitted_on="calibration half",
        n_fitted=88,
        prevalence_fitted=0.667,
        before={"ece": HALF},
        after={"ece": HALF},
    )
    return metrics.model_copy(
        update={
            "operating_points": [point],
            "transfers": [transfer],
            "calibrations": [calibration],
        }
    )


def test_the_page_is_one_file_that_asks_for_nothing(page: Reader, written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert list(written.parent.iterdir()) == [written]
    assert not re.search(r"(src|href)=\"(?!#|data:,)", text)
    assert "url(" not in text
    assert "@import" not in text
    assert page.tags.count("script") == page.tags.count("style") == 1
    assert not {name for name in page.attributes if name.startswith("on") or name == "style"}
    assert len(page.ids) == len(set(page.ids))
    assert len(text) < 1_000_000


def test_it_opens_with_what_was_found(metrics: Metrics, page: Reader) -> None:
    best, worst = (
        metrics.where(kind="overall", detector=name)[0].estimates["auroc"]
        for name in ("cnn", "vit")
    )
    assert (
        f"Of 2 detectors, cnn separates real from fake best, with an AUROC of {best.value:.3f} "
        f"[{best.low:.3f}, {best.high:.3f}] on {best.n_items} items of {best.n_groups} groups; "
        f"vit ranks last, with {worst.value:.3f}" in page.text
    )


def test_undefined_says_why_and_lost_rows_are_counted(page: Reader) -> None:
    text = page.text
    assert "– only fakes in this slice" in text
    assert "– needs 100 reals, 60 in this slice" in text or "TPR at 1 % FPR (needs 100" in text
    assert "not an MP3 file" in text
    assert " nan " not in text.casefold()


def test_what_is_fitted_gets_its_cards(metrics: Metrics, page: Reader, tmp_path: Path) -> None:
    assert "operating" in page.ids
    text = page_of(with_points(metrics), tmp_path).text
    assert "threshold 0.731, rule fpr=0.05, fitted on calibration half (88 items)" in text
    assert "50 % 40 % to 60 %" in text
    assert "– 4 of 8 reals flagged: too few groups" in text
    assert "0.1 % 50 % 40 % to 60 %" in text
    assert "at most 1 % 299 60 none flagged: needs 299" in text
    assert "at most 5 % 59 60 none flagged: enough" in text
    assert "at most 0.1 % 2 995 60 9 flagged: needs 15 702" in text
    assert "at most 0.01 % 29 956 60 number of flags unknown" in text
    assert "No threshold could be fitted and applied" in text
    assert "not fitted on FMA: too few reals" in text
    assert "platt: 0.5 × logit − 1.25" in text


def test_names_are_text_wherever_they_come_from(tmp_path: Path) -> None:
    whole = predictions(detector=HOSTILE, dataset=HOSTILE, corpora=[HOSTILE], generators=[HOSTILE])
    frame = whole.frame.with_columns(
        pl.lit(HOSTILE).alias("filepath") + pl.int_range(pl.len()).cast(pl.String)
    )
    broken = fail(ew.Predictions(HOSTILE, HOSTILE, frame), pl.col("filepath").str.ends_with("7"))
    check = baseline("container", detail=HOSTILE).model_copy(update={"title": HOSTILE})
    hostile = audited(HOSTILE, checks=[check])
    metrics = ew.evaluate([broken], n_resamples=60, audit=hostile)
    page = page_of(metrics, tmp_path)
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert page.text.count("<script>window.hit=1</script>") > 10


def test_an_audit_tells_findings_first_and_each_once(metrics: Metrics, tmp_path: Path) -> None:
    twice = {"detail": "12 of 20 rows", "advice": "drop them", "n_rows": 12, "scope": "inside"}
    checks = [
        CheckResult(name="a", title="the same bytes", verdict="finding", **twice),
        CheckResult(name="b", title="the same sound", verdict="finding", **twice),
        CheckResult(
            name="c", title="loud", verdict="pass", scope="rows", detail="none is", n_checked=9
        ),
        baseline("container", detail="too few groups"),
    ]
    audit = audited("d1", checks=checks)
    text = page_of(metrics.model_copy(update={"audit": audit}), tmp_path).text
    assert "2 of 4 checks have findings, 1 passed, 1 were not run" in text
    assert "the same bytes · sound 12 of 20 rows drop them 12" in text
    assert "Passed: 1" in text
    assert "container alone, all together too few groups" in text
    assert "2 audit checks have findings: see Audit." in text


def test_metadata_baselines_are_shown_but_are_no_detectors(tmp_path: Path) -> None:
    whole = predictions(n_tracks=20, corpora=["FMA"])
    plain = ew.evaluate([whole], n_resamples=60)
    cells = plain.where(kind="grid")
    told = [(*part.keys.values(), 0.98) for part in cells] + [("all", "all", "all", 0.97)]
    digest = "d1"
    audit = audited(digest, checks=[baseline("container", *told), baseline("channel", *told)])
    infos = [one.model_copy(update={"digest": digest}) for one in plain.manifests]
    found = plain.model_copy(
        update={"audit": audit, "baselines": list_baselines(audit, plain.slices)}
        | {"manifests": infos}
    )
    page = page_of(found, tmp_path)
    assert "file alone: container 0.970 [0.920, 0.990]" in page.text
    assert "“File alone” is a baseline and not a detector" in page.text
    assert "AUROC, file alone: channel" in page.text
    assert (
        "File properties alone separate the classes: length, rate, codec, tags and level reach"
        in page.text
    )
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    bodies = re.findall(r"<tbody>.*?</tbody>", html, re.DOTALL)
    assert not any("file alone: c" in body for body in bodies)  # sorting ranks no baseline
    write_estimates(found, tmp_path / "m.csv")
    rows = pl.read_csv(tmp_path / "m.csv").filter(pl.col("detector") == "file alone: container")
    assert rows["metric"].unique().to_list() == ["auroc"]
    assert rows.height == 1 + len(cells)


def test_baselines_that_were_not_made_say_why(metrics: Metrics, tmp_path: Path) -> None:
    few = [baseline(name, detail="too few groups") for name in ("container", "channel")]
    audit = audited("d1", checks=few)
    alone = list_baselines(audit, metrics.slices)
    page = page_of(metrics.model_copy(update={"audit": audit, "baselines": alone}), tmp_path)
    assert "file alone: container – too few groups" in page.text
    assert "The baselines are undefined for all pairs: too few groups." in page.text
    stream = StringIO()
    for table in estimates_tables(metrics.where(kind="overall"), alone):
        Console(width=80, file=stream).print(table)
    assert "too few groups" in stream.getvalue()
    assert max(map(len, stream.getvalue().splitlines())) <= 80


@pytest.mark.parametrize("target", [0, 1])
def test_one_class_says_what_cannot_be_said(tmp_path: Path, target: int) -> None:
    whole = predictions(corpora=["FMA"])
    metrics = ew.evaluate([keep(whole, pl.col("target") == target)], n_resamples=60)
    page = page_of(metrics, tmp_path)
    word, other = (("reals", "fakes"), ("fakes", "reals"))[target]
    assert f"The data has {word} only" in page.text
    assert f"No curves: only {word} in this slice." in page.text
    assert f"no {other}" in page.text
    assert "grid" not in page.ids


def test_labels_alone_and_too_few_groups_say_so(tmp_path: Path) -> None:
    few = predictions(n_tracks=6)
    bare = few.frame.with_columns(pl.lit(None, pl.Float64).alias("logit"))
    bare = bare.with_columns(pl.lit(None, pl.Float64).alias("pred_prob"))
    metrics = ew.evaluate([ew.Predictions("d", "cnn", bare)], n_resamples=60)
    assert metrics.basis == "labels"
    text = page_of(metrics, tmp_path).text
    assert "No curves: no scores to draw curves of." in text
    assert "No interval is possible: too few groups." in text


def test_counts_alone_make_a_page_that_says_what_they_cannot(shared: Path, tmp_path: Path) -> None:
    source = shared / "published" / "final_ood_comparison.csv"
    metrics = evaluate_counts(read_comparison(source), source=source)
    page = page_of(metrics, tmp_path)
    assert "awsaf49/sonics-spectttra-alpha-120s ranks first, with a mean balanced" in page.text
    assert "No intervals are possible" in page.text
    assert "curves need scores, which a comparison table lacks" in page.text
    assert page.text.count("1.000 † by construction") == 20
    assert "0.000 † by construction" in page.text
    assert not {"mistakes", "scores", "operating"} & set(page.ids)
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_players_are_for_existing_files(metrics: Metrics, page: Reader, tmp_path: Path) -> None:
    wrong = metrics.detectors[0].worst_misses
    music = tmp_path / "my music"
    for mistake in wrong[:2]:
        path = music / mistake.filepath
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    out = tmp_path / "runs" / "1"
    page_of(metrics, out, audio_roots=[music])
    text = (out / "report.html").read_text(encoding="utf-8")
    found = re.findall(r'<audio controls preload="none" src="([^"]+)"', text)
    assert f"./../../my%20music/{wrong[0].filepath}" in found
    assert all((out / src.replace("%20", " ")).resolve().is_file() for src in found)
    assert "audio" not in page.tags


def test_many_detectors_and_slices_stay_small(tmp_path: Path) -> None:
    one = ew.evaluate(
        [predictions(generators=[f"generator_{n}" for n in range(16)], n_tracks=24)],
        n_resamples=60,
    )
    names = [f"organisation/detector-with-a-name-{n}" for n in range(4)]
    many = one.model_copy(
        update={
            "detectors": [one.detectors[0].model_copy(update={"name": name}) for name in names],
            "slices": [
                part.model_copy(update={"detector": name}) for name in names for part in one.slices
            ],
        }
    )
    assert len(one.slices) >= 60
    page_of(many, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 2_200_000


def test_the_same_metrics_give_the_same_bytes(
    metrics: Metrics, written: Path, tmp_path: Path
) -> None:
    page_of(metrics, tmp_path)
    assert (tmp_path / "report.html").read_bytes() == written.read_bytes()


def test_names_are_not_cut_for_intervals_beside_values() -> None:
    columns = [Column("detector", "text"), *(Column(f"metric {n}") for n in range(5))]
    value = Cell("0.8591", short="0.8591\n.6141–.9591")
    table = Table("wide", columns, [Row([Cell("a detector"), *[value] * 5])])
    for width in (80, 105, 120, 200):
        stream = StringIO()
        Console(width=width, file=stream).print(table)
        assert "a detector" in stream.getvalue()
        assert "…" not in stream.getvalue()
        assert ("0.8591 .6141–.9591" in stream.getvalue()) == (width > 105)
