"""Head rows of the services' databases, in their JSON: what few of them need is made into objects where it is compared."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from tally.audit.collecting import CONNECT_TIMEOUT_S, SourceUnreachable
from tally.fsck.scanning import GATED_BY_SERVICE, Head, Key

_HEADS = """
select aggregatetype, aggregateid, version, snapshot::text, snapshot_version from heads where aggregatetype = any(%s)
"""
# A cursor of the server's: the rows of a whole table would else lie in memory twice.
_FETCH_ROWS = 10_000


def heads(service: str, url: str) -> Iterator[tuple[Key, Head]]:
    """All head rows of a service by (type, id). Raises SourceUnreachable."""
    kinds = GATED_BY_SERVICE.get(service, ())
    try:
        with (
            psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection,
            connection.cursor("heads") as cursor,
        ):
            cursor.itersize = _FETCH_ROWS
            for kind, id_, *head in cursor.execute(_HEADS, (list(kinds),)):
                yield (kind, id_), Head(*head)
    except psycopg.Error as error:
        raise SourceUnreachable(f"the database of {service} cannot be read: {str(error).splitlines()[0]}") from None
