"""Plug-ins for earwitness, one module each."""
