"""Tables and pictures of results, for people and for files."""
