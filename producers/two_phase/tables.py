"""The tables of two-phase commit: decisions in the orders database, a marker per commit in every participant's."""

from __future__ import annotations

DECISIONS = """
create table two_phase_coordinators (
    name text primary key,
    epoch bigint not null
);
comment on table two_phase_coordinators is 'the number of each coordinator''s life; part of its identifiers';

create table two_phase_decisions (
    transaction uuid primary key,
    coordinator text not null,
    epoch bigint not null,
    outcome text not null check (outcome in ('COMMIT', 'ABORT')),
    participants text[] not null,
    decided_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz,
    damage jsonb not null default '{}',
    forgotten_at timestamptz
);
comment on table two_phase_decisions is 'whoever inserts first decides; kept, for a stalled coordinator must lose later too';
create index two_phase_open on two_phase_decisions (decided_at) where ended_at is null;
create index two_phase_damaged on two_phase_decisions (decided_at) where damage <> '{}' and forgotten_at is null;
"""

# Recovery compares the newest with the markers.
DECISIONS_BY_AGE = """
create index two_phase_commits_by_age on two_phase_decisions (decided_at desc, transaction) where outcome = 'COMMIT';
"""

MARKERS = """
create table two_phase_markers (
    transaction uuid primary key,
    prepared_at timestamptz not null default clock_timestamp()
);
create index two_phase_markers_by_age on two_phase_markers (prepared_at);
comment on table two_phase_markers is 'a row written inside each prepared transaction: there once it is committed';
"""

COORDINATOR_MAY: dict[str, tuple[str, ...]] = {
    "two_phase_coordinators": ("select", "insert", "update"),
    "two_phase_decisions": ("select", "insert", "update"),
}
PARTICIPANT_MAY: dict[str, tuple[str, ...]] = {"two_phase_markers": ("select", "insert")}
