"""How a network learned: losses and the validation's figures, epoch by epoch.

Conventions: epochs are numbered from 1; the epoch that was kept is marked by a line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from earwitness.charts.lettering import FONT
from earwitness.charts.palette import ink

_WIDTH_PX, _HEIGHT_PX = 420, 200
_COLOURS = (ink("real"), ink("fake"))
_INK = ink("ink")


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
        {"epoch": row["epoch"], "value": row[name], "curve": name.replace("_", " ")}
        for row in rows
        for name in names
        if row.get(name) is not None
    ]
    shown = [name.replace("_", " ") for name in names]
    scale = alt.Scale(domain=shown, range=list(_COLOURS))
    axis = alt.Axis(tickMinStep=1, format="d", grid=False)
    lines = (
        alt.Chart(alt.InlineData(values=values))
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=axis),
            y=alt.Y("value:Q", title=title, scale=alt.Scale(zero=False)),
            color=alt.Color("curve:N", title=None, scale=scale),
            strokeDash=alt.StrokeDash("curve:N", title=None, sort=shown),
        )
    )
    kept = (
        alt.Chart(alt.InlineData(values=[{"epoch": best_epoch}]))
        .mark_rule(color="#999999")
        .encode(x="epoch:Q")
    )
    return alt.LayerChart(layer=[kept, lines], width=_WIDTH_PX, height=_HEIGHT_PX)
