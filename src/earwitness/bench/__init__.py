"""Whole benchmark runs from one configuration file."""
