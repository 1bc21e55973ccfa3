"""Checks of data sets for leakage and shortcuts."""
