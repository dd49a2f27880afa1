"""Orders: what a customer wants, and how it ended."""
