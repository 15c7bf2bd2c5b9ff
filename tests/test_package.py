from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml

import dann_transfer

ROOT = Path(__file__).parent.parent
CONDA_NAMES = {"torch": "pytorch"}


def bounds(requirements: list[str]) -> set[str]:
    names = (
        re.match(r"([\w-]+)(.*)", r) for r in requirements if not r.startswith("dann_transfer")
    )
    return {CONDA_NAMES.get(m[1], m[1]) + m[2] for m in names if m}


def test_environment_yml_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # What conda-forge has not is left to pip.
    groups = {k: v for k, v in project["optional-dependencies"].items() if k != "browser"}
    extras = [r for group in groups.values() for r in group]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = {d for d in environment["dependencies"] if isinstance(d, str) and d != "pip"}
    expected = bounds(project["dependencies"] + extras) | {"python" + project["requires-python"]}
    assert conda == expected


def test_constraints_pin_every_direct_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = project["optional-dependencies"]
    groups = (extras[name] for name in ("plots", "explore", "browser", "dev"))
    for requirement in chain(project["dependencies"], *groups):
        name = re.split(r"[>=\[]", requirement)[0].lower()
        assert name in pinned or name == "dann_transfer", name
    assert "torch==2.13.0" in lines


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code", ["import dann_transfer", "from dann_transfer import DomainAdapter, datasets, methods"]
)
def test_import_is_light(code):
    heavy = ["umap", "matplotlib", "ignite", "numba"]
    if code == "import dann_transfer":
        heavy += ["torch", "transformers", "sklearn"]
    loaded = run(f"{code}; import sys; print([m for m in {heavy} if m in sys.modules])")
    assert loaded == "[]"


@pytest.mark.parametrize(
    ("before", "code"),
    [
        ("torch, transformers", "import dann_transfer"),
        # scikit-learn, whose estimator this is, takes most of a second by itself.
        ("torch, transformers, sklearn.model_selection", "from dann_transfer import DomainAdapter"),
    ],
)
def test_import_time_is_that_of_its_dependencies(before, code):
    timed = (
        f"import {before}, time; t = time.perf_counter(); {code}; print(time.perf_counter() - t)"
    )
    seconds = min(float(run(timed)) for _ in range(2))
    print(f"{code}: {seconds:.3f} s beyond {before}")
    assert seconds < 0.3


def test_what_the_package_promises_is_there():
    for name in dann_transfer.__all__:
        assert getattr(dann_transfer, name) is not None
    assert set(dir(dann_transfer)) == set(dann_transfer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dann_transfer.nothing
    assert (ROOT / "dann_transfer" / "py.typed").exists()


# Top to bottom as in CONTRIBUTING.md: a file imports only what stands above it.
LAYERS = """
_version data sampling schedules batches encoder caching settings optimization heads methods inputs
checkpoints engine diagnostics selection label_shift adapter saving comparison displays scores maps
alignment animations plots explore reports datasets cli
"""


def test_imports_point_one_way():
    """What a module imports as it loads stands above it in the list."""
    order = LAYERS.split()
    for file in (ROOT / "dann_transfer").rglob("*.py"):
        name = "methods" if file.parent.name == "methods" else file.stem
        if name == "__init__":
            continue
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dann_transfer"):
                parts = node.module.split(".")
                for other in parts[1:2] or [alias.name for alias in node.names]:
                    assert order.index(other) <= order.index(name), f"{name} imports {other}"


def test_files_stay_short():
    """Docstrings apart, because a well-explained keyword is no reason to split a class."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for file in (ROOT / "dann_transfer").rglob("*.py"):
        text = file.read_text()
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, documented)]
        explained = sum(len((ast.get_docstring(node) or "").splitlines()) for node in nodes)
        lines = len(text.splitlines()) - explained
        assert lines <= 330, f"{file.name} has {lines} lines"


def test_the_registry_host_of_no_one_is_named():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    pattern = re.compile(r"(index-url|find-links)|https?://[^\s/]*pypi")
    for name in listed.stdout.split():
        file = ROOT / name
        if file.suffix in {".py", ".toml", ".yml", ".txt", ".md", ""} and file != Path(__file__):
            assert not pattern.search(file.read_text(errors="ignore")), name
