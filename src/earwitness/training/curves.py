"""Learning curves: a table and a chart.

Conventions: a row per epoch, numbered from 1. Rows are part of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import pytorch_lightning

from earwitness.core.errors import StoppedError
from earwitness.core.io import atomic_write
from earwitness.report.charts.renderer import render
from earwitness.report.charts.style import FONT, ink

CURVES_CSV = "curves.csv"

Row = dict[str, float]


@dataclass(frozen=True)
class Callbacks:
    """Functions that are called on progress.

    ``advance`` is called once per training example and epoch, dropped and resumed ones included;
    training stops if ``should_stop``, called before every batch, is true.
    """

    on_epoch: Callable[[Row], None] = lambda _: None
    advance: Callable[[bool], None] = lambda _: None
    should_stop: Callable[[], bool] = lambda: False


class Curves(pytorch_lightning.Callback):
    """Writes ``curves.csv`` and calls ``Callbacks``."""

    def __init__(self, out: Path, callbacks: Callbacks, *, n_examples: int) -> None:
        self.rows: list[Row] = []
        self._path = out / CURVES_CSV
        self._callbacks = callbacks
        self._n_examples = n_examples
        self._n_advanced = 0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Count the epochs of an earlier run."""
        del module
        self._advance_to(trainer.current_epoch * self._n_examples)

    def on_train_batch_start(self, *_: Any) -> None:
        """Stop on request; the next run repeats the epoch."""
        if self._callbacks.should_stop():
            raise StoppedError("stopped; the same command resumes at the last whole epoch")

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int
    ) -> None:
        """Count the examples of a batch."""
        del module, outputs, number
        epoch_end = (trainer.current_epoch + 1) * self._n_examples
        n_seen = len(batch[1]) * trainer.world_size
        self._advance_to(min(self._n_advanced + n_seen, epoch_end))

    def _advance_to(self, n_examples: int) -> None:
        for _ in range(n_examples - self._n_advanced):
            self._callbacks.advance(True)
        self._n_advanced = max(self._n_advanced, n_examples)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Write the row of an epoch."""
        del module
        self._advance_to((trainer.current_epoch + 1) * self._n_examples)
        metrics = {name: float(trainer.callback_metrics[name]) for name in _LABELS}
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        row: Row = {"epoch": trainer.current_epoch + 1, **metrics, "learning_rate": rate}
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        with atomic_write(self._path) as temporary:
            pl.DataFrame(self.rows).write_csv(temporary)
        self._callbacks.on_epoch(row)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows, for a checkpoint."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rows of a checkpoint."""
        self.rows = list(state["rows"])


def draw_curves(rows: list[Row], out: Path, *, title: str, best_epoch: int) -> None:
    """Write ``curves.png``."""
    with atomic_write(out / "curves.png") as temporary:
        chart = learning_chart(rows, title=title, best_epoch=best_epoch)
        temporary.write_bytes(render(chart, "png"))


_INK = ink("ink")
_LABELS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "valid_auroc": "AUROC",
    "valid_balanced_accuracy": "balanced accuracy",
}


def learning_chart(
    rows: Sequence[Mapping[str, float]], *, title: str, best_epoch: int
) -> alt.VConcatChart:
    """Return a chart of learning curves, rows of ``curves.csv``, with the best epoch marked."""
    losses = _panel(rows, ("train_loss", "valid_loss"), "loss", best_epoch)
    metrics = _panel(rows, ("valid_auroc", "valid_balanced_accuracy"), "validation", best_epoch)
    chart: alt.VConcatChart = (
        alt.vconcat(losses, metrics, spacing=24)
        .properties(padding=16, title=alt.TitleParams(text=title, anchor="start", color=_INK))
        .resolve_scale(color="independent", strokeDash="independent")
        .configure(font=FONT, background="#ffffff")
        .configure_axis(labelFontSize=13, titleFontSize=13, labelColor=_INK, titleColor=_INK)
        .configure_legend(labelFontSize=13)
    )
    return chart


def _panel(
    rows: Sequence[Mapping[str, float]], names: tuple[str, str], title: str, best_epoch: int
) -> alt.LayerChart:
    values = [
        {"epoch": row["epoch"], "value": row[name], "curve": _LABELS[name]}
        for row in rows
        for name in names
        if row.get(name) is not None
    ]
    shown = [_LABELS[name] for name in names]
    epochs = [row["epoch"] for row in rows]
    margin = 0.5 if len(set(epochs)) < 2 else 0
    x_scale = alt.Scale(domain=[min(epochs) - margin, max(epochs) + margin], nice=False, zero=False)
    ticks = epochs if len(epochs) <= 12 else alt.Undefined  # few epochs: no half ones
    axis = alt.Axis(tickMinStep=1, format="d", grid=False, values=ticks)
    legend = alt.Legend(symbolType="stroke", symbolSize=250, symbolStrokeWidth=2)
    x = alt.X("epoch:Q", title="epoch", axis=axis, scale=x_scale)
    # one domain for both channels: legends merge only if their domains agree
    colours = alt.Scale(domain=shown, range=[ink("real"), ink("fake")])
    dashes = alt.Scale(domain=shown, range=[[1, 0], [4, 3]])
    lines = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color("curve:N", title=None, legend=legend, scale=colours),
            strokeDash=alt.StrokeDash("curve:N", title=None, legend=legend, scale=dashes),
        )
    )
    kept = (
        alt.Chart(alt.InlineData(values=[{"epoch": best_epoch}]))
        .mark_rule(color="#999999")
        .encode(x=x)
    )
    is_left = best_epoch <= (min(epochs) + max(epochs)) / 2  # keeps the label off the legend
    align, dx = ("left", 4) if is_left else ("right", -4)
    label = kept.mark_text(text="kept", align=align, dx=dx, y=8, color=_INK, fontSize=12)
    marks = [kept, label] if title == "loss" else [kept]  # one label for both panels
    return alt.LayerChart(layer=[*marks, lines], width=420, height=200)
