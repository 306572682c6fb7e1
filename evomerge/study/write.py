"""The files that a study leaves in its folder: the page, the tables in Markdown, and everything as JSON."""

import json
from pathlib import Path

from evomerge.calibration.files import write_whole
from evomerge.errors import ResourceError
from evomerge.study.content import study_content
from evomerge.study.page import render
from evomerge.study.run import StudyResult
from evomerge.study.tables import Tables
from evomerge.study.words import markdown

PAGE, TABLES, DATA = "report.html", "report.md", "report.json"


def write_reports(result: StudyResult, tables: Tables, folder: Path) -> Path:
    """Write all three, in place of older ones; the page's path. Raises ResourceError."""
    content = json.dumps(study_content(result, tables), indent=2, ensure_ascii=False) + "\n"
    written = {
        PAGE: render(result, tables),
        TABLES: f"# {result.spec.name}\n\n{markdown(tables)}",
        DATA: content,
    }
    try:
        for name, text in written.items():
            write_whole(folder / name, text.encode())
    except OSError as error:
        raise ResourceError(
            f"cannot be written ({error.strerror})",
            where=str(folder),
            remedy="choose another --out",
        ) from error
    return folder / PAGE
