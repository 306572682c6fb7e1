"""Search files from other tools' configurations: what has a counterpart is written down, the rest is named.

`mergekit-evolve` (mergekit 0.1.5) is read from its YAML. docs/coming_from.md says what each setting
becomes, and what to do with searches of mergenetic and Optuna, which are programs and not files.
"""

from evomerge.importing.evolve import Evolve, read_evolve
from evomerge.importing.text import Imported, import_evolve

__all__ = ["Evolve", "Imported", "import_evolve", "read_evolve"]
