"""Follows: Faust agents and tables, the rules of stock and of the order saga, read models, replay."""
