"""Two-phase commit over databases: a durable decision, recovery, and a report of whatever was done behind our back."""
