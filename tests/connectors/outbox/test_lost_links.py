"""Links that break: to the database in the middle of whatever passes, to the broker by its end; nothing comes twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cuttable_link import CuttableLink

from connectors.outbox.waiting.asking import ask, until_answered
from connectors.outbox.waiting.entries import Request
from tally.local.kafka import Kafka


def numbers(outbox: Any) -> list[int]:
    return sorted(int(record.value()) for record in outbox.read(outbox.topic("t")))


def cut_again_and_again(outbox: Any, wait_until: Callable[..., Any], cuts: int) -> None:
    outbox.create_topic("t")
    parts = urlsplit(outbox.url)
    with CuttableLink((str(parts.hostname), int(parts.port or 5432))) as link:
        through = outbox.url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{link.port}")
        running = outbox.start(source_url=through).until_ready()
        for cut in range(cuts):
            outbox.insert(cut * 400 + 1, cut * 400 + 400, rows_a_transaction=1 + cut % 7)
            lost = running.metrics.reconnects_total
            link.cut()
            wait_until(
                lambda lost=lost: running.metrics.reconnects_total > lost and running.metrics.ready, "streaming again"
            )
        running.until_rows(cuts * 400)
        assert running.end() == 0
    assert numbers(outbox) == list(range(1, cuts * 400 + 1))


def test_a_cut_connection_is_made_anew_without_loss_or_copies(outbox: Any, wait_until: Callable[..., Any]) -> None:
    cut_again_and_again(outbox, wait_until, 5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sixty_cut_connections_lose_and_copy_nothing(outbox: Any, wait_until: Callable[..., Any]) -> None:
    cut_again_and_again(outbox, wait_until, 60)


def test_a_stream_that_passes_nothing_more_is_begun_anew(outbox: Any) -> None:
    parts = urlsplit(outbox.url)
    with CuttableLink((str(parts.hostname), int(parts.port or 5432))) as link:
        through = outbox.url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{link.port}")
        running = outbox.start(source_url=through, answer_within_s=0.5).until_ready()
        link.silence()
        outbox.insert(1, 3)
        running.until_rows(3)
        assert running.metrics.reconnects_total == 1
        assert running.end() == 0
    assert numbers(outbox) == [1, 2, 3]


def test_a_killed_broker_is_waited_for(
    tmp_path: Path, outbox_at: Callable[[str], Any], wait_until: Callable[..., Any]
) -> None:
    broker = Kafka(tmp_path)
    broker.start()
    try:
        outbox = outbox_at(broker.bootstrap)
        outbox.create_topic("t")
        dead = outbox.letters()
        running = outbox.start(dead_letter_topic=dead.topic, dead_letter=dead.write).until_ready()
        outbox.insert(1, 500)
        assert until_answered(running.config, ask(running.config, Request()), 60) is not None
        broker.kill()
        outbox.insert(501, 1_000)
        broker.launch()
        broker.wait_ready()
        outbox.insert(1_001, 1_200)
        running.until_rows(1_200)
        assert numbers(outbox) == list(range(1, 1_201))
        broker.kill()
        broker.start()
        # Nothing was under way; and of a partition with a new leader a client asks in vain until it reads the metadata.
        assert until_answered(running.config, ask(running.config, Request()), 60) is not None, (
            "requests are heard again"
        )
        assert running.end() == 0
    finally:
        broker.stop()
