"""What Prometheus sees of a worker: the transport's stages, rows, sagas and waiting readers, read when asked."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.letters.lanes import HEADS
from streams.worker.agents import Agents
from streams.worker.parking import TABLE as WAITING
from streams.worker.waiting import Waiters

# Of the transport's stats: what may fall again.
_GAUGES = frozenset({"restore_records", "restore_total", "restoring"})


class WorkerMetrics(Collector):
    """Collects at scrape time; nothing is counted twice."""

    def __init__(self, agents: Agents, waiters: Waiters) -> None:
        self._app, self._tables, self._listed = agents.app, agents.tables, agents.sagas
        self._waiters, self._parking = waiters, agents.parking

    def collect(self) -> Iterator[Metric]:
        """All metrics of this worker."""
        for name, value in self._app.stats.as_dict().items():
            family = GaugeMetricFamily if name in _GAUGES else CounterMetricFamily
            unit = name.removesuffix("_s") + "_seconds" if name.endswith("_s") else name
            metric = family(f"tally_worker_{unit}", f"{name} of the transport")
            metric.add_metric([], float(value))
            yield metric
        yield GaugeMetricFamily("tally_worker_ready", "1 when tables are restored", float(self._app.ready))
        yield GaugeMetricFamily("tally_worker_waiting_readers", "readers that wait", float(self._waiters.waiting))
        yield self._rows()
        yield self._sagas()
        yield from self._lanes()

    def _rows(self) -> Metric:
        rows = GaugeMetricFamily("tally_table_rows", "committed rows", labels=["table", "partition"])
        for name, table in self._tables.items():
            for partition in table.partitions_owned():
                rows.add_metric([name, str(partition)], len(table.committed(partition)))
        return rows

    def _sagas(self) -> Metric:
        sagas = GaugeMetricFamily("tally_sagas", "sagas by state", labels=["state"])
        for state, count in self._listed.counts().items():
            sagas.add_metric([state], count)
        return sagas

    def _lanes(self) -> Iterator[Metric]:
        lanes = GaugeMetricFamily("tally_worker_lanes", "keys whose records wait behind a dead letter")
        table = self._tables[WAITING]
        heads = [
            row["count"]
            for partition in table.partitions_owned()
            for _, row in table.committed(partition).prefix(HEADS)
        ]
        lanes.add_metric([], len(heads))
        yield lanes
        waiting = GaugeMetricFamily(
            "tally_worker_waiting_records", "records that were set aside, and those behind them"
        )
        waiting.add_metric([], sum(heads))
        yield waiting
        fullest = GaugeMetricFamily("tally_worker_fullest_lane_records", "records in the fullest of these keys")
        fullest.add_metric([], max(heads, default=0))
        yield fullest
        paused = GaugeMetricFamily(
            "tally_worker_paused_partitions", "topic partitions that are not read: a lane of theirs is full"
        )
        paused.add_metric([], len(self._parking.held))
        yield paused


def registry(metrics: WorkerMetrics) -> CollectorRegistry:
    """A registry of its own, so that two workers in one test do not meet."""
    found = CollectorRegistry(auto_describe=False)
    found.register(metrics)
    return found
