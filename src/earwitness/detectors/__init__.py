"""Detectors, one module each, and the readers of their weights."""
