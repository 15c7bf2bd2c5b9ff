"""The code in README.md and CONTRIBUTING.md does what they say."""

from __future__ import annotations

import pkgutil
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import make_tiny_encoder, toy_texts

import dann_transfer
from dann_transfer import Domain, datasets, methods, plots

ROOT = Path(__file__).parent.parent


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), flags=re.S)


def test_the_method_of_contributing_works(tiny, source, target):
    (code,) = blocks("CONTRIBUTING.md")
    assert len(code.splitlines()) <= 25
    names: dict = {"__name__": "shown"}
    # Registered permanently, it would interfere with tests that cover every registered method.
    head, _, rest = code.partition('@register("mean_distance")\n')
    assert rest
    exec(head + rest, names)
    with methods.registered("mean_distance", names["MeanDistance"]):
        adapter = tiny(method="mean_distance", max_strength=1.0, epochs=6)
        adapter.fit(*source, X_target=target)
    gaps = [row["gap"] for row in adapter.history_]
    assert gaps[-1] < 0.5 * max(gaps)
    assert "distance_loss" in adapter.history_[0]


def test_files_that_the_prose_names_are_there():
    pages = ("*.md", "docs/*.md", "tutorials/*.md", "tutorials/*.ipynb", "dann_transfer/**/*.py")
    text = "".join(page.read_text() for pattern in pages for page in ROOT.glob(pattern))
    folders = "benchmarks|dann_transfer|docs|tests|tutorials"
    named = set(re.findall(rf"\b(?:{folders})/[\w./-]+\.(?:py|md|jsonl|ipynb|png|gif)\b", text))
    assert len(named) > 30
    assert not sorted(name for name in named if not (ROOT / name).exists())


def test_names_on_the_pages_of_the_api_exist():
    """The site would be built without a word about a name that is not there."""
    pages = [*(ROOT / "docs").glob("api*.md"), ROOT / "docs" / "methods.md"]
    text = "".join(page.read_text() for page in pages)
    shown = set()
    for block in text.split("::: ")[1:]:
        place = block.split()[0]
        thing = pkgutil.resolve_name(place)
        (members,) = re.findall(r"^      members: \[(.*)\]$", block, flags=re.M) or [""]
        for name in filter(None, members.split(", ")):
            assert hasattr(thing, name), (place, name)
            shown.add(name)
        shown.add(place.rpartition(".")[2])
    assert set(dann_transfer.__all__) - shown == {"__version__"}
    # The site takes a function for the file of the same name, unless it is asked for on its own.
    files = {file.name for file in pkgutil.iter_modules(plots.__path__)}
    assert files & set(plots.__all__) <= shown


@pytest.mark.filterwarnings("ignore::dann_transfer.judging.diagnostics.CollapseWarning")
def test_the_first_example_of_the_readme_works_as_it_stands(tmp_path, monkeypatch):
    """With toy texts in place of the real ones, and a tiny encoder of the default length."""
    monkeypatch.chdir(tmp_path)
    domains = {
        "movies": Domain(*toy_texts(600, "film plot actor scene the", 0)),
        "tweets": Domain(*toy_texts(600, "tweet lol omg today friend", 1)),
    }
    encoder = make_tiny_encoder(tmp_path / "encoder", max_position_embeddings=256)
    tokenizer = Path(encoder) / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text().replace("64", "256"))
    monkeypatch.setattr(datasets, "load", {"sentiment": domains}.__getitem__)
    monkeypatch.setattr(datasets, "encoder", {"minilm": encoder}.__getitem__)
    names = {}
    exec(blocks("README.md")[0], names)
    assert (tmp_path / "model" / "adapter.json").is_file()
    assert len(names["adapter"].predict(names["new_texts"])) == len(names["new_texts"]) > 100


def test_the_citations_name_this_release():
    entry = re.search(r"```bibtex\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert entry
    facts = dict(re.findall(r"(\w+) = \{+(.*?)\}+,?$", entry[1].replace("\\_", "_"), flags=re.M))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert facts["version"] == citation["version"] == dann_transfer.__version__
    assert facts["title"] == citation["title"]
    assert facts["author"] == citation["authors"][0]["name"]


def test_the_readme_lists_every_extra():
    text = (ROOT / "README.md").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    # A browser is for the tests alone.
    assert [name for name in extras if f"`{name}`" not in text and f"[{name}]" not in text] == [
        "browser"
    ]


def test_the_demo_sets_up_no_tools_of_development():
    rules = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo: \$\(DEMO\)$", rules, flags=re.M)
    assert re.search(r"^DEMO = \$\(VENV\)/\.explore-installed$", rules, flags=re.M)
    assert re.search(r"^\$\(DEV\) \$\(DEMO\): .*: pyproject.toml constraints.txt$", rules, re.M)


def test_lines_of_code_fit_on_the_site():
    """At a width of 1280 pixels."""
    pages = {page.name: page.read_text() for page in (ROOT / "docs").glob("*.md")}
    pages["adding-a-method.md"] = (ROOT / "CONTRIBUTING.md").read_text().split(":add] -->")[1]
    for name, text in pages.items():
        for block in re.findall(r"```\w+\n(.*?)```", text, flags=re.S):
            assert max(map(len, block.splitlines())) <= 88, (name, block)


def test_the_site_fetches_nothing_from_elsewhere():
    """Without its script for files, the search plugin's companion fetches one from a server."""
    config = (ROOT / "mkdocs.yml").read_text()
    scripts = re.findall(r"polyfills: \[(.*)\]", config)
    assert scripts
    assert "iframe-worker" in scripts[0]
    folder = (ROOT / "docs" / scripts[0]).parent
    assert "window.Worker=" in (ROOT / "docs" / scripts[0]).read_text()
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text()
    assert "font: false" in config
    assert "//" not in "".join(line for line in config.splitlines() if "#" not in line)


def test_every_page_and_notebook_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    pages |= {f"tutorials/{path.name}" for path in (ROOT / "tutorials").glob("*.ipynb")}
    assert not [page for page in pages if not re.search(rf"[ :-] {re.escape(page)}$", menu, re.M)]


def test_the_page_of_other_tools_names_the_versions_that_are_tested():
    pins = (ROOT / "tests" / "interop" / "requirements.txt").read_text()
    rows = (ROOT / "docs" / "with-other-tools.md").read_text()
    # Packages that only these need are below the line with "need".
    tested = set(re.findall(r"^([\w-]+)==(.+)$", pins.split("# What these need")[0], flags=re.M))
    assert tested == set(re.findall(r"^\| ([\w-]+) (\d\S+) \|", rows, flags=re.M))
