"""Builds what is published and looks into it: `make dist`, which is `python requirements/release.py`.

A wheel, an sdist and a software bill of materials go to dist/. Then each is opened: the names and the version
agree, the wheel holds the package and its data and nothing else, the sdist builds the same wheel, and the
metadata are what a package index wants. Nothing is uploaded.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tempfile
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from email.message import Message
from email.parser import Parser
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

ROOT = Path(__file__).parent.parent
PINNED = ROOT / "requirements" / "cpu.txt"
CARRIED = {
    "presets": "evomerge/_data/search_spaces/ties_per_layer.yml",
    "migrations": "evomerge/_data/db/migrations/env.py",
    "queries": "evomerge/_data/db/queries/best_recipes.sql",
    "the schema": "evomerge/_data/db/schema.sql",
    "the dashboard's pages": "evomerge/dashboard/templates/",
    "the report's page": "evomerge/report/",
    "chat templates": "evomerge/merging/chat_templates/",
    "kernels in C": "evomerge/merging/csource.py",
    "types": "evomerge/py.typed",
}
"""What a wheel must hold besides modules: a path, or the beginning of one."""
STRANGERS = re.compile(r"(^|/)(tests|benchmarks|docs|examples|__pycache__)/|\.pyc$|\.db$")
WANTED = ("Name", "Version", "Summary", "License-Expression", "Requires-Python")


def build(out: Path, source: Path = ROOT, *, kinds: Iterable[str] = ("sdist", "wheel")) -> None:
    """Build from `source` into `out`, with the tools that are installed and no network."""
    targets = [word for kind in kinds for word in ("-t", kind)]
    command = [sys.executable, "-m", "hatchling", "build", *targets, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the build failed:\n{done.stderr}")


def only(folder: Path, pattern: str) -> Path:
    """The one file of that pattern."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder} holds {len(found)} files {pattern}, and one was wanted")
    return found[0]


def complaints(out: Path) -> Iterator[str]:
    """What is wrong with the wheel and the sdist in `out`; nothing where all is well."""
    wheel, sdist = only(out, "*.whl"), only(out, "*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    yield from wheel_complaints(names)
    with tarfile.open(sdist) as archive:
        yield from sdist_complaints(archive.getnames())
    found = metadata_of(wheel)
    yield from metadata_complaints(found)
    version = found["Version"]
    if wheel.name != f"evomerge-{version}-py3-none-any.whl":
        yield f"the wheel of version {version} is called {wheel.name}"
    if sdist.name != f"evomerge-{version}.tar.gz":
        yield f"the sdist of version {version} is called {sdist.name}"
    again = rebuilt(sdist)
    if again != (version, set(names)):
        yield "the sdist builds another wheel than the checkout"


def wheel_complaints(names: list[str]) -> Iterator[str]:
    """Whatever is missing from a wheel, or does not belong into it."""
    for what, start in CARRIED.items():
        if not any(name.startswith(start) for name in names):
            yield f"the wheel lacks {what}: nothing begins with {start}"
    tops = {name.split("/")[0] for name in names}
    info = {top for top in tops if top.endswith(".dist-info")}
    if tops - info != {"evomerge"} or len(info) != 1:
        yield f"the wheel installs {sorted(tops)}, and should install evomerge alone"
    yield from (f"the wheel holds {name}" for name in names if STRANGERS.search(name))


def sdist_complaints(names: list[str]) -> Iterator[str]:
    """Whatever is missing from an sdist, or does not belong into it."""
    inner = {name.partition("/")[2] for name in names}
    for needed in ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO"):
        if needed not in inner:
            yield f"the sdist lacks {needed}"
    yield from (f"the sdist holds {name}" for name in inner if STRANGERS.search(name))


def metadata_of(wheel: Path) -> Message:
    """The wheel's METADATA."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def metadata_complaints(found: Message) -> Iterator[str]:
    """Fields that an index wants and that are not there or not right."""
    yield from (f"the metadata lack {field}" for field in WANTED if not found[field])
    if found["Name"] != "evomerge":
        yield f"the name is {found['Name']}, not evomerge"
    if found["Description-Content-Type"] != "text/markdown" or not found.get_payload():
        yield "the metadata lack the README as their description"


def rebuilt(sdist: Path) -> tuple[str, set[str]]:
    """Version and names of the wheel that the sdist builds, where there is no git."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        build(folder, only(folder, "evomerge-*"), kinds=("wheel",))
        wheel = only(folder, "*.whl")
        return metadata_of(wheel)["Version"], set(zipfile.ZipFile(wheel).namelist())


def bill_of_materials(version: str) -> dict[str, Any]:
    """CycloneDX 1.6 (ECMA-424): evomerge and every package of the pinned set.

    The serial number is a hash of the content: the same set gives the same bill.
    """
    pins = [
        line.split("==") for line in PINNED.read_text(encoding="utf-8").splitlines() if "==" in line
    ]
    components = [component(name, pinned) for name, pinned in pins]
    root = {"type": "application", **identity("evomerge", version)}
    content = json.dumps([root, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": {**root, "licenses": [{"expression": "Apache-2.0"}]}},
        "components": components,
        "dependencies": [
            {"ref": root["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}
        ],
    }


def identity(name: str, version: str) -> dict[str, str]:
    """What names a package in a bill: also its package URL."""
    purl = f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{quote(version, safe='')}"
    return {"bom-ref": purl, "name": name, "version": version, "purl": purl}


def component(name: str, version: str) -> dict[str, Any]:
    """One package; with its licence where the installed one states it as SPDX does."""
    found: dict[str, Any] = {"type": "library", **identity(name, version)}
    try:
        licence = metadata(name).get("License-Expression")
    except PackageNotFoundError:
        licence = None
    return {**found, "licenses": [{"expression": licence}]} if licence else found


def main(arguments: list[str] | None = None) -> int:
    """Build, write the bill, look into everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="where it goes")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("evomerge-*")]:
        old.unlink()
    build(out)
    version = metadata_of(only(out, "*.whl"))["Version"]
    bill = out / f"evomerge-{version}.cdx.json"
    bill.write_text(json.dumps(bill_of_materials(version), indent=2) + "\n", encoding="utf-8")
    wrong = list(complaints(out))
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    for file in sorted(out.glob("evomerge-*")):
        print(f"{file.name}  {file.stat().st_size:,} bytes")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
