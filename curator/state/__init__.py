"""What people decide, never derived and never lost: `state.db`, SQLite beside a workspace or at a served root.

names       what a tag, collection or campaign may be called
database    connections, schema, migrations, and SQLite's refusals in our words
decisions   the log of decisions, undo and redo, and what holds now
documents   campaigns, triggers, saved filters: versioned values
tokens      who may use the service
jobs        long work asked of the service
travel      decisions and documents out and in again as JSON lines
store       `State`: all of it over one file
"""

from __future__ import annotations

from curator.state.decisions import Decision
from curator.state.documents import Document
from curator.state.jobs import Job, Jobs
from curator.state.store import State, open_state
from curator.state.tokens import Token, Tokens

__all__ = ["Decision", "Document", "Job", "Jobs", "State", "Token", "Tokens", "open_state"]
