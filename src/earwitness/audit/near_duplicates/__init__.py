"""The same recording or the same piece under another name: copies and versions."""
