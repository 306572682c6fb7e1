"""The SQL store: the only truth about searches. `open_store` opens or makes one.

`api` is the contract, `types` what it hands out, `schema` the tables. Needs neither torch, ray nor
vllm.
"""

from evomerge.store.api import Store
from evomerge.store.holder import make_owner
from evomerge.store.migrate import current_revision, upgrade
from evomerge.store.sql import SQLStore, open_store, store_folder

__all__ = [
    "SQLStore",
    "Store",
    "current_revision",
    "make_owner",
    "open_store",
    "store_folder",
    "upgrade",
]
