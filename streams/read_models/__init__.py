"""Read models: rows that people read, folded from events; one file with `evolve` each, one line in the table of tables."""
