"""The HTTP API as verbs call it: problem details become failures with the right exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import typer

from schemas.errors import EVENT_DAMAGED
from tally.cli.failures import CheckFailed, Failure, NotFound, OutOfReach, WrongUsage
from tally.settings import Settings

# Longer than any wait that a verb asks of the API.
TIMEOUT_S = 30.0
TOKEN_HEADER = "Consistency-Token"

ApiUrl = Annotated[str | None, typer.Option("--api", help="Base address of the API.")]


class Api:
    """A client of the API. Every call raises OutOfReach, NotFound, WrongUsage or Failure."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def call(self, method: str, path: str, json: Any = None, **headers: str) -> httpx.Response:
        """One call; `headers` with underscores for hyphens. The answer is a success."""
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        try:
            answer = self._client.request(method, path, json=json, headers=named)
        except httpx.TransportError as error:
            raise OutOfReach(f"the API at {self._client.base_url} does not answer: {error}") from None
        if answer.is_success:
            return answer
        raise failure_of(answer)

    def get(self, path: str, **headers: str) -> Any:
        """The JSON of a GET."""
        return self.call("GET", path, **headers).json()


@contextmanager
def calling(api_url: str | None) -> Iterator[Api]:
    """The API of the system that runs here, or the one that is named."""
    with httpx.Client(base_url=Settings(api_url=api_url).api_url, timeout=TIMEOUT_S) as client:
        yield Api(client)


def failure_of(answer: httpx.Response) -> Failure:
    """What a refused call means for a verb."""
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if problem.get("type") == EVENT_DAMAGED:
        return CheckFailed(str(problem["detail"]))
    said = str(problem.get("detail") or problem.get("title") or answer.reason_phrase)
    if errors := problem.get("errors"):
        said = f"{said}: {errors}"
    match answer.status_code:
        case 404:
            return NotFound(said)
        case 400 | 422:
            return WrongUsage(said)
        case 502 | 503 | 504:
            return OutOfReach(said)
    return Failure(f"{answer.status_code}: {said}")
