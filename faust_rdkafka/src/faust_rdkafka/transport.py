"""The transport that Faust finds behind rdkafka:// URLs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import confluent_kafka
from confluent_kafka.admin import AdminClient
from faust.transport import base

from .conductor import Conductor
from .consumer import Consumer
from .fatal import end_process
from .options import Options, client_config
from .producer import Producer
from .stats import Stats


class Transport(base.Transport):
    Consumer = Consumer
    Producer = Producer
    Conductor = Conductor
    default_port = 9092
    driver_version = f"confluent_kafka={confluent_kafka.__version__}"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        given = getattr(self.app, "options", None)
        self.is_ours = isinstance(given, Options)
        self.options: Options = given if isinstance(given, Options) else Options()
        self.stats: Stats = self.app.stats if self.is_ours else Stats()

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient(self.client_config())

    def client_config(self) -> dict[str, Any]:
        bootstrap = ",".join(f"{url.host or '127.0.0.1'}:{url.port or self.default_port}" for url in self.url)
        return client_config(self.options, bootstrap, self.app.conf.broker_client_id)

    def fatal(self, error: BaseException | None) -> None:
        """End the process; an App of ours may have its own way."""
        (self.app.fatal if self.is_ours else end_process)(error)
