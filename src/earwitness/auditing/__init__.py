"""Is the data safe to judge with? One kind of check a file."""
