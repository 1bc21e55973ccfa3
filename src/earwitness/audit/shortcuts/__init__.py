"""Shortcuts: what separates the classes without the music."""
