from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
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
    highest: dict[str, str] = {}
    for m in sorted(
        (m for m in names if m), key=lambda m: [int(n) for n in re.findall(r"\d+", m[2])]
    ):
        highest[CONDA_NAMES.get(m[1], m[1])] = m[2]
    return {name + bound for name, bound in highest.items()}


def test_environment_yml_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    # pip installs what conda-forge lacks or has under another name.
    left = ("browser", "docs", "ray")
    groups = {k: v for k, v in project["optional-dependencies"].items() if k not in left}
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
    groups = (extras[name] for name in ("plots", "explore", "browser", "docs", "ray", "dev"))
    for requirement in chain(project["dependencies"], *groups):
        name = re.split(r"[>=\[]", requirement)[0].lower()
        assert name in pinned or name == "dann_transfer", name
    assert "torch==2.13.0" in lines


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="runs in one process")
def test_workers_take_whole_files(request):
    assert request.node.nodeid.endswith("@test_package.py")


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
    # The processor's time, relative to the dependencies': a slow or busy machine slows both.
    clock = "print(time.process_time(), end=' ')"
    started, imported, done = map(
        float, run(f"import time; {clock}; import {before}; {clock}; {code}; {clock}").split()
    )
    print(f"{code}: {done - imported:.3f} s beyond {imported - started:.3f} s of {before}")
    assert done - imported < (imported - started) / 8


def test_what_the_package_promises_is_there():
    for name in dann_transfer.__all__:
        assert getattr(dann_transfer, name) is not None
    assert set(dir(dann_transfer)) == set(dann_transfer.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dann_transfer.nothing
    with pytest.raises(ModuleNotFoundError, match=r"dann_transfer\.nothing"):
        importlib.import_module("dann_transfer.nothing")
    assert (ROOT / "dann_transfer" / "py.typed").exists()


def test_the_api_page_has_every_public_name_and_no_other():
    page = "".join(file.read_text() for file in sorted((ROOT / "docs").glob("api*.md")))
    members = re.search(r"^::: dann_transfer\n.*?members: \[(.*?)\]", page, re.M | re.S)
    assert members
    objects = {name.strip() for name in members[1].split(",")}
    modules = set(re.findall(r"^::: dann_transfer\.(\w+)$", page, re.M))
    # Methods have a page of their own, and the version needs none.
    assert objects | modules | {"methods", "__version__"} == set(dann_transfer.__all__)


@pytest.mark.skipif(os.name != "posix", reason="it copies its process")
def test_each_public_name_can_be_imported_first():
    """In a process where nothing of the package was imported before."""
    names = sorted(set(dann_transfer.__all__) - {"__version__"})
    code = f"""
import os, ignite.engine, sklearn.model_selection, torch, transformers
for name in {names!r}:
    if os.fork():
        print(name if os.wait()[1] else "", end=" ")
        continue
    import dann_transfer
    os._exit(getattr(dann_transfer, name) is None)
"""
    assert run(code) == ""


@pytest.mark.parametrize("name", ["selection", "export"])
def test_a_module_that_lies_elsewhere_is_one_object_under_both_names(name):
    code = f"import dann_transfer.{name} as a; from dann_transfer import {name} as b"
    assert run(f"{code}; print(a is b, a.__spec__.name == a.__name__)") == "True True"


FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "dann_transfer").rglob("*.py")
}


def imports_of(file: Path) -> set[str]:
    """Return the modules of the package that a file imports anywhere, including for types."""
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dann_transfer"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                modules.add(inner if inner in FILES else node.module)
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names} & FILES.keys()
    return modules


IMPORTS = {name: imports_of(file) - {name, "dann_transfer"} for name, file in FILES.items()}
# The package's face re-exports names.
FACE = "dann_transfer"


def test_the_imports_have_no_circle():
    graph = {name: modules for name, modules in IMPORTS.items() if name != FACE}
    # `static_order` raises a CycleError that names the circle.
    assert set(TopologicalSorter(graph).static_order()) >= graph.keys()


# From the bottom to the top, as in CONTRIBUTING.md: a room imports only from rooms before it.
ROOMS = """
_version ground tracking knowledge texts datasets judging model training methods fitting advice
adapter serving evaluation records comparison search plots cli __main__
"""


def test_imports_run_one_way():
    rooms = ROOMS.split()
    for name, modules in IMPORTS.items():
        if name == FACE:
            continue
        room = rooms.index(name.split(".")[1])
        for other in modules:
            assert rooms.index(other.split(".")[1]) <= room, f"{name} imports {other}"


def code_lines(function: ast.FunctionDef, lines: list[str]) -> int:
    """Count a function's lines of code, without signature, docstring, comments and blank lines."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    if not body:
        return 0
    own = (line.strip() for line in lines[body[0].lineno - 1 : function.end_lineno])
    return sum(bool(line) and not line.startswith("#") for line in own)


def test_the_adapter_trains_nothing_itself():
    """No method of it is long, signature and docstring aside, and none but `fit` starts a run."""
    text = FILES["dann_transfer.adapter"].read_text()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            lines = code_lines(node, text.splitlines())
            assert lines <= 40 or node.name == "__init__", f"{node.name} has {lines} lines"
            if node.name != "fit":
                assert ".train(" not in ast.unparse(node), node.name


def test_nothing_outside_a_class_uses_its_private_names():
    private = re.compile(r"(?<!self)(?<!cls)(?<!super\(\))\.(_[a-z]\w*)\b(?!_)")
    allowed = {"_version", "_init_weights", "_foreach_div_", "_fields", "_asdict", "_replace"}
    for name in ("adapter", "comparison", "search", "evaluation"):
        text = FILES[f"dann_transfer.{name}"].read_text()
        found = set(private.findall(text)) - allowed - {"_take", "_is_clone", "_loaded_from"}
        assert not found, f"{name} uses {found}"


def test_functions_stay_short():
    benchmarks = {str(file): file for file in (ROOT / "benchmarks").rglob("*.py")}
    for name, file in (FILES | benchmarks).items():
        text = file.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = code_lines(node, text.splitlines())
                assert lines <= 60, f"{name}.{node.name} has {lines} lines of code"


def test_training_knows_no_method():
    """It holds neither names of methods nor words that only a method's class would use."""
    names = set(dann_transfer.methods.names()) - {"dann"}
    for name, file in FILES.items():
        if name.startswith("dann_transfer.training"):
            text = file.read_text()
            words = set(re.findall(r"[a-z_]+", text.lower()))
            assert not words & (names | {"extra_epochs", "uses_target", "min_epochs"}), name
            assert "dann_transfer.methods" not in text.replace("`dann_transfer.methods.Method`", "")


def test_the_registry_host_of_no_one_is_named():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    pattern = re.compile(r"(index-url|find-links)|https?://[^\s/]*pypi")
    for name in listed.stdout.split():
        file = ROOT / name
        if (
            file.is_file()
            and file.suffix in {".py", ".toml", ".yml", ".txt", ".md", ""}
            and file != Path(__file__)
        ):
            assert not pattern.search(file.read_text(errors="ignore")), name


BANNED = {"own", "made", "found", "of", "beside"}
"""Names that say how a thing came about or whose it is, and not what it is."""


def banned_names(code: str) -> set[str]:
    """Return the banned names of variables, parameters and attributes that code assigns."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.alias) and node.asname:
            names.add(node.asname)
    return names & BANNED


def test_variables_are_named_by_what_they_are():
    code = """
def f(own, *made, **found):
    self.beside = [of for of in x]
    with open(x) as (own, y): pass
    """
    assert banned_names(code) == BANNED
    # A method, and what is only read, may have such a name.
    assert not banned_names("class A:\n    def of(cls): return A.of(found, own=1)")
    named = {name: banned_names(file.read_text()) for name, file in FILES.items()}
    assert {name: words for name, words in named.items() if words} == {}
