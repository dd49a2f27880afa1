"""Dead letters that keep order: what an agent could not handle waits, and what depends on it waits behind it."""
