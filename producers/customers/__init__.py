"""Customers: so far their database alone."""
