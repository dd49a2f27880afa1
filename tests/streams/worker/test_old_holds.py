"""A real worker finds a hold without an owner and gives it back."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.messages import ReceiveStock, ReserveStock

HASTY = Path(__file__).parent / "hasty_worker.py"


def test_a_hold_that_no_order_asked_for_is_given_back_once_it_is_old(
    log: Any, until: Callable[..., Any], start_worker: Any
) -> None:
    sku = f"orphaned-{uuid.uuid4().hex[:8]}"
    worker = start_worker(0, HASTY).wait_alone()
    log.command(ReceiveStock(10), sku)
    log.command(ReserveStock(f"nobody-{sku}", 1, 4), sku)
    until(lambda: (worker.row("stock", sku) or {}).get("version") == 3, "held, asked, released")
    row = worker.row("stock", sku)
    assert row is not None
    assert (row["on_hand"], row["reserved"]) == (10, 0)
