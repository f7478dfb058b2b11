"""Flag > environment > file > default: read and parsed once, at the edge, into frozen structs."""
