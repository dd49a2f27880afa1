"""A payment provider in memory: the sandbox's rules without a server, for tests and simulations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from producers.payments.aggregate import AUTHORISED, CAPTURED, DECLINED, PART_REFUNDED, REFUNDED, VOIDED, ProviderResult
from producers.payments.provider import PENDING, UNKNOWN, ProviderUnanswered


@dataclass(slots=True)
class FakeProvider:
    """Statuses by key, every call in order, and whatever is to happen before a call is answered.

    `before` gets the name of each call and may raise ProviderUnanswered; what it leaves undone stays undone.
    `silent` calls are done, but their answer is lost.
    """

    status_by_key: dict[str, str] = field(default_factory=dict)
    parts: dict[tuple[str, int], int] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    before: Callable[[str], None] = lambda _: None

    def authorise(self, key: str, amount_minor: int, currency: str, reference: str) -> ProviderResult:
        """See `Provider.authorise`; `tok_decline` declines, `tok_timeout` never answers."""
        known = self.status_by_key.get(key, UNKNOWN)
        if known in (UNKNOWN, PENDING):
            wanted = {"tok_decline": DECLINED, "tok_timeout": PENDING}.get(reference, AUTHORISED)
            return self._do("authorise", key, wanted, (UNKNOWN, PENDING))
        return self._do("authorise", key, known, (known,))

    def capture(self, key: str) -> ProviderResult:
        """See `Provider.capture`."""
        return self._do("capture", key, CAPTURED, (AUTHORISED,))

    def void(self, key: str) -> ProviderResult:
        """See `Provider.void`."""
        return self._do("void", key, VOIDED, (UNKNOWN, PENDING, AUTHORISED))

    def refund(self, key: str) -> ProviderResult:
        """See `Provider.refund`."""
        return self._do("refund", key, REFUNDED, (CAPTURED,))

    def refund_part(self, key: str, number: int, amount_minor: int) -> ProviderResult:
        """See `Provider.refund_part`."""
        result = self._do("refund_part", key, "", ())
        if result.status == CAPTURED:
            self.parts.setdefault((key, number), amount_minor)
            return ProviderResult(PART_REFUNDED)
        return result

    def status(self, key: str) -> ProviderResult:
        """See `Provider.status`."""
        return self._do("status", key, "", ())

    def _do(self, call: str, key: str, wanted: str, allowed: tuple[str, ...]) -> ProviderResult:
        self.calls.append((call, key))
        self.before(call)
        if self.status_by_key.get(key, UNKNOWN) in allowed:
            self.status_by_key[key] = wanted
        status = self.status_by_key.get(key, UNKNOWN)
        if call in self.silent or (call == "authorise" and status == PENDING):
            raise ProviderUnanswered(f"no answer to {call}")
        return ProviderResult(status)
