"""The data set and what its invoices become, with exact counts over the real file."""

from __future__ import annotations

import lzma
from collections import Counter
from pathlib import Path

import pytest

from tally.demo.dataset import GUEST, DataSet, Invoice, Kind, Line, customer, load, price_minor
from tally.demo.plan import AdjustAct, CancelAct, OrderAct, SkipAct, classify, payment_reference


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
    assert Counter(type(act) for act in acts) == {OrderAct: 20_725, CancelAct: 131, AdjustAct: 5_041, SkipAct: 3}
    assert sum(len(act.adjustments) for act in acts if isinstance(act, AdjustAct)) == 8_272 + 1_336
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
    assert acts[1].order_number == "5"
    assert [(a.sku, a.quantity) for a in acts[1].instead] == [("b", 2), ("a", 1)]


def test_an_order_is_cancelled_once() -> None:
    acts = list(classify([sale("5", ("a", 1, 10)), sale("C6", ("a", -1, 10)), sale("C7", ("a", -1, 10))]))
    assert [type(act) for act in acts] == [OrderAct, CancelAct, AdjustAct]


@pytest.mark.parametrize(
    "cancellation",
    [
        sale("C6", ("a", -1, 10), customer_id="2"),
        sale("C6", ("a", -2, 10)),
        sale("C6", ("a", -1, 11)),
        sale("C6", ("A", -1, 10)),
    ],
)
def test_a_cancellation_that_differs_adjusts(cancellation: Invoice) -> None:
    assert isinstance(list(classify([sale("5", ("a", 1, 10)), cancellation]))[1], AdjustAct)


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
