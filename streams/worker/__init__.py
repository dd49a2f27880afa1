"""The worker: one process that runs the agents and answers queries from their tables."""
