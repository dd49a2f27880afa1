"""The audit finds each kind of fault that is planted in books that balance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sound_books import Shop, shop

from schemas.messages import (
    OrderCancelled,
    OrderCreated,
    OrderLine,
    OrderLinesReturned,
    OrderRejected,
    OrderShipped,
    PaymentRefunded,
    PaymentVoided,
    ReservationFenced,
    ReservationReleased,
    ReturnedLine,
    SagaCompensationStarted,
    SagaEnded,
    SagaLinesReturned,
    SagaReturnedLine,
    StockAdjusted,
    StockReserved,
    StockReturned,
    StockShipped,
    StockShortage,
)
from tally.audit.checks import check
from tally.audit.report import Report
from tally.audit.views import Books, OutboxRow

LINE = (OrderLine(1, "sku", 2, 100),)


def found(books: Books) -> set[str]:
    """Names of the checks that said no."""
    return {finding.check for finding in check(books)}


def test_books_of_a_sound_shop_balance() -> None:
    assert check(shop().books()) == []


def test_every_way_through_the_shop_balances() -> None:
    made = shop()
    made.write("orders", "o1", 3, OrderShipped())
    made.write("inventory", "sku", 3, StockShipped("o1", 1, 2, 8, 0))
    made.write("sagas", "o1", 3, SagaEnded("SHIPPED"))
    made.write("orders", "o2", 1, OrderCreated("c1", "GBP", LINE, 200, "card", "tok_ok"))
    made.write("inventory", "sku", 4, StockReserved("o2", 1, 2, 8, 2))
    made.write("inventory", "sku", 5, ReservationReleased("o2", 1, 2, 8, 0))
    made.write("orders", "o2", 2, OrderRejected("TIMED_OUT"))
    made.write("sagas", "o2", 1, SagaCompensationStarted("TIMED_OUT"))
    made.write("sagas", "o2", 2, SagaEnded("REJECTED"))
    made.write("inventory", "sku", 6, StockAdjusted(-3, "broken", 5, 0))
    assert check(made.books()) == []


def _ship_and_return(made: Shop, units: int = 1, refund_minor: int = 100) -> None:
    made.write("orders", "o1", 3, OrderShipped())
    made.write("inventory", "sku", 3, StockShipped("o1", 1, 2, 8, 0))
    made.write("sagas", "o1", 3, SagaEnded("SHIPPED"))
    made.write("orders", "o1", 4, OrderLinesReturned((ReturnedLine(1, units, "sku"),), refund_minor))
    made.write("sagas", "o1", 4, SagaLinesReturned(4, refund_minor, (SagaReturnedLine(1, 1, "sku", units),)))


def _refund(made: Shop, amount_minor: int = 100) -> None:
    made.write("payments", "o1", 4, PaymentRefunded("o1", amount_minor, "GBP", "tok_ok", "RETURNED", 4))


def _restock(made: Shop, units: int = 1) -> None:
    made.write("inventory", "sku", 4, StockReturned("o1", 1, units, "RETURNED", 8 + units, 0, 1))


def _end_of_return(made: Shop) -> None:
    made.write("sagas", "o1", 5, SagaEnded("SHIPPED"))


@pytest.mark.parametrize("units", [1, 2])
def test_lines_that_came_back_balance_in_money_and_in_stock(units: int) -> None:
    made = shop()
    _ship_and_return(made, units, units * 100)
    _refund(made, units * 100)
    _restock(made, units)
    _end_of_return(made)
    books = made.books()
    assert check(books) == []
    assert books.histories.payments["o1"].status == ("CAPTURED" if units == 1 else "REFUNDED")


def _returned_without_a_refund(made: Shop) -> None:
    _ship_and_return(made)
    _restock(made)
    _end_of_return(made)


def _returned_without_the_stock(made: Shop) -> None:
    _ship_and_return(made)
    _refund(made)
    _end_of_return(made)


def _refunded_too_much(made: Shop) -> None:
    _ship_and_return(made)
    _refund(made, 200)
    _restock(made)
    _end_of_return(made)


def _put_back_too_much(made: Shop) -> None:
    _ship_and_return(made)
    _refund(made)
    _restock(made, 3)
    _end_of_return(made)


def _returned_before_it_left(made: Shop) -> None:
    made.write("orders", "o1", 3, OrderLinesReturned((ReturnedLine(1, 1, "sku"),), 100))


def _returned_at_another_price(made: Shop) -> None:
    _ship_and_return(made, 1, 99)


def test_a_shortage_that_is_recorded_is_no_fault() -> None:
    made = shop()
    made.write("inventory", "sku", 3, StockAdjusted(-9, "stolen", 1, 2))
    made.write("inventory", "sku", 4, StockShortage(1, 1, 2))
    assert check(made.books()) == []


def _oversell(made: Shop) -> None:
    made.write("inventory", "sku", 3, StockReserved("o1", 2, 20, 10, 22))


def _unexplained(made: Shop) -> None:
    made.write("inventory", "sku", 3, StockAdjusted(1, "found", 15, 2))


def _hold_of_nobody(made: Shop) -> None:
    made.write("inventory", "sku", 3, StockReserved("nobody", 1, 1, 10, 3))


def _hold_of_another_quantity(made: Shop) -> None:
    made.write("orders", "o2", 1, OrderCreated("c1", "GBP", LINE, 200, "card", "tok_ok"))
    made.write("inventory", "sku", 3, StockReserved("o2", 1, 3, 10, 5))


def _released_under_a_confirmed_order(made: Shop) -> None:
    made.write("inventory", "sku", 3, ReservationReleased("o1", 1, 2, 10, 0))


def _released_twice(made: Shop) -> None:
    made.write("inventory", "sku", 3, ReservationReleased("o1", 1, 2, 10, 0))
    made.write("inventory", "sku", 4, ReservationReleased("o1", 1, 2, 10, -2))


def _held_after_a_cancellation(made: Shop) -> None:
    made.write("orders", "o1", 3, OrderCancelled("by the customer"))
    made.write("sagas", "o1", 3, SagaEnded("CANCELLED"))


def _never_ended(made: Shop) -> None:
    made.write("orders", "o2", 1, OrderCreated("c1", "GBP", LINE, 200, "card", "tok_ok"))


def _voided_under_a_confirmed_order(made: Shop) -> None:
    made.write("payments", "o1", 4, PaymentVoided("o1", 200, "GBP", "tok_ok", "why"))


def _other_content_under_a_version(made: Shop) -> None:
    made.write("orders", "o1", 2, OrderRejected("TIMED_OUT"), id_="another")


def _same_record_twice(made: Shop) -> None:
    made.records.append(made.records[1]._replace(offset=99))


def _gap(made: Shop) -> None:
    made.write("orders", "o1", 4, OrderShipped())


def _unreadable(made: Shop) -> None:
    made.records.append(made.write("orders", "o1", 3, OrderShipped())._replace(value=b"no avro"))
    del made.records[-2]


def _saga_of_another_mind(made: Shop) -> None:
    made.write("sagas", "o1", 3, SagaEnded("REJECTED"))


def _unrecorded_shortage(made: Shop) -> None:
    made.write("inventory", "sku", 3, StockAdjusted(-9, "stolen", 1, 2))


def _fence_turned_hold(made: Shop) -> None:
    made.write("orders", "o2", 1, OrderCreated("c1", "GBP", LINE, 200, "card", "tok_ok"))
    made.write("inventory", "sku", 3, ReservationFenced("o2", 1, 0, "RELEASED_BEFORE_RESERVED", 10, 2))
    made.write("inventory", "sku", 4, StockReserved("o2", 1, 2, 10, 4))


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (_oversell, "no-oversell"),
        (_unrecorded_shortage, "no-oversell"),
        (_unexplained, "every-unit-explained"),
        (_hold_of_nobody, "held-for-an-order"),
        (_hold_of_another_quantity, "held-for-an-order"),
        (_released_under_a_confirmed_order, "held-for-live-orders"),
        (_held_after_a_cancellation, "held-for-live-orders"),
        (_held_after_a_cancellation, "payment-agrees"),
        (_released_twice, "never-below-zero"),
        (_released_twice, "holds-move-rightly"),
        (_fence_turned_hold, "holds-move-rightly"),
        (_never_ended, "every-order-ends"),
        (_voided_under_a_confirmed_order, "payment-agrees"),
        (_other_content_under_a_version, "one-content-a-version"),
        (_same_record_twice, "published-once"),
        (_gap, "dense-versions"),
        (_unreadable, "readable"),
        (_saga_of_another_mind, "saga-agrees"),
        (_returned_without_a_refund, "refund-agrees"),
        (_returned_without_the_stock, "restock-agrees"),
        (_refunded_too_much, "refund-agrees"),
        (_put_back_too_much, "holds-move-rightly"),
        (_returned_before_it_left, "returned-was-shipped"),
        (_returned_at_another_price, "refund-agrees"),
    ],
)
def test_a_fault_in_the_records_is_found(plant: Callable[[Shop], None], expected: str) -> None:
    made = shop()
    plant(made)
    assert expected in found(made.books())


def _table_row_missing(books: Books) -> None:
    del books.tables["orders"]["o1"]


def _table_row_wrong(books: Books) -> None:
    books.tables["stock_levels"]["sku"] = {**books.tables["stock_levels"]["sku"], "on_hand": 11}


def _table_row_late(books: Books) -> None:
    books.tables["stock"]["sku"] = {**books.tables["stock"]["sku"], "version": 1}


def _table_row_of_nothing(books: Books) -> None:
    books.tables["holds"]["sku\x1fo9\x1f1"] = {"quantity": 1, "status": "HELD", "version": 1}


def _copy_wrong(books: Books) -> None:
    books.copies["orders"]["o1"]["status"] = "REJECTED"


def _head_wrong(books: Books) -> None:
    books.services["orders"].heads["o1"].snapshot["status"] = "CREATED"


def _head_of_nothing(books: Books) -> None:
    heads = books.services["payments"].heads
    heads["o9"] = heads["o1"]


def _head_behind(books: Books) -> None:
    heads = books.services["orders"].heads
    heads["o1"] = replace(heads["o1"], version=1)


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (_table_row_missing, "table-is-fold"),
        (_table_row_wrong, "table-is-fold"),
        (_table_row_late, "table-is-fold"),
        (_table_row_of_nothing, "table-is-fold"),
        (_copy_wrong, "copy-is-fold"),
        (_head_wrong, "head-is-fold"),
        (_head_of_nothing, "head-is-fold"),
        (_head_behind, "head-is-fold"),
    ],
)
def test_a_fault_beside_the_records_is_found(plant: Callable[[Books], Any], expected: str) -> None:
    books = shop().books()
    plant(books)
    assert found(books) == {expected}


def test_a_copy_that_is_missing_is_no_fault() -> None:
    books = shop().books()
    books.copies["orders"].clear()
    assert check(books) == []


def test_a_committed_row_that_is_not_in_its_topic_is_found() -> None:
    books = shop().books()
    lost = OutboxRow("lost", "orders.events", "orders", "o1", 3)
    services = {
        **books.services,
        "orders": replace(books.services["orders"], outbox=(*books.services["orders"].outbox, lost)),
    }
    assert found(replace(books, services=services)) == {"published-once"}


def test_a_record_that_was_never_committed_is_found() -> None:
    books = shop().books()
    services = {
        **books.services,
        "orders": replace(books.services["orders"], outbox=books.services["orders"].outbox[:-1]),
    }
    assert found(replace(books, services=services)) == {"only-committed"}


def test_a_record_whose_row_was_cleaned_up_is_no_fault() -> None:
    books = shop().books()
    newest_ms = max(books.histories.recorded_ms["orders.events"].values())
    cleaned = replace(books.services["orders"], outbox=(), outbox_from_ms=newest_ms + 1)
    assert check(replace(books, services={**books.services, "orders": cleaned})) == []
    half = replace(cleaned, outbox_from_ms=newest_ms)
    assert found(replace(books, services={**books.services, "orders": half})) == {"only-committed"}


def test_an_order_in_flight_is_no_fault() -> None:
    made = shop()
    made.write("orders", "o2", 1, OrderCreated("c1", "GBP", LINE, 200, "card", "tok_ok"))
    made.write("inventory", "sku", 3, StockReserved("o2", 1, 2, 10, 4))
    books = made.books()
    assert check(replace(books, now_ms=made.records[-1].timestamp_ms + 1_000)) == []


def test_the_document_says_how_many_and_shows_a_bounded_number() -> None:
    books = shop().books()
    many = list(check(replace(books, tables={**books.tables, "holds": {str(n): {} for n in range(500)}})))
    document = Report(tuple(many), {"records": 9}).to_json()
    assert document["ok"] is False
    assert document["figures"] == {"records": 9, "findings": 501}
    assert len(document["findings"]) == 100
