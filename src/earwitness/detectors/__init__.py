"""Who judges the clips: one file a detector, and what reads their weights."""
