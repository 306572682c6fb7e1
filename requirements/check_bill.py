"""Checks a bill of materials against the official CycloneDX schema: `make bill`.

The schema comes with cyclonedx-python-lib, which is installed in an environment of its own
(requirements/bill.txt): it would change versions of the pinned set. Package URLs have to be in their
canonical form as well, or scanners look for packages that there are not.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL


def complaints(file: Path) -> Iterator[str]:
    """What is wrong with a bill; nothing where all is well."""
    text = file.read_text(encoding="utf-8")
    bill = json.loads(text)
    validator = JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"]))
    error = validator.validate_str(text)
    if error is not None:
        yield f"not as the schema has it: {error!r}"
    for part in [bill["metadata"]["component"], *bill["components"]]:
        canonical = PackageURL.from_string(part["purl"]).to_string()
        if canonical != part["purl"]:
            yield f"{part['purl']} is written {canonical}"


def main() -> int:
    """Check the files that are named."""
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        raise SystemExit("name a bill: dist/evomerge-VERSION.cdx.json")
    wrong = [f"{file}: {line}" for file in files for line in complaints(file)]
    print("\n".join(wrong) or f"{len(files)} as CycloneDX's schema has it", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
