"""Messages of the order saga; key and subject are the order id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SagaLine:
    line: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class SagaStarted:
    customer_id: str
    currency: str
    total_minor: int
    payment_method: str
    payment_reference: str
    lines: tuple[SagaLine, ...]
    ends_by: datetime


@dataclass(frozen=True, slots=True)
class SagaReturnedLine:
    """A line that came back; `number` counts all returned lines of the order, from 1."""

    number: int
    line: int
    sku: str
    quantity: int


@dataclass(frozen=True, slots=True)
class SagaLinesReturned:
    """Lines of the shipped order came back; `number` is the version of the order's event that says so."""

    number: int
    refund_minor: int
    lines: tuple[SagaReturnedLine, ...]


@dataclass(frozen=True, slots=True)
class SagaStepStarted:
    step: str
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SagaStepAnswered:
    """`outcome` is DONE or REFUSED; `line` tells which part of a step that fans out."""

    step: str
    outcome: str
    line: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SagaCompensationStarted:
    reason: str


@dataclass(frozen=True, slots=True)
class SagaEnded:
    """`outcome` is CONFIRMED, REJECTED, CANCELLED or SHIPPED."""

    outcome: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class SagaStatusAsked:
    """A step's time is over and its outcome is not known: its participant was asked, for an answer by `due_at`."""

    step: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class SagaRetryScheduled:
    """A part of a step was answered so that it is to be tried again at `due_at`; `attempt` counts such answers."""

    step: str
    due_at: datetime
    attempt: int
    reason: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class ActOnSaga:
    """What an operator wants of a saga: `act` is RETRY, SKIP, COMPENSATE, COMPLETE or ANNOTATE; `by` is who, `reason` why."""

    act: str
    by: str
    reason: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class SagaActed:
    """An operator's act that was done, in the saga's history and in the audit trail."""

    act: str
    by: str
    reason: str
    step: str | None = None


@dataclass(frozen=True, slots=True)
class AskStatus:
    """What became of the command `command_id`? Its participant answers it once more, and does nothing else."""

    order_id: str
    command_id: str
    command_type: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class AskAboutHold:
    """Does the saga still need what is held of this SKU for this line? Answered by a release where it does not."""

    sku: str
    line: int


@dataclass(frozen=True, slots=True)
class CommandAnswered:
    """A participant's answer to one command of a saga; `outcome` is DONE, REFUSED, TRANSIENT or UNDECIDED.

    TRANSIENT: not now, try again. UNDECIDED: the answer to a question for a command that is not done, or did not come.

    `version` is the participant's aggregate version after the command, where it changed anything.
    """

    command_id: str
    command_type: str
    outcome: str
    reason: str | None = None
    line: int | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """Step `step` ("order" for the whole saga) was due at `due_at`, and all that came before was read."""

    step: str
    due_at: datetime
