"""Rows of the table once more, with the same ids: what a person asks for, and the duty that does it beside the stream."""
