"""Every tutorial runs from top to bottom and gives its committed outputs."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest
from conftest import CHROMIUM
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
IN_THE_BROWSER = ("01_quickstart", "03_is_it_aligned")
# Numbers of a fresh run may differ from the committed ones by a tenth or by this much.
SLACK = 0.1
SECONDS = 1500  # per cell, when two notebooks share two cores


def numbers(notebook: nbformat.NotebookNode) -> list[float]:
    """Return all numbers that cells printed, in order."""
    printed = [
        output["text"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    ]
    return [float(x) for text in printed for x in re.findall(r"[-+]?\d+(?:\.\d+)?", text)]


def pictures(notebook: nbformat.NotebookNode) -> int:
    """Count the pictures that cells drew."""
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def check_it_says_the_same(fresh: nbformat.NotebookNode, committed: nbformat.NotebookNode) -> None:
    """Compare what a run printed and drew with what is committed."""
    assert pictures(fresh) == pictures(committed) > 0
    said, before = numbers(fresh), numbers(committed)
    assert len(said) == len(before) > 0
    for now, then in zip(said, before, strict=True):
        # Percentages move by a few points where rounding differs from machine to machine.
        assert now == pytest.approx(then, rel=0.1, abs=3 if abs(then) > 2 else SLACK)


def test_there_are_tutorials():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{i:02}" for i in range(15)]
    table = (FOLDER / "README.md").read_text()
    for path in NOTEBOOKS:
        assert f"({path.name})" in table
        assert f"images/{path.stem}.png" in table


@pytest.mark.tutorials
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_says_the_same(path, tmp_path, monkeypatch):
    if path.stem in IN_THE_BROWSER and Path(CHROMIUM).exists():
        pytest.skip("test_jupyterlab.py runs it")
    committed = nbformat.read(path, as_version=4)
    if any("DANN_TRANSFER_DATA" in cell.source for cell in committed.cells):
        where = Path(os.environ.get("DANN_TRANSFER_DATA", FOLDER.parent / "../shared/data"))
        if not where.is_dir():
            pytest.skip(f"no benchmark data in {where}; set DANN_TRANSFER_DATA")
        monkeypatch.setenv("DANN_TRANSFER_DATA", str(where.resolve()))
    # With MPLBACKEND set, the kernel draws nothing into the notebook.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    (tmp_path / "images").mkdir()
    fresh = NotebookClient(
        nbformat.read(path, as_version=4),
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    check_it_says_the_same(fresh, committed)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_keeps_to_the_form(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = [len(cell.source.splitlines()) for cell in code]
    assert max(lines) <= 15
    assert median(lines) <= 3
    assert not [o for cell in code for o in cell.outputs if o.get("name") == "stderr"]
    assert all(cell.execution_count for cell in code), "outputs are committed"
    # Alternative texts for readers who cannot see the figures; images in Markdown have their own.
    drawn = [c for c in code if any("image/png" in o.get("data", {}) for o in c.outputs)]
    assert all(len(cell.metadata.get("alt", "")) > 40 for cell in drawn)
    claims = [cell for cell in code if "claims" in cell.metadata.get("tags", [])]
    assert claims
    assert all("assert " in cell.source for cell in claims)
    # Before code that does more than import, words say what it is for.
    words = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "markdown"]
    assert not [n for c in notebook.cells[: words[1]] if c.cell_type == "code"
                for n in ast.parse(c.source).body
                if isinstance(n, ast.Assign | ast.FunctionDef | ast.For)]  # fmt: skip
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert text.count("<summary>Solution</summary>") == 3
    questions = text.split("## Five questions")[1]
    assert len(re.findall(r"^\d\. .*\?$", questions, re.M)) == 5
    # The picture that answers the question is in the first cell, and the notebook draws it.
    pictures = re.findall(r"!\[.+\]\((images/[\w.]+)\)", notebook.cells[0].source)
    assert pictures
    assert all((FOLDER / picture).is_file() for picture in pictures)
    assert any(pictures[0] in cell.source for cell in code)
