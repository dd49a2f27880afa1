"""The table of topics: every topic that Tally reads or writes, with its key, messages, partitions and retention."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

# Four keep two workers of a small machine busy and cost a local broker little.
# Never to be changed under a keyed event topic: keys would move (design: a move is a copy to a new topic).
PARTITIONS = 4

FOR_EVER_MS = -1
DAY_MS = 24 * 60 * 60 * 1000
# Commands and replies matter until they are answered; the horizon of command ids is 30 days, so that no
# command outlives what remembers it.
COMMAND_RETENTION_MS = 30 * DAY_MS

ORDERS_EVENTS = "orders.events"
PAYMENTS_EVENTS = "payments.events"
CUSTOMERS_EVENTS = "customers.events"
WALLETS_EVENTS = "wallets.events"
INVENTORY_EVENTS = "inventory.events"
SAGAS_EVENTS = "sagas.events"
ORDERS_COMMANDS = "orders.commands"
PAYMENTS_COMMANDS = "payments.commands"
INVENTORY_COMMANDS = "inventory.commands"
SAGAS_REPLIES = "sagas.replies"
SAGAS_DEADLINES = "sagas.deadlines"
ORDERS_BY_CUSTOMER_REKEY = "orders_by_customer.rekey"
DEAD_LETTERS = "dead-letters"
DEAD_LETTERS_COMMANDS = "dead-letters.commands"
AUDIT_TRAIL = "audit-trail"
TABLE_VERSIONS = "table-versions"

# The Faust application; its name stands before each changelog.
APP_ID = "tally"
READ_MODELS = ("orders", "orders_by_customer", "stock")
TABLES = (*READ_MODELS, "stock_levels", "holds", "stock_commands", "order_sagas", "waiting", "rebuilds")


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; `retention_ms` is -1 for "for ever"; `cleanup` is Kafka's cleanup.policy."""

    name: str
    key: str
    messages: str
    partitions: int = PARTITIONS
    retention_ms: int = FOR_EVER_MS
    cleanup: str = "delete"
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, str]:
        """The topic's settings in Kafka's words."""
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            **self.settings,
        }

    @property
    def holds_events(self) -> bool:
        """Whether this is one of the event topics: kept for ever, and nobody but their owner publishes to them."""
        return self.name.endswith(".events")


def changelog(table: str, version: int = 1) -> str:
    """Name of the changelog of one version of one of our tables."""
    return f"{APP_ID}-{table}-changelog" if version == 1 else f"{APP_ID}-{table}-v{version}-changelog"


REPLAYS = changelog("replays")


def connector_offsets(connector: str) -> str:
    """Name of the topic in which a connector keeps its position."""
    return f"connect-outbox-{connector}-offsets"


def _changelog_topic(table: str) -> Topic:
    # A store that was away for less than half of these 7 days sees every deletion (design 3.13).
    settings = {"delete.retention.ms": str(7 * DAY_MS), "min.cleanable.dirty.ratio": "0.1"}
    return Topic(changelog(table), "table key", f"rows of the table {table}", cleanup="compact", settings=settings)


_ALL = (
    Topic(ORDERS_EVENTS, "order id", "ORDER_* events"),
    Topic(PAYMENTS_EVENTS, "order id", "PAYMENT_* events"),
    Topic(CUSTOMERS_EVENTS, "customer id", "CUSTOMER_* events"),
    Topic(WALLETS_EVENTS, "customer id", "WALLET_* events"),
    Topic(INVENTORY_EVENTS, "SKU", "STOCK_* and RESERVATION_* events"),
    Topic(SAGAS_EVENTS, "order id", "SAGA_* events"),
    Topic(
        ORDERS_COMMANDS,
        "order id",
        "CREATE_ORDER, CONFIRM_ORDER, REJECT_ORDER, CANCEL_ORDER, SHIP_ORDER, RETURN_ORDER_LINES",
        retention_ms=COMMAND_RETENTION_MS,
    ),
    Topic(
        PAYMENTS_COMMANDS,
        "order id",
        "AUTHORISE_PAYMENT, CAPTURE_PAYMENT, VOID_PAYMENT, REFUND_PAYMENT, ASK_STATUS",
        retention_ms=COMMAND_RETENTION_MS,
    ),
    Topic(
        INVENTORY_COMMANDS,
        "SKU",
        "RESERVE_STOCK, RELEASE_STOCK, SHIP_STOCK, RETURN_STOCK, RECEIVE_STOCK, ADJUST_STOCK, ASK_STATUS",
        retention_ms=COMMAND_RETENTION_MS,
    ),
    Topic(SAGAS_REPLIES, "order id", "COMMAND_ANSWERED", retention_ms=COMMAND_RETENTION_MS),
    Topic(
        SAGAS_DEADLINES, "order id", "DEADLINE_PASSED, ACT_ON_SAGA, ASK_ABOUT_HOLD", retention_ms=COMMAND_RETENTION_MS
    ),
    Topic(ORDERS_BY_CUSTOMER_REKEY, "customer id", "ORDER_LISTED"),
    # One key a letter, compacted: a discarded letter is a tombstone.
    Topic(DEAD_LETTERS, "letter id", "DEAD_LETTERED", cleanup="compact"),
    # Sent to the partition in which the record stood, whatever its key: only the owner of that partition can act.
    Topic(
        DEAD_LETTERS_COMMANDS,
        "letter id, key or all",
        "ACT_ON_DEAD_LETTERS",
        retention_ms=COMMAND_RETENTION_MS,
    ),
    Topic(AUDIT_TRAIL, "subject of the act", "who did what, and why"),
    Topic(
        TABLE_VERSIONS,
        "read model",
        "which version of its table is served, and which is being built (JSON)",
        cleanup="compact",
    ),
    *(_changelog_topic(table) for table in TABLES),
    # A table too, though no worker's: its rows are written by the process that replays, and by who asks it to pause.
    replace(_changelog_topic("replays"), key="replay id", messages="how each replay stands (JSON)"),
    *(
        Topic(
            connector_offsets(name),
            "connector name",
            "position of the connector (JSON)",
            partitions=1,
            cleanup="compact",
        )
        for name in ("orders", "payments")
    ),
)

TOPICS: dict[str, Topic] = {topic.name: topic for topic in _ALL}
EVENT_TOPICS = tuple(topic.name for topic in _ALL if topic.holds_events)
