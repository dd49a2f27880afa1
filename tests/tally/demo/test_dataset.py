"""The data set and what its invoices become, with exact counts over the real file."""

from __future__ import annotations

import lzma
from collections import Counter
from pathlib import Path

import pytest

from tally.demo.dataset import GUEST, DataSet, Invoice, Kind, Line, customer, load, price_minor
from tally.demo.plan import (
    UNMATCHED_RETURN,
    AdjustAct,
    CancelAct,
    OrderAct,
    ReturnAct,
    SkipAct,
    classify,
    payment_reference,
)


@pytest.fixture(scope="module")
def whole() -> DataSet:
    return load()


def sale(number: str, *lines: tuple[str, int, int], customer_id: str = "1") -> Invoice:
    return Invoice(number, customer_id, tuple(Line(sku, "", quantity, price) for sku, quantity, price in lines))


def test_every_invoice_of_the_file_is_read_once(whole: DataSet) -> None:
    assert len(whole.invoices) == len({invoice.number for invoice in whole.invoices}) == 25_900
    assert sum(len(invoice.lines) for invoice in whole.invoices) == 541_909
    assert Counter(invoice.kind for invoice in whole.invoices) == {
        Kind.SALE: 20_725,
        Kind.CANCELLATION: 3_836,
        Kind.WRITE_OFF: 1_336,
        Kind.ACCOUNTING: 3,
    }


def test_every_invoice_of_the_file_becomes_one_act(whole: DataSet) -> None:
    acts = list(classify(whole.invoices))
    kinds = Counter(type(act) for act in acts)
    assert kinds == {OrderAct: 20_725, CancelAct: 129, ReturnAct: 2_599, AdjustAct: 2_444, SkipAct: 3}
    # Of 3,836 `C` invoices the lines of 2,728 lie in one earlier order of the customer.
    assert (kinds[CancelAct] + kinds[ReturnAct], kinds[AdjustAct]) == (2_728, 3_836 - 2_728 + 1_336)
    assert max(len(act.lines) for act in acts if isinstance(act, OrderAct)) == 1_114
    assert max(line.quantity for act in acts if isinstance(act, OrderAct) for line in act.lines) == 80_995
    assert sum(act.customer_id == GUEST for act in acts if isinstance(act, OrderAct)) == 2_189


def test_receipts_are_nine_tenths_of_what_the_whole_file_sold(whole: DataSet) -> None:
    assert len(whole.receipts) == 3_861
    assert whole.receipts["85123A"] == 37_497
    assert sum(whole.receipts.values()) == 5_093_020
    assert load(invoices=10).receipts == whole.receipts


def test_a_part_of_the_file_is_its_first_invoices(whole: DataSet) -> None:
    part = load(invoices=50)
    assert part.invoices == whole.invoices[:50]
    assert part.invoices[0] == Invoice("536365", "17850", part.invoices[0].lines)
    assert part.invoices[0].lines[0] == Line("85123A", "WHITE HANGING HEART T-LIGHT HOLDER", 6, 255)


def test_lines_of_an_invoice_that_stand_apart_are_one_order(tmp_path: Path) -> None:
    file = tmp_path / "shop.csv.xz"
    head = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    rows = [f"{number},{sku},,1,2010-12-01 08:26:00,1.0,,EIRE\n" for number, sku in zip("12131", "abcde", strict=True)]
    file.write_bytes(lzma.compress((head + "".join(rows)).encode()))
    part = load(file, invoices=2)
    assert [(i.number, [line.sku for line in i.lines]) for i in part.invoices] == [
        ("1", ["a", "c", "e"]),
        ("2", ["b"]),
    ]


@pytest.mark.parametrize(
    ("pounds", "pence"), [("2.55", 255), ("0", 0), ("0.001", 0), ("-11062.06", -1_106_206), ("38970.0", 3_897_000)]
)
def test_prices_become_pence_exactly(pounds: str, pence: int) -> None:
    assert price_minor(pounds) == pence


def test_a_customer_has_no_decimal_point_and_nobody_is_a_guest() -> None:
    assert customer("17850.0") == "17850"
    assert customer("") == GUEST


def test_a_cancellation_with_the_same_lines_in_another_order_cancels() -> None:
    acts = list(classify([sale("5", ("a", 1, 10), ("b", 2, 20)), sale("C6", ("b", -2, 20), ("a", -1, 10))]))
    assert isinstance(acts[1], CancelAct)
    assert (acts[1].order_number, acts[1].lines) == ("5", ((1, 1), (2, 2)))


def test_an_order_is_cancelled_once_and_what_comes_back_of_it_again_is_unmatched() -> None:
    acts = list(classify([sale("5", ("a", 1, 10)), sale("C6", ("a", -1, 10)), sale("C7", ("a", -1, 10))]))
    assert [type(act) for act in acts] == [OrderAct, CancelAct, ReturnAct]
    assert isinstance(acts[2], ReturnAct)
    assert acts[2].lines == ()
    assert [(a.sku, a.quantity, a.reason) for a in acts[2].rest] == [("a", 1, "unmatched-return")]


@pytest.mark.parametrize(
    "cancellation",
    [
        sale("C6", ("a", -1, 10), customer_id="2"),
        sale("C6", ("A", -1, 10)),
        sale("C6", ("a", -1, 10), ("c", -1, 10)),
    ],
)
def test_a_cancellation_of_what_no_order_has_adjusts(cancellation: Invoice) -> None:
    adjusted = list(classify([sale("5", ("a", 1, 10)), cancellation]))[1]
    assert isinstance(adjusted, AdjustAct)
    assert {adjustment.reason for adjustment in adjusted.adjustments} == {UNMATCHED_RETURN}


def test_part_of_an_order_comes_back_line_by_line_and_the_order_is_shipped_for_it() -> None:
    ordered = sale("5", ("a", 2, 10), ("b", 1, 20), ("a", 3, 10))
    acts = list(classify([ordered, sale("C6", ("a", -4, 11)), sale("C7", ("a", -2, 10), ("b", -1, 20))]))
    assert isinstance(acts[0], OrderAct)
    assert acts[0].ships
    returns = [act for act in acts if isinstance(act, ReturnAct)]
    assert [act.lines for act in returns] == [((1, 2), (3, 2)), ((2, 1), (3, 1))]
    assert [[(a.sku, a.quantity) for a in act.rest] for act in returns] == [[], [("a", 1)]]


def test_of_several_orders_the_one_that_can_give_back_most_is_taken_and_of_equal_ones_the_newest() -> None:
    sales = [sale(str(number), ("a", units, 10), ("b", 1, 1)) for number, units in ((5, 9), (6, 4), (7, 4))]
    acts = list(classify([*sales, sale("C8", ("a", -4, 10)), sale("C9", ("a", -3, 10)), sale("C10", ("a", -9, 10))]))
    assert [act.order_number for act in acts if isinstance(act, ReturnAct)] == ["7", "6", "5"]


def test_guests_are_not_one_customer() -> None:
    acts = list(classify([sale("5", ("a", 1, 10), customer_id=GUEST), sale("C6", ("a", -1, 10), customer_id=GUEST)]))
    assert isinstance(acts[1], AdjustAct)


def test_repeated_lines_stay_separate_and_skus_keep_their_case() -> None:
    (act,) = classify([sale("5", ("a", 1, 10), ("a", 1, 10), ("A", 1, 10))])
    assert isinstance(act, OrderAct)
    assert [line.sku for line in act.lines] == ["a", "a", "A"]


def test_a_write_off_takes_units_away_with_its_reason() -> None:
    (act,) = classify([Invoice("5", GUEST, (Line("a", "damaged", -3, 0),))])
    assert isinstance(act, AdjustAct)
    assert [(a.quantity, a.reason) for a in act.adjustments] == [(-3, "written off: damaged")]


def test_about_one_of_fifty_orders_pays_with_trouble(whole: DataSet) -> None:
    references = Counter(payment_reference(i.number) for i in whole.invoices if i.kind is Kind.SALE)
    assert 300 < references.total() - references["tok_ok"] < 530
    assert set(references) == {"tok_ok", "tok_decline", "tok_flaky", "tok_slow"}
