"""Metrics: arrays or counts in, floats out; NaN where a metric is undefined."""
