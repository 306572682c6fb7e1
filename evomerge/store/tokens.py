"""Tokens: 256 random bits each, shown once; the store has their SHA-256 alone.

A token reads `evm_ID_SECRET`. The id finds the row, the secret is compared in constant time. No slow
hash is needed: nobody guesses 256 random bits, whatever a guess costs. A session is a token whose
parent is the one that it was opened with; it ends with its parent.
"""

import hashlib
import hmac
import re
import secrets
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update
from sqlalchemy.orm import aliased

from evomerge.errors import NotFoundError
from evomerge.store.access import Scope, TokenRecord
from evomerge.store.columns import now
from evomerge.store.owners import add_owner
from evomerge.store.schema import Token
from evomerge.store.text import clean
from evomerge.store.transactions import Transactions, reads, writes

_FORM = re.compile(r"^evm_([0-9a-f]{12})_([\w-]{43})$", re.ASCII)
_STALE = or_(Token.used_at.is_(None), now() - Token.used_at > 60.0)


class Tokens(Transactions):
    """Credentials of owners."""

    @writes
    def create_token(
        self,
        db: Connection,
        owner: str,
        scope: Scope,
        *,
        seconds: float | None = None,
        note: str | None = None,
        parent: str | None = None,
    ) -> tuple[str, TokenRecord]:
        """A new token: what its holder keeps, and its record. The owner is made where it is new.

        Args:
            seconds: how long it is good for; None: until it is revoked.
            parent: the token that a session is opened with.
        """
        add_owner(db, owner)
        _forget_old_sessions(db)
        return _create(db, owner, scope, seconds, note, parent)

    @writes
    def rotate_token(
        self, db: Connection, token_id: str, *, seconds: float | None, grace: float = 0.0
    ) -> tuple[str, TokenRecord]:
        """A token in place of another, which stays good for `grace` more seconds; NotFoundError."""
        old = _token(db, token_id)
        _end(db, token_id, grace)
        return _create(db, old.owner, Scope(old.scope), seconds, old.note, None)

    @writes
    def revoke_token(self, db: Connection, token_id: str) -> TokenRecord:
        """End a token and the sessions that were opened with it, at once; NotFoundError."""
        _token(db, token_id)
        _end(db, token_id, 0.0)
        return _record(_token(db, token_id))

    @reads
    def tokens(self, db: Connection, *, sessions: bool = False) -> list[TokenRecord]:
        """Newest first; with those of browsers where `sessions` says so."""
        query = select(Token.__table__).order_by(Token.created_at.desc(), Token.id)
        if not sessions:
            query = query.where(Token.parent.is_(None))
        return [_record(row) for row in db.execute(query)]

    def find_token(self, text: str) -> TokenRecord | None:
        """The token that `text` is, where it is good now."""
        parts = _FORM.match(text)
        if parts is None:
            return None
        found, stale = self._good_token(parts[1], digest(parts[2]))
        # A write on every request would make all of them wait for each other.
        if found is not None and stale:
            self._note_use(found)
        return found

    @reads
    def has_tokens(self, db: Connection, *, ever: bool = False) -> bool:
        """Whether any token is good now; or with `ever`, whether one was ever made."""
        conditions = () if ever else _good(Token)
        query = select(Token.id).where(Token.parent.is_(None), *conditions).limit(1)
        return db.scalar(query) is not None

    @reads
    def _good_token(
        self, db: Connection, token_id: str, given: str
    ) -> tuple[TokenRecord | None, bool]:
        """The token, and whether its use is due to be noted."""
        parent = aliased(Token)
        query = (
            select(Token.__table__, _STALE.label("stale"))
            .outerjoin(parent, parent.id == Token.parent)
            .where(Token.id == token_id, *_good(Token), *_good(parent))
        )
        row = db.execute(query).one_or_none()
        # Compared also where there is none, so that an id is not found out by the time it takes.
        same = hmac.compare_digest(given, row.digest if row else "0" * 64)
        return (_record(row), bool(row.stale)) if row is not None and same else (None, False)

    @writes
    def _note_use(self, db: Connection, token: TokenRecord) -> None:
        """Once a minute is enough to see whether a token is still needed."""
        db.execute(update(Token).where(Token.id == token.id, _STALE).values(used_at=now()))


def digest(secret: str) -> str:
    """What the store has of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _create(
    db: Connection,
    owner: str,
    scope: Scope,
    seconds: float | None,
    note: str | None,
    parent: str | None,
) -> tuple[str, TokenRecord]:
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    values = {
        "id": token_id,
        "owner": owner,
        "scope": Scope(scope).value,
        "digest": digest(secret),
        "parent": parent,
        "note": clean(note),
        "created_at": now(),
        "expires_at": None if seconds is None else now() + float(seconds),
    }
    db.execute(insert(Token).values(**values))
    return f"evm_{token_id}_{secret}", _record(_token(db, token_id))


def _forget_old_sessions(db: Connection) -> None:
    """Browsers come and go: what ended a day ago is of no use to anybody."""
    ended = now() - Token.expires_at > 86_400.0
    db.execute(delete(Token).where(Token.parent.is_not(None), ended))


def _good(token: Any) -> tuple[Any, ...]:
    """Neither revoked nor expired; a parent that is none is no obstacle."""
    return (
        or_(token.revoked_at.is_(None), token.revoked_at > now()),
        or_(token.expires_at.is_(None), token.expires_at > now()),
    )


def _end(db: Connection, token_id: str, grace: float) -> None:
    still = or_(Token.revoked_at.is_(None), Token.revoked_at > now() + float(grace))
    db.execute(
        update(Token).where(Token.id == token_id, still).values(revoked_at=now() + float(grace))
    )


def _token(db: Connection, token_id: str) -> Row[*tuple[Any, ...]]:
    row = db.execute(select(Token.__table__).where(Token.id == token_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"no token {token_id!r}", remedy="see `evomerge token list`")
    return row


def _record(row: Row[*tuple[Any, ...]]) -> TokenRecord:
    return TokenRecord(
        id=row.id,
        owner=row.owner,
        scope=Scope(row.scope),
        note=row.note,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        used_at=row.used_at,
        parent=row.parent,
    )
