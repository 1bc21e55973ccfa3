from __future__ import annotations

import re

import pytest

from earwitness.report.charts.renderer import render
from earwitness.training.curves import learning_chart


def texts_of(n_epochs: int) -> list[str]:
    """Return every text in the drawing."""
    rows = [
        {
            "epoch": epoch,
            "train_loss": 1 / epoch,
            "valid_loss": 1.2 / epoch,
            "valid_auroc": 1 - 0.4 / epoch,
            "valid_balanced_accuracy": 1 - 0.5 / epoch,
        }
        for epoch in range(1, n_epochs + 1)
    ]
    chart = learning_chart(rows, title="mine", best_epoch=n_epochs)
    svg = render(chart, "svg").decode()
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 12, 40])
def test_each_curve_has_one_legend_entry_and_epochs_begin_at_1(n_epochs: int) -> None:
    texts = texts_of(n_epochs)
    for label in ("training loss", "validation loss", "AUROC", "balanced accuracy"):
        assert texts.count(label) == 1
    whole = [int(text) for text in texts if text.isdecimal()]
    assert min(whole) == (1 if n_epochs <= 12 else 5)
    assert max(whole) == n_epochs
    assert texts.count("kept") == 1
    assert all(whole.count(epoch) == 2 for epoch in whole)  # one axis a panel, no half epochs
