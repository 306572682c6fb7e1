"""What a database's complaint means: worth another try, or a StoreError with its remedy."""

from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from evomerge.errors import StoreError, UsageError

_SQLITE = {
    "SQLITE_BUSY": (
        "the database is locked by another process",
        "wait for it, or find it with `fuser`; several machines need PostgreSQL",
    ),
    "SQLITE_LOCKED": ("the database is locked", "wait for the other writer to end"),
    "SQLITE_NOTADB": ("the file is no SQLite database", "name another file"),
    "SQLITE_CORRUPT": (
        "the database is damaged",
        "restore a backup, or try `sqlite3 FILE .recover`",
    ),
    "SQLITE_CANTOPEN": ("the file cannot be opened", "check the folder and its permissions"),
    "SQLITE_PERM": ("no permission", "check the permissions of the file and its folder"),
    "SQLITE_AUTH": ("no permission", "check the permissions of the file and its folder"),
    "SQLITE_READONLY": (
        "the database cannot be written",
        "check the permissions of file and folder",
    ),
    "SQLITE_FULL": ("no space left on the disk", "free some space; nothing stored was lost"),
    "SQLITE_IOERR": ("the disk reports an error", "check the disk and its free space"),
}
_POSTGRES = (
    (
        "password",
        "the password or user is wrong",
        "check the URL: postgresql://USER:PASSWORD@HOST/NAME",
    ),
    (
        "no pg_hba.conf entry",
        "the server refuses this user or address",
        "see the server's pg_hba.conf",
    ),
    ("role", "the server knows no such user", "create it: `createuser NAME`, or check the URL"),
    ("does not exist", "the database does not exist", "create it: `createdb NAME`"),
    ("resolve host", "the host is unknown", "check the host's name in the URL"),
    ("translate host", "the host is unknown", "check the host's name in the URL"),
    ("timeout", "the server does not answer", "check host, port and firewall"),
    ("refused", "no server listens there", "start PostgreSQL, or check host and port in the URL"),
    ("No such file", "no server listens there", "start PostgreSQL, or check the socket's folder"),
)
_TRANSIENT_STATES = {"40001", "40P01", "55P03", "57P03", "53300"}
_STATES = {
    "55P03": ("the database is locked by another process", "wait for the other writer to end"),
    "53300": (
        "the server has no connection left",
        "raise its max_connections, or use fewer workers",
    ),
    "53100": ("the server's disk is full", "free some space there; nothing stored was lost"),
    "42501": ("no permission", "grant this user rights on the schema"),
    "25006": ("the server is read-only", "use the primary server"),
}


def is_contention(error: DBAPIError) -> bool:
    """Whether the transaction was certainly undone and the next try may go through."""
    return _sqlite_name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or (
        _state(error) in _TRANSIENT_STATES or "starting up" in str(error.orig)
    )


def is_lost_connection(error: DBAPIError) -> bool:
    """Whether a server went away: a file does not."""
    if _sqlite_name(error) or not isinstance(error, OperationalError):
        return False
    return error.connection_invalidated or _state(error) == ""


def is_text(error: DBAPIError) -> bool:
    """Whether a text in a question was the reason: PostgreSQL takes no NUL."""
    return "NUL (0x00)" in str(error.orig)


def text_error() -> UsageError:
    """What is asked for cannot be stored, and so is not there either."""
    return UsageError(
        "a text has a character that no database stores", remedy="leave out NUL and half surrogates"
    )


def store_error(error: DBAPIError, where: str) -> StoreError:
    """The error for people."""
    message, remedy = _explain(error)
    return StoreError(message, where=where, remedy=remedy)


def _explain(error: DBAPIError) -> tuple[str, str]:
    detail = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no detail"
    if isinstance(error, IntegrityError):
        return f"this is stored already, or contradicts what is stored: {detail}", (
            "another process may write to the same search; read it again"
        )
    name = _sqlite_name(error)
    for prefix, explained in _SQLITE.items():
        if name.startswith(prefix):
            return explained
    if _state(error) in _STATES:
        return _STATES[_state(error)]
    if not name and _state(error) in {"", "28P01", "28000", "3D000"}:
        for words, message, remedy in _POSTGRES:
            if words in str(error.orig):
                return f"{message} ({detail})", remedy
    return (
        f"the database says: {detail}",
        "if it was made by another version: `evomerge db upgrade`",
    )


def _sqlite_name(error: DBAPIError) -> str:
    """Such as SQLITE_BUSY; empty for other databases."""
    name = getattr(error.orig, "sqlite_errorname", None)
    is_sqlite = type(error.orig).__module__ == "sqlite3"
    return str(name or "SQLITE_ERROR") if is_sqlite else ""


def _state(error: DBAPIError) -> str:
    """PostgreSQL's SQLSTATE; empty where there is none."""
    return str(getattr(error.orig, "sqlstate", None) or "")
