"""Payments: money asked for at a provider, in two transactions around its call."""
