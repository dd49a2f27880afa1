"""What the routes work with, put together by whoever starts the API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from producers.api.asked_of_kafka import Letters, Timelines
from producers.api.histories import Histories
from producers.api.reading import Reader
from producers.api.sending import CommandSender
from producers.orders.service import OrderService
from producers.store.port import KnownCommand
from producers.wallets.service import WalletService


@dataclass(frozen=True, slots=True)
class Parts:
    """The real parts, or a test's.

    `find_payment_command` looks a command id up in the payments' database.
    `wallets` is None where there is no payments database.
    `checks` are asked by `/readyz`: each returns what is wrong, or None; they block, briefly.
    """

    orders: OrderService
    find_payment_command: Callable[[str], KnownCommand | None]
    reader: Reader
    commands: CommandSender
    checks: dict[str, Callable[[], str | None]]
    histories: Histories
    letters: Letters
    timelines: Timelines
    wallets: WalletService | None = None


def parts_of(request: Request) -> Parts:
    """The parts of the application that a request reached."""
    parts = request.app.state.parts
    assert isinstance(parts, Parts)
    return parts


ThePart = Annotated[Parts, Depends(parts_of)]
