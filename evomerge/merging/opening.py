"""The models of recipes, opened when they are first asked for: plain ones, and ones with an adapter.

One folder is opened once, however many models are made of it.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from evomerge.layout import read_index
from evomerge.merging.adapted import AdaptedCheckpoint
from evomerge.merging.adapter import read_adapter
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.indexes import Folders, check_layers, check_plain, folders_of
from evomerge.vocabulary import Vocabulary, vocabulary_of


class OpenModels(Mapping[str, Checkpoint]):
    """Checkpoints by the names that recipes use. Iterating gives those opened so far.

    Raises CheckpointError for a name without a folder, and for a model that cannot be used.
    """

    def __init__(self, folders: Folders, notify: Callable[[str], None] | None = None) -> None:
        self._notify = notify
        self.folders: Folders = {name: Path(folder) for name, folder in folders.items()}
        self._plain: dict[Path, Checkpoint] = {}
        self._models: dict[str, Checkpoint] = {}
        self._vocabularies: dict[str, Vocabulary | None] = {}

    def __getitem__(self, name: str) -> Checkpoint:
        if name not in self._models:
            self._models[name] = self._open(*folders_of(name, self.folders))
        return self._models[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)

    def add(self, name: str, model: Checkpoint) -> None:
        """A model that lies in no folder."""
        self._models[name] = model

    def drop(self, name: str) -> None:
        """Let go of a model that was added."""
        self._models.pop(name, None)
        self._vocabularies.pop(name, None)

    def vocabulary(self, name: str) -> Vocabulary | None:
        """A model's vocabulary, read once; None where it has no embedding of tokens."""
        if name not in self._vocabularies:
            self._vocabularies[name] = vocabulary_of(name, self[name].index)
        return self._vocabularies[name]

    @property
    def num_bytes(self) -> int:
        """What all models take that may be asked for; one with an adapter is worked out in fp32."""
        sizes = [
            sum(file.stat().st_size for file in folder.glob("*.safetensors"))
            for folder in self.folders.values()
        ]
        adapters = sum(not (folder / "config.json").is_file() for folder in self.folders.values())
        return sum(sizes) + 2 * adapters * max(sizes, default=0)

    def release(self) -> None:
        """Let go of the pages of all tensors read so far."""
        for checkpoint in self._plain.values():
            checkpoint.release()

    def close(self) -> None:
        """Let go of the mapped files."""
        self._models.clear()
        self._plain.clear()

    def _open(self, folder: Path, adapter: Path | None = None) -> Checkpoint:
        if folder not in self._plain:
            self._plain[folder] = self._read(folder)
        if adapter is None:
            return self._plain[folder]
        return AdaptedCheckpoint(self._plain[folder], Checkpoint(read_adapter(adapter)))

    def _read(self, folder: Path) -> Checkpoint:
        index = read_index(folder)
        check_plain(index)
        odd = check_layers(index)
        if odd and self._notify:
            self._notify(f"{folder}: {odd}")
        return Checkpoint(index)
