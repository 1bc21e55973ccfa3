"""A browser without a window, and reports to open in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import earwitness as ew
from earwitness.core.estimate import ComparisonRow, Counts
from earwitness.evaluation.schema import Metrics
from earwitness.evaluation.summarize import evaluate_counts
from earwitness.report.page import write_report
from frames import HOSTILE, fail, keep, predictions

_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
)


class Opened:
    """A report in a browser, and everything that it logged and asked for."""

    def __init__(self, page, url: str) -> None:
        self.page = page
        self.logged: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.logged.append(message.text))
        page.on("pageerror", lambda error: self.logged.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(url)


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """Chromium under Playwright; the tests that need it skip where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install -e .[dev]")
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
    )
    if not found:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=list(_QUIET))
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium) -> Iterator[Callable[..., Opened]]:
    """Open a file or an address: ``browse(path, width=…, dark=…)``."""
    contexts = []

    def call(path: Path | str, *, width: int = 1100, dark: bool = False) -> Opened:
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        context.set_default_timeout(8000)
        contexts.append(context)
        url = path if isinstance(path, str) else path.as_uri()
        return Opened(context.new_page(), url)

    yield call
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def metrics() -> Metrics:
    """Two detectors on two data sets; a file name that would be a script if it could."""
    sources = []
    for seed, detector in enumerate(("first/net@v1", "second<b>net</b>")):
        whole = fail(
            predictions(detector=detector, seed=seed, shift=1.2 + seed),
            (pl.col("group_id") == "FMA:0") & (pl.lit(seed) == 0),
            error="broken <i>header</i>",
        )
        surest = pl.col("logit") == pl.col("logit").filter(pl.col("target") == 0).max()
        frame = whole.frame.with_columns(
            pl.when(surest).then(pl.lit(HOSTILE)).otherwise("filepath").alias("filepath")
        )
        sources.append(ew.Predictions("mixed", detector, frame))
        sources.append(keep(sources[-1], pl.col("target") == 1, "fakes_only"))
    return ew.evaluate(sources, n_resamples=60)


@pytest.fixture(scope="session")
def report(metrics: Metrics, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of these metrics."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(metrics, path)
    return path


@pytest.fixture(scope="session")
def report_of_counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a comparison table alone."""
    rows = [
        ComparisonRow("a", "fakes", Counts(tp=30, tn=0, fp=0, fn=10)),
        ComparisonRow("a", "reals", Counts(tp=0, tn=38, fp=2, fn=0)),
        ComparisonRow("b", "fakes", Counts(tp=8, tn=0, fp=0, fn=32)),
        ComparisonRow("b", "reals", Counts(tp=0, tn=40, fp=0, fn=0)),
    ]
    path = tmp_path_factory.mktemp("counts") / "report.html"
    write_report(evaluate_counts(rows, source="table.csv"), path)
    return path
