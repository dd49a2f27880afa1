"""Contracts: what the parts of Tally say to each other, and in which bytes."""
