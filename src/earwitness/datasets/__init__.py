"""Folder layouts, one file each: what lies where, who made it, what belongs together."""
