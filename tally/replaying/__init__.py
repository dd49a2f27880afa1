"""Replays a bounded part of topics to a screen, a file or another topic, and can be killed at any moment meanwhile."""
