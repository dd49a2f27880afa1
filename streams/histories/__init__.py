"""Histories: every event by (aggregate, version), so that one aggregate is read without reading its neighbours."""
