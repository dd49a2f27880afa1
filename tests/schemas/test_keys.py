"""Compound keys: what routes a row, and which rows are one customer's."""

from __future__ import annotations

import pytest

from schemas.keys import is_under, routing_key


@pytest.mark.parametrize(
    ("table", "key", "routed_by"),
    [
        ("orders", "o1", "o1"),
        ("orders_by_customer", "guest\x1fo1", "guest"),
        ("orders_by_customer", "a\x1fb\x1fo1", "a\x1fb"),
        ("orders_by_customer", "a\x1fb\x1f", "a\x1fb"),
        ("holds", "sku\x1fo1\x1f2", "sku"),
        ("holds", "sku\x1f", "sku"),
    ],
)
def test_a_row_is_routed_by_what_stands_before_its_order(table: str, key: str, routed_by: str) -> None:
    assert routing_key(table, key) == routed_by


def test_a_customer_whose_id_begins_like_another_is_another() -> None:
    assert is_under("orders_by_customer", "a\x1f", "a\x1fo1")
    assert not is_under("orders_by_customer", "a\x1f", "a\x1fb\x1fo1")
    assert is_under("holds", "sku\x1f", "sku\x1fo1\x1f2")
