"""The verbs that a person types: one module a group."""
