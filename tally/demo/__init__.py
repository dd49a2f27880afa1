"""The demo: a year of real orders (Online Retail) played through the whole system."""
