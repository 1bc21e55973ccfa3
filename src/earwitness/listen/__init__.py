"""Detector results for one song."""
