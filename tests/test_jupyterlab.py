"""JupyterLab in a real browser runs the quickstart from top to bottom and shows its picture."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

TUTORIALS = Path(__file__).parents[1] / "tutorials"
NAME = "01_quickstart.ipynb"
TOKEN = "for-this-test-alone"


@pytest.fixture
def lab(tmp_path, minilm):
    """Serve a copy of the quickstart without outputs; the address that opens it."""
    pytest.importorskip("jupyterlab")
    folder = tmp_path / "notebooks"
    (folder / "images").mkdir(parents=True)
    shutil.copy(TUTORIALS / "images" / "01_quickstart.png", folder / "images")
    notebook = nbformat.read(TUTORIALS / NAME, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / NAME)
    # All cells stay in the page, also those that are scrolled away.
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    env = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    log = (tmp_path / "lab.log").open("w+")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    try:
        for _ in range(120):
            time.sleep(0.5)
            found = re.search(r"http://127\.0\.0\.1:(\d+)/lab", Path(log.name).read_text())
            if found:
                break
        assert found, Path(log.name).read_text()
        base = f"http://127.0.0.1:{found[1]}"
        with urllib.request.urlopen(f"{base}/api/status?token={TOKEN}") as answer:
            assert answer.status == 200
        yield f"{base}/lab/tree/{NAME}?token={TOKEN}", folder / NAME
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def test_the_quickstart_runs_in_jupyterlab(browser, lab):
    address, path = lab
    page, errors, _ = browser(address, 1200, 900)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells").first.click()
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    # The last cell, the claims, is numbered once it has run; an error would have stopped the run.
    page.wait_for_function(
        "n => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
        ".some(e => e.textContent === `[${n}]:`)",
        arg=len(code),
        timeout=400_000,
    )
    assert (
        page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.error']").count() == 0
    )
    sizes = page.locator(".jp-OutputArea img").evaluate_all("all => all.map(i => i.naturalWidth)")
    assert len(sizes) == 2
    assert min(sizes) > 400
    assert not [e for e in errors if "Traceback" in e]
