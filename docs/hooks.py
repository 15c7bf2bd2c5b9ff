"""What mkdocs does beside building: it gives the figures of notebooks their alternative texts."""

from __future__ import annotations

import re
from html import escape
from typing import Any

import nbformat
from mkdocs.exceptions import PluginError

NONE = 'alt="No description has been provided for this image"'
"""What nbconvert writes there."""


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Write the text that a cell's metadata has under "alt" into the figures that it drew."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    cells = nbformat.read(page.file.abs_src_path, as_version=4).cells
    texts = [
        cell.metadata.get("alt", "")
        for cell in cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if html.count(NONE) != len(texts):
        raise PluginError(
            f"{page.file.src_uri}: {html.count(NONE)} figures on the page, {len(texts)} in cells."
        )
    left = iter(texts)
    return re.sub(NONE, lambda _: f'alt="{escape(next(left))}"', html)
