"""Arrays in, findings out: alignment, features, equations and the catalogue."""
