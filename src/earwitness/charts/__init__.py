"""One chart a file: numbers in, an Altair specification out; nothing is drawn or written here."""
