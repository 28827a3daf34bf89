"""The journal: what happened in Tollhouse itself, one row a change, written in the same transaction.

Alerts, activity feeds and webhooks read it; nobody changes or deletes a row.
"""

from tollhouse.journal.entry import Entry, history, last_seen, leading_to, newest, read_on, write

__all__ = ["Entry", "history", "last_seen", "leading_to", "newest", "read_on", "write"]
