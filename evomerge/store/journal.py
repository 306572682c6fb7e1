"""What happened to a search, in words; its log, wherever its controller ran."""

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from evomerge.store.access import LogLine
from evomerge.store.columns import now
from evomerge.store.schema import EventRow
from evomerge.store.text import clean
from evomerge.store.transactions import Transactions, reads, writes

KEPT = 2000
"""Lines of a search that are kept; older ones go."""
LEVELS = ("info", "warning", "error")


class Journal(Transactions):
    """Lines in the order in which they were written."""

    @writes
    def log(self, db: Connection, search_id: str, message: str, level: str = "info") -> None:
        """Add a line. level: info, warning or error."""
        if level not in LEVELS:
            raise ValueError(f"no level {level!r}: {', '.join(LEVELS)}")
        values = {"search_id": search_id, "level": level, "message": clean(message)}
        db.execute(insert(EventRow).values(**values, at=now()))
        lines = select(EventRow.id).where(EventRow.search_id == search_id)
        oldest = db.scalar(lines.order_by(EventRow.id.desc()).offset(KEPT).limit(1))
        if oldest is not None:
            old = delete(EventRow).where(EventRow.search_id == search_id, EventRow.id <= oldest)
            db.execute(old)

    @reads
    def log_lines(
        self, db: Connection, search_id: str, *, after: int = 0, limit: int = 200
    ) -> list[LogLine]:
        """Lines after the one of that id, oldest first; with `after` 0 the last `limit` of all."""
        mine = select(EventRow.__table__).where(EventRow.search_id == search_id)
        if after:
            query = mine.where(EventRow.id > after).order_by(EventRow.id).limit(limit)
            return [_line(row) for row in db.execute(query)]
        newest = db.execute(mine.order_by(EventRow.id.desc()).limit(limit)).all()
        return [_line(row) for row in reversed(newest)]


def _line(row: Row[*tuple[Any, ...]]) -> LogLine:
    return LogLine(row.id, row.search_id, row.at, row.level, row.message)
