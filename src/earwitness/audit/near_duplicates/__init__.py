"""Near duplicates: copies of a recording and versions of the same music."""
