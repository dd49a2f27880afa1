"""Messages of the customer aggregate; personal data is one encrypted field."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CustomerRegistered:
    personal_data: bytes


@dataclass(frozen=True, slots=True)
class CustomerChanged:
    personal_data: bytes


@dataclass(frozen=True, slots=True)
class CustomerErased:
    personal_data: bytes | None = None
