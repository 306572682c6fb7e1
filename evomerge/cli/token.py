"""`token` and `owner`: who may use a server, and how much of it; written into the store itself."""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.options import FormatOption, StoreOption
from evomerge.cli.output import Format, note, print_json, print_table, stdout
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from evomerge.store.access import OwnerRecord, TokenRecord

tokens = typer.Typer(help="Tokens of a server: who may do what.", no_args_is_help=True)
owners = typer.Typer(help="Owners of searches: shares and limits.", no_args_is_help=True)
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_TokenId = Annotated[str, typer.Argument(metavar="TOKEN", help="The token's id, as in the list.")]
_Expires = Annotated[
    str | None, typer.Option("--expires", metavar="TIME", help="As 12h, 30d, 8w; default: never.")
]


class ScopeName(StrEnum):
    """As `evomerge.store.access.Scope`, without what that module loads."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


def seconds_of(text: str | None) -> float | None:
    """`90m`, `12h`, `30d` or `8w` in seconds; UsageError otherwise."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text.strip())
    if found is None or int(found[1]) == 0:
        raise UsageError(f"{text!r} is no time", where="--expires", remedy="write 12h, 30d or 8w")
    return int(found[1]) * _UNITS[found[2]]


@tokens.command("create")
def create(
    owner: Annotated[str, typer.Option("--owner", help="Whose it is; made where it is new.")],
    scope: Annotated[ScopeName, typer.Option("--scope", help="What it is good for.")],
    expires: _Expires = None,
    text: Annotated[str | None, typer.Option("--note", help="What it is for.")] = None,
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a token. It is shown this once: the store keeps a hash alone."""
    from evomerge.cli.stores import store_at
    from evomerge.store.access import Scope

    with store_at(store, create=True) as opened:
        made, record = opened.create_token(
            owner, Scope(scope.value), seconds=seconds_of(expires), note=text
        )
    _show_new(made, record, format)


@tokens.command("list")
def list_tokens(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """All tokens, newest first; never what makes them one."""
    from evomerge.cli.stores import store_at

    with store_at(store) as opened:
        rows = [_plain(record) for record in opened.tokens()]
    none = "no tokens yet; make one with: evomerge token create --owner NAME --scope submit"
    _show_all(rows, none, format)


@tokens.command("revoke")
def revoke(token: _TokenId, store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """End a token, and the browsers' sessions that were opened with it, at once."""
    from evomerge.cli.stores import store_at

    with store_at(store) as opened:
        record = opened.revoke_token(token)
    if format is Format.JSON:
        print_json(_plain(record))
    else:
        note(f"token {record.id} of {record.owner} is revoked")


@tokens.command("rotate")
def rotate(
    token: _TokenId,
    expires: _Expires = None,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="TIME", help="How long the old one stays good.")
    ] = None,
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Make a token in place of another one."""
    from evomerge.cli.stores import store_at

    with store_at(store) as opened:
        made, record = opened.rotate_token(
            token, seconds=seconds_of(expires), grace=seconds_of(grace) or 0.0
        )
    _show_new(made, record, format)


def _show_new(made: str, record: TokenRecord, format: Format) -> None:
    if format is Format.JSON:
        print_json({**_plain(record), "token": made})
        return
    stdout().print(made, markup=False, soft_wrap=True)
    until = (
        "until it is revoked" if record.expires_at is None else f"until {_day(record.expires_at)}"
    )
    note(f"token {record.id} of {record.owner}, scope {record.scope}, {until}; keep it: it is not")
    note("shown again. For clients: export EVOMERGE_TOKEN=…")


def _day(when: datetime) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M")


def _plain(record: TokenRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "owner": record.owner,
        "scope": record.scope.value,
        "note": record.note,
        "created": record.created_at,
        "expires": record.expires_at,
        "revoked": record.revoked_at,
        "last used": record.used_at,
    }


@owners.command("list")
def list_owners(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """Owners with their weights, limits, and recent use."""
    from evomerge.cli.stores import store_at

    with store_at(store) as opened:
        rows = [_owner(record) for record in opened.owners()]
    _show_all(rows, "no owners yet: they come with their first token or search", format)


def _show_all(rows: list[dict[str, Any]], none: str, format: Format) -> None:
    """A line each, or the sentence `none`."""
    if format is Format.JSON:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        note(none)


@owners.command("set")
def set_owner(
    name: Annotated[str, typer.Argument(metavar="OWNER")],
    weight: Annotated[
        float | None, typer.Option("--weight", min=0.001, help="The share that is due.")
    ] = None,
    running: Annotated[
        int | None, typer.Option("--running", min=0, help="Searches at a time.")
    ] = None,
    queued: Annotated[
        int | None, typer.Option("--queued", min=0, help="Searches that wait or run.")
    ] = None,
    candidates: Annotated[
        int | None, typer.Option("--candidates", min=0, help="Budgets of those, added up.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=0, help="Of all searches that run.")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", min=0.0, help="Of workers, in recent use.")
    ] = None,
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Change an owner's weight and limits; what is not named stays. 0 allows nothing."""
    from dataclasses import replace

    from evomerge.cli.stores import store_at

    given: dict[str, Any] = {
        "running": running,
        "queued": queued,
        "candidates": candidates,
        "workers": workers,
        "hours": hours,
    }
    with store_at(store, create=True) as opened:
        now = opened.ensure_owner(name)
        limits = replace(now.limits, **{k: v for k, v in given.items() if v is not None})
        chosen = now.weight if weight is None else weight
        record = opened.set_owner(name, weight=chosen, limits=limits)
    content = _owner(record)
    if format is Format.JSON:
        print_json(content)
    else:
        print_table(list(content), [list(content.values())])


def _owner(record: OwnerRecord) -> dict[str, Any]:
    limits = record.limits
    return {
        "owner": record.name,
        "weight": record.weight,
        "running": limits.running,
        "queued": limits.queued,
        "candidates": limits.candidates,
        "workers": limits.workers,
        "hours": limits.hours,
        "used hours": record.used / 3600,
    }
