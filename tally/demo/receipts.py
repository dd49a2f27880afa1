"""Stocks the shop: one RECEIVE_STOCK command per SKU, published at once rather than posted one by one."""

from __future__ import annotations

from confluent_kafka import KafkaError, Producer

from schemas.codec import AvroCodec
from schemas.envelope import Envelope, Message, derive_id, now
from schemas.messages import ReceiveStock
from schemas.records import encode_record
from schemas.topics import INVENTORY_COMMANDS
from tally.reading.reader import Unreachable

SOURCE = "/tally/demo"
REASON = "opening stock"
FLUSH_S = 30.0


def publish(bootstrap: str, receipts: dict[str, int]) -> set[str]:
    """Publishes the receipts; the ids of their commands. The same receipts have the same ids, so that each counts once.

    Raises Unreachable when Kafka does not take them all.
    """
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 20,
            "log_level": 0,
        }
    )
    codec, failed, ids = AvroCodec(), list[KafkaError](), set[str]()
    for sku, quantity in receipts.items():
        id_ = derive_id("online-retail", "receipt", sku)
        envelope = Envelope(
            id=id_,
            type="RECEIVE_STOCK",
            source=SOURCE,
            aggregatetype="inventory",
            subject=sku,
            version=None,
            recorded_at=now(),
            correlation_id=id_,
            causation_id=id_,
        )
        key, value, headers = encode_record(Message(envelope, ReceiveStock(quantity, REASON)), codec)
        producer.produce(
            INVENTORY_COMMANDS,
            key=key,
            value=value,
            headers=headers,
            on_delivery=lambda error, _: failed.append(error) if error is not None else None,
        )
        producer.poll(0)
        ids.add(id_)
    left = producer.flush(FLUSH_S)
    if left or failed:
        raise Unreachable(f"Kafka did not take {left + len(failed)} receipts: {failed[0].str() if failed else 'late'}")
    return ids
