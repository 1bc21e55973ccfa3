"""Scoring: detectors over manifests."""
