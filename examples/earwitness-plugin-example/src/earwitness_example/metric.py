"""A metric: Youden's J, the true positive rate less the false positive rate."""

from __future__ import annotations

from earwitness.metrics.compute import Metric, share

YOUDEN = Metric(
    label="Youden's J",
    needs="decision",
    of_sums=lambda s, _: share(s["tp"], s["n_fake"]) - share(s["fp"], s["n_real"]),
    bounds=(-1.0, 1.0),
)
