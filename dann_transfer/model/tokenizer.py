"""The tokenizer in an encoder's folder, read as its file has it, and the ids of probe texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dann_transfer.ground.notices import warn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBES = (
    "The film wasn't good, was it?",
    "  two  spaces,\ta tab\nand a line \r\n",
    "CAFÉ naïve Ångström ﬁne １２３ ½ e\u0301 … “quoted” – l’été",
    "U.S.A. e-mail: a@b.org https://example.org/x?y=1#z 3.14 1,000 50% $5 2026-11-30",
    "#tag @user :) :-( (+) (-) <br /> &amp; [url] {x} ++ -- !!! ???",
    "数学 カタカナ 한국어 привет мир مرحبا हिन्दी ไทย",
    "😀 👍🏽 ❤️ zero\u200bwidth soft\u00adhyphen no\u00a0break \ufeff\x00",
    "[CLS] [SEP] [MASK] <s> </s> <unk> <|endoftext|>",
    "Donaudampfschifffahrtsgesellschaft antidisestablishmentarianism aaaaaaaaaaaaaaaaaaaaaaa",
)
"""Texts with what tokenizers treat differently: case, accents, widths, scripts, signs, spaces."""
_KEPT = ("padding_side", "truncation_side", "model_max_length", "model_input_names")
"""What the class of an architecture may set, and tokenizer.json does not hold."""
_DECISIVE = ("trust_remote_code", "TokenizersBackend")
"""Words of errors that no other reading mends: code that is not run, a later transformers."""
_SAMPLE = 64
"""How many tokens of the vocabulary make up one more probe text."""


def read_tokenizer(name: str, options: dict[str, Any]) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a folder or hub model as its tokenizer.json has it.

    transformers 5 builds the tokenizers of many architectures anew from the vocabulary alone, and
    leaves out the normaliser and pre-tokeniser of the file.

    Parameters
    ----------
    name : str
    options : dict
        Keywords of ``from_pretrained``.

    Warns
    -----
    UserWarning
        If ``AutoTokenizer`` reads texts otherwise than the file says.

    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    file = part_of(name, "tokenizer.json", options)
    try:
        usual = AutoTokenizer.from_pretrained(name, **options)
    except Exception as error:  # the classes raise whatever their own parts raise
        # The class of an architecture may be unable to read a file that needs no class.
        if file is None or any(word in str(error) for word in _DECISIVE):
            raise
        tokenizer = PreTrainedTokenizerFast.from_pretrained(name, **options)
        _take_rules(tokenizer, file)
        return tokenizer
    if file is None:
        return _with_character_map(usual)
    kind = type(usual)
    # A repository's code decides for itself what it reads.
    if kind is PreTrainedTokenizerFast or kind.__module__.partition(".")[0] != "transformers":
        return usual
    settings = {key: getattr(usual, key) for key in _KEPT}
    tokenizer = PreTrainedTokenizerFast.from_pretrained(name, **options, **settings)
    _take_rules(tokenizer, file)
    vocabulary = tokenizer.get_vocab()
    # Older folders leave the special tokens to the class of their architecture.
    tokenizer.add_special_tokens(
        {
            role: token
            for role, token in usual.special_tokens_map.items()
            if isinstance(token, str)
            and getattr(tokenizer, role, None) is None
            and token in vocabulary
        }
    )
    _compare(name, tokenizer, usual)
    return tokenizer


def _take_rules(tokenizer: Any, file: Path) -> None:
    """Give a tokenizer the rules of its file, some of which transformers 4 sets by itself."""
    from tokenizers import Tokenizer

    rules, backend = Tokenizer.from_file(str(file)), tokenizer.backend_tokenizer
    for part in ("normalizer", "pre_tokenizer"):
        # Taking one away is not possible in all releases, nor does any loader put one there.
        if getattr(rules, part) is not None:
            setattr(backend, part, getattr(rules, part))


def _compare(name: str, tokenizer: Any, usual: Any) -> None:
    from transformers import __version__

    texts = probe_texts(tokenizer)
    for text, ids, others in zip(
        texts, probe_ids(tokenizer, texts), probe_ids(usual, texts), strict=True
    ):
        if ids != others:
            warn(
                f"encoder {name!r} is used with the rules in its tokenizer.json. AutoTokenizer of "
                f"transformers {__version__} reads texts otherwise: of {_short(text)} it makes "
                f"{_short(others)}, not {_short(ids)}.",
                UserWarning,
            )
            return


def _with_character_map(tokenizer: Any) -> Any:
    """Give a tokenizer built from a sentencepiece model that model's own character map.

    transformers 5 leaves it out for some architectures, such as DeBERTa-v2.
    """
    file = str(getattr(tokenizer, "vocab_file", None) or "")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not is_sentencepiece(Path(file)):
        return tokenizer
    from tokenizers import normalizers
    from transformers.convert_slow_tokenizer import import_protobuf

    model = import_protobuf().ModelProto()
    model.ParseFromString(Path(file).read_bytes())
    table = model.normalizer_spec.precompiled_charsmap
    rules = backend.normalizer
    if table and '"Precompiled"' not in _state(rules):
        table = normalizers.Precompiled(table)
        backend.normalizer = table if rules is None else normalizers.Sequence([table, rules])
    return tokenizer


def is_sentencepiece(file: Path) -> bool:
    """Return whether a file is a sentencepiece model rather than a table of tiktoken's."""
    if file.suffix != ".model" or not file.is_file():
        return False
    with file.open("rb") as handle:
        # The first field of the model, a list of pieces.
        return handle.read(1) == b"\n"


def part_of(name: str, part: str, options: dict[str, Any]) -> Path | None:
    """Return a file of a folder or hub model, or None if it has none of that name."""
    if Path(name).is_dir():
        file = Path(name, part)
        return file if file.is_file() else None
    from transformers.utils import cached_file

    # A name that the hub does not know, or no way to it: loading the encoder says so.
    with suppress(OSError):
        file = cached_file(
            name,
            part,
            local_files_only=options["local_files_only"],
            _raise_exceptions_for_gated_repo=False,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return None if file is None else Path(file)
    return None


def probe_texts(tokenizer: Any) -> list[str]:
    """Return texts that show what a tokenizer does: `PROBES`, and its own rules and tokens."""
    ordered = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    step = max(1, len(ordered) // _SAMPLE)
    texts = [*PROBES, " ".join(token for token, _ in ordered[::step][:_SAMPLE])]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return texts
    rules = [json.loads(_state(part)) for part in (backend.normalizer, backend.pre_tokenizer)]
    # The shortest first, for the error.
    return [f"the {pattern} film" for pattern in [*_patterns(rules)][:_SAMPLE]] + texts


def _state(rules: Any) -> str:
    return "null" if rules is None else bytes(rules.__getstate__()).decode()


def _patterns(rules: Any) -> Iterator[str]:
    """Yield the literal strings that rules look for, at any depth."""
    values: Iterable[Any] = ()
    if isinstance(rules, dict):
        if isinstance(rules.get("String"), str):
            yield rules["String"]
        values = rules.values()
    elif isinstance(rules, list):
        values = rules
    for value in values:
        yield from _patterns(value)


def probe_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids that a tokenizer gives texts."""
    rows = tokenizer(list(texts), verbose=False, return_attention_mask=False)["input_ids"]
    return [[int(token) for token in row] for row in rows]


def record(tokenizer: Any) -> dict[str, Any]:
    """Return probe texts, their ids and the versions that gave them, in a form for JSON."""
    texts = probe_texts(tokenizer)
    return {"versions": _versions(), "texts": texts, "ids": probe_ids(tokenizer, texts)}


def check_record(record: dict[str, Any], tokenizer: Any, place: str) -> None:
    """Raise a ValueError if a tokenizer gives other ids than when a model was saved.

    Parameters
    ----------
    record : dict
        As `record` returned it.
    tokenizer : PreTrainedTokenizerBase
    place : str
        The model's folder, for the error.

    """
    texts = [str(text) for text in record["texts"]]
    if len(texts) != len(record["ids"]):
        raise ValueError(f"{place!r} is damaged: its probe texts have other ids; save it again.")
    for text, ids, saved in zip(texts, probe_ids(tokenizer, texts), record["ids"], strict=True):
        if ids != saved:
            raise ValueError(
                f"{place!r} was saved with {_said(record['versions'])}, and its tokenizer gives "
                f"other ids with {_said(_versions())}: of {_short(text)} it makes {_short(ids)}, "
                f"not {_short(saved)}. Install the versions that it was saved with, or train again."
            )


def _versions() -> dict[str, str]:
    import tokenizers
    import transformers

    return {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}


def _said(versions: dict[str, str]) -> str:
    return " and ".join(f"{name} {version}" for name, version in versions.items())


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]} ..."
