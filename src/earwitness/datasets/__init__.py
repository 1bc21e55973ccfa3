"""Folder layouts of datasets, one file each."""
