"""What bodies and paths may hold; nothing is converted, nothing unknown is let through."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from schemas.keys import SEPARATOR
from schemas.messages import CreateOrder, LineToReturn, OrderLine, ReturnOrderLines

LINES_MAX = 2_000
QUANTITY_MAX = 1_000_000
# 2,000 lines of 1,000,000 pieces at this price make a total of 8.0e18, which a signed 64-bit number holds (9.2e18).
CREDIT_MINOR_MAX = 10**12
UNIT_PRICE_MINOR_MAX = 4_000_000_000
NAME_MAX = 64
REASON_MAX = 200
REFERENCE_MAX = 200


def _storable(text: str) -> str:
    """NUL has no place in PostgreSQL's texts, and a lone surrogate none in UTF-8."""
    if "\x00" in text:
        raise ValueError("a NUL character is not allowed")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a lone surrogate is not allowed") from None
    return text


def _no_separator(text: str) -> str:
    """Rows of many under one SKU put U+001F between the parts of their key."""
    if SEPARATOR in text:
        raise ValueError("the character U+001F is not allowed")
    return text


def _not_zero(quantity: int) -> int:
    if quantity == 0:
        raise ValueError("an adjustment by 0 adjusts nothing")
    return quantity


Text = Annotated[str, AfterValidator(_storable)]
# An order's id stands after the last U+001F of a key, so that a customer's may hold any.
CustomerId = Annotated[str, StringConstraints(min_length=1, max_length=NAME_MAX), AfterValidator(_storable)]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=NAME_MAX), AfterValidator(_storable), AfterValidator(_no_separator)
]
Quantity = Annotated[int, Field(ge=1, le=QUANTITY_MAX)]
Reason = Annotated[Text, Field(min_length=1, max_length=REASON_MAX)]


class Body(BaseModel):
    """Strict: "3" is no quantity, true is none either, and a field that we do not know is a mistake."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Line(Body):
    """One line of an order; repeated SKUs are separate lines."""

    sku: Name
    quantity: Quantity
    unit_price_minor: Annotated[int, Field(ge=0, le=UNIT_PRICE_MINOR_MAX)]


class Payment(Body):
    """How it is paid; `reference` is what the provider knows the means of payment by."""

    method: Literal["card", "wallet"]
    reference: Annotated[Text, Field(min_length=1, max_length=REFERENCE_MAX)]


class NewOrder(Body):
    """The body of `POST /orders`; money in minor units of `currency` (ISO 4217, three capitals)."""

    customer_id: CustomerId
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}\z")]
    lines: Annotated[list[Line], Field(min_length=1, max_length=LINES_MAX)]
    payment: Payment

    def to_command(self) -> CreateOrder:
        """The same as a command; lines count from 1."""
        lines = (
            OrderLine(number, line.sku, line.quantity, line.unit_price_minor)
            for number, line in enumerate(self.lines, start=1)
        )
        return CreateOrder(self.customer_id, self.currency, tuple(lines), self.payment.method, self.payment.reference)


class Credit(Body):
    """The body of `POST /wallets/{customer_id}/credits`; money in minor units of `currency`."""

    amount_minor: Annotated[int, Field(ge=1, le=CREDIT_MINOR_MAX)]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}\z")]


class Cancellation(Body):
    """The body of `POST /orders/{id}/cancel`; it may be left out."""

    reason: Reason = "CUSTOMER"


class ReturnedLine(Body):
    """How much of which line came back; lines count from 1."""

    line: Annotated[int, Field(ge=1, le=LINES_MAX)]
    quantity: Quantity


class Return(Body):
    """The body of `POST /orders/{id}/returns`; a line that stands twice counts with the sum."""

    lines: Annotated[list[ReturnedLine], Field(min_length=1, max_length=LINES_MAX)]

    def to_command(self) -> ReturnOrderLines:
        """The same as a command."""
        return ReturnOrderLines(tuple(LineToReturn(line.line, line.quantity) for line in self.lines))


class Receipt(Body):
    """The body of `POST /stock/{sku}/receipts`."""

    quantity: Quantity


class Adjustment(Body):
    """The body of `POST /stock/{sku}/adjustments`; `quantity` is signed and not 0."""

    quantity: Annotated[int, Field(ge=-QUANTITY_MAX, le=QUANTITY_MAX), AfterValidator(_not_zero)]
    reason: Reason


class SagaAct(Body):
    """The body of `POST /sagas/{order_id}/acts`; `by` is who acts, `step` is needed to skip one."""

    act: Literal["RETRY", "SKIP", "COMPENSATE", "COMPLETE", "ANNOTATE"]
    by: Name
    reason: Reason
    step: Name | None = None
