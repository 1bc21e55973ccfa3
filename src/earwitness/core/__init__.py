"""The types that cross rooms, the error tree, the registry and atomic files."""
