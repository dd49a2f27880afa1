"""What requests say in headers: idempotency key, consistency token, preference to wait."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Depends, Header, Request, Response

from producers.api.problems import bad_request
from producers.orders.service import Origin

KEY_MAX = 255
TOKEN_MAX = 8_000
# How long a request waits when it does not say, and the most that it may ask for.
WAIT_DEFAULT_S = 2.0
WAIT_MAX_S = 30.0
ANYBODY = "anybody"
ID_SAFE = "!$&'()*+-.:;=@_~/ "

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", re.IGNORECASE)
_ONE = re.compile(r"(?P<aggregatetype>[a-z][a-z-]{0,30})/(?P<aggregate_id>.{1,800})@(?P<version>\d{1,18})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """An aggregate at a version: `orders/4711@2`."""

    aggregatetype: str
    aggregate_id: str
    version: int

    def __str__(self) -> str:
        # An id may hold what a header or a list of tokens may not: a comma, a line feed, letters beyond ASCII.
        return f"{self.aggregatetype}/{quote(self.aggregate_id, safe=ID_SAFE)}@{self.version}"


def origin(
    request: Request,
    idempotency_key: Annotated[str | None, Header(description="required; a repeat gets the first answer again")] = None,
    traceparent: Annotated[str | None, Header()] = None,
) -> Origin:
    """Caller, route and key of a write. Raises the problem 400 without a usable key."""
    if not idempotency_key:
        raise bad_request("idempotency-key-missing", "every write needs an Idempotency-Key")
    if len(idempotency_key) > KEY_MAX or not idempotency_key.isprintable():
        raise bad_request("idempotency-key-wrong", f"an Idempotency-Key has 1 to {KEY_MAX} printable characters")
    # Whoever presents other credentials is another caller; there are no accounts yet that could say more.
    caller = request.headers.get("authorization") or ANYBODY
    return Origin(caller, f"{request.method} {request.url.path}", idempotency_key, traceparent)


def wanted(consistency_token: Annotated[str | None, Header()] = None) -> tuple[Token, ...]:
    """The versions that an answer must show. Raises the problem 400 for what is no token."""
    if not consistency_token:
        return ()
    if len(consistency_token) > TOKEN_MAX:
        raise bad_request("consistency-token-wrong", f"a Consistency-Token has at most {TOKEN_MAX} characters")
    return tuple(_token(part.strip()) for part in consistency_token.split(","))


def wait_s(prefer: Annotated[str | None, Header(description="wait=N, in seconds (RFC 7240)")] = None) -> float:
    """How long to wait, in seconds; a preference that says nothing of it changes nothing (RFC 7240)."""
    found = _WAIT.search(prefer or "")
    return WAIT_DEFAULT_S if found is None else min(float(found[1]), WAIT_MAX_S)


def version_for(tokens: tuple[Token, ...], aggregatetype: str, aggregate_id: str) -> int | None:
    """The highest version that tokens demand of one aggregate; None where they do not name it."""
    return max(
        (t.version for t in tokens if (t.aggregatetype, t.aggregate_id) == (aggregatetype, aggregate_id)), default=None
    )


def stamp(response: Response, token: Token) -> None:
    """Puts the token of an answer into its header."""
    response.headers["Consistency-Token"] = str(token)


Wish = Annotated[Origin, Depends(origin)]
Wanted = Annotated[tuple[Token, ...], Depends(wanted)]
WaitS = Annotated[float, Depends(wait_s)]


def _token(text: str) -> Token:
    found = _ONE.fullmatch(text)
    if found is None:
        raise bad_request("consistency-token-wrong", "a Consistency-Token is <aggregatetype>/<id>@<version>")
    return Token(found["aggregatetype"], unquote(found["aggregate_id"]), int(found["version"]))
