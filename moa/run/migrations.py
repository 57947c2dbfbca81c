"""How the store's schema came to be: numbered steps, each applied once.

A store remembers the numbers of the steps it has been through. An older one goes through the missing
steps when it is opened for writing; one that has been through a step unknown here is refused.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence

from moa.errors import StoreError

APPLICATION_ID = 0x6D6F6131
"""Written into the file's header ("moa1"), so that another program's database is never touched."""

Migration = Callable[[sqlite3.Connection], None]


def m001_initial(db: sqlite3.Connection) -> None:
    """Texts by digest, requests by base, responses by request and sample, and a view of it all.

    Every index on a digest costs a page or two per row, because digests come in no order: there is one
    for the texts, one for the requests, and none for the responses.
    """
    db.execute("CREATE TABLE texts (hash TEXT NOT NULL PRIMARY KEY, text TEXT NOT NULL)")
    db.execute(
        "CREATE TABLE requests (id INTEGER PRIMARY KEY, base TEXT NOT NULL UNIQUE, identity TEXT NOT NULL,"
        " messages TEXT NOT NULL, params TEXT NOT NULL)"
    )
    db.execute(
        "CREATE TABLE responses (request INTEGER NOT NULL, sample INTEGER NOT NULL, text TEXT NOT NULL,"
        " reasoning TEXT, finish_reason TEXT, extra TEXT, input_tokens INTEGER NOT NULL,"
        " output_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,"
        " estimated INTEGER NOT NULL, served_model TEXT NOT NULL, latency REAL NOT NULL,"
        " created REAL NOT NULL, PRIMARY KEY (request, sample))"
    )
    db.execute(
        """
        CREATE VIEW samples AS
        SELECT datetime(r.created, 'unixepoch') AS time,
            coalesce(CASE WHEN json_valid(q.identity) THEN json_extract(q.identity, '$.model') END,
                q.identity) AS model,
            r.sample,
            (SELECT group_concat(json_extract(m.value, '$.role') || ': ' ||
                    coalesce(t.text, json_extract(m.value, '$.content'), ''), char(10))
                FROM json_each(q.messages) AS m
                LEFT JOIN texts AS t ON t.hash = CASE json_type(m.value, '$.content')
                    WHEN 'object' THEN json_extract(m.value, '$.content."#"') END) AS prompt,
            r.text AS response, r.reasoning, q.params, r.finish_reason, r.input_tokens, r.output_tokens,
            r.latency, r.served_model, q.identity, q.base || '.' || r.sample AS key
        FROM responses AS r
        JOIN requests AS q ON q.id = r.request
        """
    )


MIGRATIONS: tuple[Migration, ...] = (m001_initial,)
"""In order; the first is number 1. A step that has been released is never edited."""


def missing(db: sqlite3.Connection, steps: Sequence[Migration] = MIGRATIONS) -> int:
    """How many steps the store has still to go through; 0 for a current one.

    Raises `StoreError` for a newer store and for another program's database.
    """
    applied = _applied(db)
    if applied > len(steps):
        raise StoreError(
            f"was written by a newer moa (schema {applied}, this one knows {len(steps)}): upgrade moa"
        )
    return len(steps) - applied


def migrate(db: sqlite3.Connection, steps: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring the store up to date, all steps or none; safe where several processes do so at once."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        todo = missing(db, steps)
        if todo == len(steps):
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT, applied REAL)"
            )
        for number, step in list(enumerate(steps, 1))[len(steps) - todo :]:
            step(db)
            db.execute("INSERT INTO migrations VALUES (?, ?, ?)", (number, step.__name__, time.time()))


def _applied(db: sqlite3.Connection) -> int:
    if db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        return int(db.execute("SELECT coalesce(max(number), 0) FROM migrations").fetchone()[0])
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError("is a database of another program, not a store of moa")
    return 0
