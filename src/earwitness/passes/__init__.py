"""One decode pass over many files."""
