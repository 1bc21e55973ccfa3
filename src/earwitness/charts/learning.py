"""How a network learned: losses and the validation's figures, epoch by epoch.

Conventions: epochs are numbered from 1, and the axis begins there; a line marks the epoch that was
kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from earwitness.charts.lettering import FONT
from earwitness.charts.palette import ink

_WIDTH_PX, _HEIGHT_PX = 420, 200
_COLOURS = (ink("real"), ink("fake"))
_INK = ink("ink")
_MAX_TICKS = 12
_DASHES = [[1, 0], [4, 3]]
_LABELS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "valid_auroc": "AUROC",
    "valid_balanced_accuracy": "balanced accuracy",
}


def learning_chart(
    rows: Sequence[Mapping[str, float]], *, title: str, best_epoch: int
) -> alt.VConcatChart:
    """Draw learning curves.

    Args:
        rows: One an epoch: ``epoch``, ``train_loss``, ``valid_loss``, ``valid_auroc`` and
            ``valid_balanced_accuracy``.
        title: Over them.
        best_epoch: The one that was kept.
    """
    losses = _panel(rows, ("train_loss", "valid_loss"), "loss", best_epoch)
    figures = _panel(rows, ("valid_auroc", "valid_balanced_accuracy"), "validation", best_epoch)
    chart: alt.VConcatChart = (
        alt.vconcat(losses, figures, spacing=24)
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
    ticks = epochs if len(epochs) <= _MAX_TICKS else alt.Undefined  # few epochs: no half ones
    axis = alt.Axis(tickMinStep=1, format="d", grid=False, values=ticks)
    legend = alt.Legend(symbolType="stroke", symbolSize=250, symbolStrokeWidth=2)
    x = alt.X("epoch:Q", title="epoch", axis=axis, scale=x_scale)
    lines = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=True)
        .encode(
            x=x,
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            # one domain for both channels: legends merge only where their domains agree
            color=alt.Color(
                "curve:N",
                title=None,
                legend=legend,
                scale=alt.Scale(domain=shown, range=list(_COLOURS)),
            ),
            strokeDash=alt.StrokeDash(
                "curve:N",
                title=None,
                legend=legend,
                scale=alt.Scale(domain=shown, range=_DASHES),
            ),
        )
    )
    kept = (
        alt.Chart(alt.InlineData(values=[{"epoch": best_epoch}]))
        .mark_rule(color="#999999")
        .encode(x=x)
    )
    is_left = best_epoch <= (min(epochs) + max(epochs)) / 2  # so that it stays off the legend
    align, dx = ("left", 4) if is_left else ("right", -4)
    label = kept.mark_text(text="kept", align=align, dx=dx, y=8, color=_INK, fontSize=12)
    marks = [kept, label] if title == "loss" else [kept]  # one word is enough for both panels
    return alt.LayerChart(layer=[*marks, lines], width=_WIDTH_PX, height=_HEIGHT_PX)
