"""Is a data set safe to evaluate with? One file a check, one folder a family of checks."""
