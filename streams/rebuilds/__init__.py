"""Rebuilds: a new version of a read model's table, folded beside the one that is served, then promoted or discarded."""
