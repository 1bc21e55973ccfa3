"""Figures of merit: arrays or counts in, floats out; NaN where a figure is undefined."""
