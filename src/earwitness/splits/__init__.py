"""Manifests: sampling, splitting, reading and writing tables of items."""
