"""Our side of the benchmark: one batch agent, exactly once, one table.

python -m bench.reservations.worker APP BOOTSTRAP SOURCE TARGET json|avro|tally STORE FOLDER INSTANCE
"""

from __future__ import annotations

import sys
from typing import Any

import uvloop

from bench.reservations import messages
from bench.reservations.work import FORMS, NOTHING, PARTITIONS, decide
from faust_rdkafka import STR, App, BatchSchema, Codec, run


def make_app(app_id: str, bootstrap: str, source: str, target: str, form_name: str, **settings: Any) -> App:
    form = FORMS[form_name]
    app = App(app_id, broker=f"rdkafka://{bootstrap}", web_enabled=False, topic_partitions=PARTITIONS, **settings)
    stock = app.Table("stock", key_codec=STR, value_codec=Codec(form.write_stock, form.read_stock))
    write = form.write_outcome

    @app.agent(app.topic(source, schema=BatchSchema(form.read_command)))
    async def reserve_stock(batches: Any) -> None:
        emit = app.emit
        async for batch in batches:
            rows = stock.partition(batch.partition)
            for command in batch.values:
                sku, order = command["sku"], command["order"]
                before = rows.get(sku, NOTHING)
                after, granted = decide(before, command)
                if after is not before:
                    rows[sku] = after
                if order:
                    outcome = {
                        "id": command["id"],
                        "order": order,
                        "sku": sku,
                        "quantity": command["quantity"],
                        "outcome": "RESERVED" if granted else "REJECTED",
                        "version": after[2],
                    }
                    emit(target, order.encode(), write(outcome))

    return app


def main(arguments: list[str]) -> int:
    app_id, bootstrap, source, target, form, store, folder, instance = arguments
    settings = {"store": f"{store}://", "datadir": folder, "instance": instance or None}
    if form == messages.FORM:
        app = messages.make_app(app_id, bootstrap, source, target, **settings)
    else:
        app = make_app(app_id, bootstrap, source, target, form, **settings)
    return uvloop.run(run(app))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
