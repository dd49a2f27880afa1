"""Stock of a SKU: who may have how much of it, and every movement explained by an event."""
