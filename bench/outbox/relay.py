"""The peer of the outbox benchmark: a polling relay as people write it, at least once; `python -m bench.outbox.relay URL BOOTSTRAP TOPIC_PREFIX`."""

import sys
import time

import psycopg
from confluent_kafka import Producer

QUERY = """select id, aggregatetype, aggregateid, payload from outbox where not published
order by number limit 500 for update skip locked"""


def relay(url: str, bootstrap: str, prefix: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "enable.idempotence": True})
    with psycopg.connect(url) as connection:
        while True:
            rows = connection.execute(QUERY).fetchall()
            for row_id, kind, key, payload in rows:
                producer.produce(f"{prefix}.{kind}", payload, key, headers=[("id", str(row_id))])
            producer.flush()
            connection.execute("update outbox set published = true where id = any(%s)", ([row[0] for row in rows],))
            connection.commit()
            if not rows:
                time.sleep(0.05)


if __name__ == "__main__":
    relay(*sys.argv[1:])
