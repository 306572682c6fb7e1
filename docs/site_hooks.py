"""Hooks of MkDocs: the search index as a script, which a page opened from a folder may load.

Browsers refuse to fetch a JSON file over file://, but run scripts that lie beside the page.
"""

from pathlib import Path
from typing import Any


def on_post_build(config: Any) -> None:
    """Write the search plugin's index again as `search/index.js`; what only its worker uses goes."""
    folder = Path(config["site_dir"]) / "search"
    index = (folder / "search_index.json").read_text(encoding="utf-8")
    (folder / "index.js").write_text(f"window.searchIndex = {index};\n", encoding="utf-8")
    unused = ["search_index.json", "worker.js", "main.js", "lunr.js"]
    for name in [*unused, "../sitemap.xml", "../sitemap.xml.gz"]:  # a map needs the site's address
        (folder / name).unlink(missing_ok=True)
