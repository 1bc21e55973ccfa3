"""Scoring manifests: decode, batch, store, resume, prediction files."""
