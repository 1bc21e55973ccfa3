"""Which clips are judged: drawing, splitting, reading and writing tables of items."""
