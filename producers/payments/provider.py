"""The payment provider: the port, and the client of one that speaks HTTP."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote

import httpx

from producers.payments.aggregate import ProviderResult

# The provider knows nothing of a payment, or works on it still.
UNKNOWN, PENDING = "UNKNOWN", "PENDING"

# A provider that has not authorised by then is asked for the status instead.
AUTHORISE_WITHIN_S = 3.0
# Everything else is quick.
ANSWER_WITHIN_S = 1.0
CONNECT_WITHIN_S = 0.5


class ProviderUnanswered(Exception):
    """No answer, or none that can be used: what the provider did is not known; ask again with the same key."""


class ProviderFailed(ProviderUnanswered):
    """Answered with an error: the call is over, and may be made again with the same key."""


class Provider(Protocol):
    """What a provider offers; every act is repeatable under its key and returns the payment's status after it.

    All raise ProviderUnanswered.
    """

    def authorise(self, key: str, amount_minor: int, currency: str, reference: str) -> ProviderResult:
        """Asks for the money, in minor units."""

    def capture(self, key: str) -> ProviderResult:
        """Takes the authorised money."""

    def void(self, key: str) -> ProviderResult:
        """Gives up an authorisation, also one that is not finished or did not arrive yet."""

    def refund(self, key: str) -> ProviderResult:
        """Gives captured money back."""

    def refund_part(self, key: str, number: int, amount_minor: int) -> ProviderResult:
        """Gives a part of captured money back, once for each number: PART_REFUNDED, or else the payment's status."""

    def status(self, key: str) -> ProviderResult:
        """What the provider knows: a payment's status, PENDING or UNKNOWN."""


class HttpProvider:
    """A provider by HTTP, as the sandbox speaks it; safe to share between threads; `close` when done."""

    def __init__(self, url: str, authorise_within_s: float = AUTHORISE_WITHIN_S) -> None:
        self._client = httpx.Client(base_url=url, timeout=ANSWER_WITHIN_S, trust_env=False)
        self._authorise_within = httpx.Timeout(authorise_within_s, connect=CONNECT_WITHIN_S)

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()

    def authorise(self, key: str, amount_minor: int, currency: str, reference: str) -> ProviderResult:
        """See `Provider.authorise`."""
        asked = {"amount_minor": amount_minor, "currency": currency, "reference": reference}
        request = self._client.build_request("PUT", _path(key), json=asked, timeout=self._authorise_within)
        return self._ask(request)

    def capture(self, key: str) -> ProviderResult:
        """See `Provider.capture`."""
        return self._ask(self._client.build_request("POST", f"{_path(key)}/capture"))

    def void(self, key: str) -> ProviderResult:
        """See `Provider.void`."""
        return self._ask(self._client.build_request("POST", f"{_path(key)}/void"))

    def refund(self, key: str) -> ProviderResult:
        """See `Provider.refund`."""
        return self._ask(self._client.build_request("POST", f"{_path(key)}/refund"))

    def refund_part(self, key: str, number: int, amount_minor: int) -> ProviderResult:
        """See `Provider.refund_part`."""
        asked = {"amount_minor": amount_minor}
        return self._ask(self._client.build_request("PUT", f"{_path(key)}/refunds/{number}", json=asked))

    def status(self, key: str) -> ProviderResult:
        """See `Provider.status`."""
        return self._ask(self._client.build_request("GET", _path(key)))

    def _ask(self, request: httpx.Request) -> ProviderResult:
        try:
            answer = self._client.send(request)
        except httpx.HTTPError as error:
            raise ProviderUnanswered(f"{type(error).__name__}: {error}") from error
        # 404 and 409 are answers: nothing is known, or the payment is in another status than was wished.
        if answer.status_code not in (200, 404, 409):
            raise ProviderFailed(f"the provider answered {answer.status_code}")
        try:
            told = answer.json()
            return ProviderResult(told["status"], told.get("reason"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ProviderUnanswered(f"the provider's answer cannot be read: {error}") from error


def _path(key: str) -> str:
    return f"/payments/{quote(key, safe='')}"
