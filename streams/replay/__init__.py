"""Replay: the folds of a bounded range of topics, without a worker and without side effects."""
