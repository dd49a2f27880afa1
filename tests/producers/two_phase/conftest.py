"""Two databases that take part in one transaction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from two_phase_pair import Pair

from producers.store.connections import Pool
from producers.two_phase.participant import Outcome
from tally.local.databases import ServiceDatabase


@pytest.fixture
def pair(
    orders_database: ServiceDatabase, payments_database: ServiceDatabase, orders_pool: Pool, payments_pool: Pool
) -> Iterator[Pair]:
    """Both databases on one server; whatever a test leaves prepared is rolled back."""
    pair = Pair(orders_database.service_url, payments_database.service_url, orders_pool, payments_pool)
    yield pair
    for process in pair.processes:
        process.kill()
        process.communicate()
    for participant in pair.participants.values():
        for prepared in participant.prepared():
            participant.resolve(prepared.identifier, Outcome.ABORT)
