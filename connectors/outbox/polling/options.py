"""Options of the polling connector, beside those that both connectors have."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.outbox.errors import BadOption


@dataclass(frozen=True, slots=True)
class Polling:
    """Which columns it keeps, and its bounds.

    `order_column`: a whole number that each insert draws from a sequence; rows of an aggregate are published in its order.
    `status_column`: PENDING, PUBLISHED or FAILED. A batch has at most `rows_max` rows and, but for its last row,
    `bytes_max` bytes of payload as they are stored. After a look that found nothing the next comes `rest_ms` later.
    """

    order_column: str = "number"
    status_column: str = "status"
    rows_max: int = 5_000
    bytes_max: int = 8 * 1024 * 1024
    rest_ms: float = 20

    def __post_init__(self) -> None:
        if not self.order_column or not self.status_column:
            raise BadOption("a column without a name")
        if self.rows_max < 1 or self.bytes_max < 1 or self.rest_ms < 1:
            raise BadOption("polling: rows, bytes and milliseconds are whole numbers from 1")

    @property
    def reason_column(self) -> str:
        """Why a row FAILED; text."""
        return f"{self.status_column}_reason"

    @property
    def letter_column(self) -> str:
        """Key of a FAILED row's dead letter, which is taken away when the row is published after all; bytea."""
        return f"{self.status_column}_letter"
