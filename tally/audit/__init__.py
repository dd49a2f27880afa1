"""The audit: do the books balance, across databases, topics, tables and copies (promises G2 to G5)."""
