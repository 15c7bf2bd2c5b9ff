"""JupyterLab in a real browser runs two tutorials from top to bottom and shows their pictures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from test_tutorials import FOLDER, IN_THE_BROWSER, check_it_says_the_same, pictures

TOKEN = "for-this-test-alone"


@pytest.fixture
def lab(request, tmp_path, minilm):
    """Serve a copy of a tutorial without outputs; give the address that opens it, and the copy."""
    pytest.importorskip("jupyterlab")
    folder = tmp_path / "notebooks"
    (folder / "images").mkdir(parents=True)
    name = f"{request.param}.ipynb"
    shutil.copy(FOLDER / "images" / f"{request.param}.png", folder / "images")
    notebook = nbformat.read(FOLDER / name, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / name)
    # All cells stay in the page, including those that are scrolled out of view.
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    env = os.environ | {
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
    }
    # With MPLBACKEND set, the kernel draws nothing into the page.
    env.pop("MPLBACKEND", None)
    log = (tmp_path / "lab.log").open("w+")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    command += [f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"]
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    try:
        found = None
        for _ in range(120):
            time.sleep(0.5)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/lab", Path(log.name).read_text()):
                break
        assert found, Path(log.name).read_text()
        yield f"http://127.0.0.1:{found[1]}/lab/tree/{name}?token={TOKEN}", folder / name
    finally:
        server.terminate()
        server.wait(30)
        log.close()


@pytest.mark.tutorials
@pytest.mark.parametrize("lab", IN_THE_BROWSER, indirect=True)
def test_a_tutorial_runs_in_jupyterlab(browser, lab):
    address, path = lab
    page, errors, _ = browser(address, 1200, 900)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.get_by_text("| Idle").wait_for(timeout=60_000)

    def choose(menu: str, item: str) -> None:
        page.get_by_role("menuitem", name=menu, exact=True).click()
        page.get_by_role("menuitem", name=item).first.click()

    # The source of the claims is collapsed, and a collapsed cell has no prompt with its number.
    choose("View", "Expand All Code")
    choose("Run", "Run All Cells")
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    # An error stops the run, and then the claims, which come last, get no number.
    page.wait_for_function(
        """n => document.querySelector("[data-mime-type='application/vnd.jupyter.error']") ||
             [...document.querySelectorAll(".jp-CodeCell .jp-InputPrompt")]
               .some(e => e.textContent === `[${n}]:`)""",
        arg=len(code),
        # It takes four minutes alone, and twice that beside another notebook on slow cores.
        timeout=900_000,
        # The default, every frame, would redraw the page without pause during the training.
        polling=1000,
    )
    failed = page.locator("[data-mime-type='application/vnd.jupyter.error']")
    assert failed.count() == 0, failed.all_inner_texts()
    drawn = page.locator(".jp-OutputArea img")
    sizes = drawn.evaluate_all("all => all.map(i => [i.naturalWidth, i.clientWidth])")
    committed = nbformat.read(FOLDER / path.name, as_version=4)
    assert len(sizes) == pictures(committed)
    assert min(min(size) for size in sizes) > 400
    choose("File", "Save Notebook")
    page.wait_for_function("() => !document.querySelector('.jp-mod-dirty')", timeout=30_000)
    check_it_says_the_same(nbformat.read(path, as_version=4), committed)
    assert not [e for e in errors if "Traceback" in e]
