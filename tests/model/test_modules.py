"""What sentence-transformers keeps beside an encoder is read, written, or said to be left out."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import nn

from dann_transfer import DomainAdapter
from dann_transfer.model import loading
from dann_transfer.model.encoder import Encoder

OLD, NEW = "sentence_transformers.models.", "sentence_transformers.base.modules.some."


@pytest.fixture
def folder(tiny_encoder, tmp_path) -> Path:
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def declare(folder: Path, pooling: dict[str, object], *more: str, package: str = OLD) -> None:
    """Write a list of modules: the encoder, its pooling and others."""
    kinds = ["Transformer", "Pooling", *more]
    paths = ["", *(f"{i + 1}_{kind}" for i, kind in enumerate(kinds[1:]))]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": package + kind}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


@pytest.mark.parametrize("package", [OLD, NEW])
@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": True}, "cls"),
        ({"embedding_dimension": 32, "pooling_mode": "lasttoken"}, "last"),
        ({"word_embedding_dimension": 32}, "mean"),
    ],
)
def test_a_declared_pooling_is_used(config, pooling, package, folder):
    declare(folder, config, package=package)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Encoder.from_pretrained(folder).pooling == pooling
        assert Encoder.from_pretrained(folder, pooling).pooling == pooling


def test_another_pooling_than_the_declared_one_is_said_once(folder):
    declare(folder, {"pooling_mode_cls_token": True})
    with pytest.warns(UserWarning, match="pooling='mean' is used, but .* declares 'cls'") as said:
        assert Encoder.from_pretrained(folder, "mean").pooling == "mean"
    assert len(said) == 1


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len"),
        ({"pooling_mode": ["cls", "mean"]}, r"cls\+mean"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
    ],
)
def test_a_pooling_that_this_package_lacks_is_said(config, name, folder):
    declare(folder, config)
    with pytest.warns(UserWarning, match=f"not its pooling '{name}', which this package"):
        assert Encoder.from_pretrained(folder).pooling == "mean"


def test_modules_and_prompts_that_are_left_out_are_said_once(folder):
    declare(folder, {"pooling_mode": "mean"}, "Dense", "Normalize", "Dropout")
    prompts = {"prompts": {"query": "query: ", "document": ""}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    words = "not its Dense module, nor its Normalize module, nor its prompts, such as 'query: '"
    with pytest.warns(UserWarning, match=words) as said:
        Encoder.from_pretrained(folder)
    assert len(said) == 1


def test_empty_prompts_are_no_news(folder):
    declare(folder, {"pooling_mode": "mean"})
    prompts = {"prompts": {"query": "", "document": ""}}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize(
    "kind", ["StaticEmbedding", "Router", "Asym", "WordEmbeddings", "BoW", "CLIPModel"]
)
def test_a_model_without_one_encoder_is_refused_by_name(kind, folder):
    modules = [{"idx": 0, "name": "0", "path": "", "type": f"{OLD}{kind}"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "config.json").unlink()
    with pytest.raises(ValueError, match=rf"holds .* \({kind}\); pass an encoder such as BERT"):
        Encoder.from_pretrained(folder)


def test_model2vec_and_a_router_are_refused_by_their_files(folder):
    (folder / "router_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"several encoders behind a router \(Router\)"):
        Encoder.from_pretrained(folder)
    (folder / "router_config.json").unlink()
    for config in ({"model_type": "model2vec"}, {"architectures": ["StaticModel"]}):
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=r"static embeddings, without an encoder"):
            Encoder.from_pretrained(folder)


@pytest.mark.parametrize("listed", [True, False])
def test_the_older_layout(listed, tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "0_Transformer")
    declare(tmp_path, {"pooling_mode_cls_token": True})
    modules = json.loads((tmp_path / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (tmp_path / "modules.json").write_text(json.dumps(modules if listed else []))
    encoder = Encoder.from_pretrained(tmp_path)
    assert encoder.pooling == ("cls" if listed else "mean")
    assert encoder.origin[0] == str(tmp_path / "0_Transformer")


def test_no_encoder_is_read_from_outside_the_folder(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "outside")
    (tmp_path / "inside").mkdir()
    modules = [{"idx": 0, "name": "0", "path": "../outside", "type": f"{OLD}Transformer"}]
    (tmp_path / "inside" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match=r"has no config\.json"):
        Encoder.from_pretrained(tmp_path / "inside")


@pytest.mark.parametrize("content", ["{", "[" * 100_000])
def test_a_damaged_list_is_an_error(content, folder):
    (folder / "modules.json").write_text(content)
    with pytest.raises(ValueError, match=r"modules\.json' is damaged"):
        Encoder.from_pretrained(folder)


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler", "last"])
def test_a_saved_folder_says_what_it_was_trained_with(pooling, tiny, source, target, tmp_path):
    adapter = tiny(pooling=pooling, max_length=16, epochs=1).fit(*source, X_target=target)
    adapter.save_pretrained(tmp_path / "m")
    length = json.loads((tmp_path / "m" / "sentence_bert_config.json").read_text())
    assert length == {"max_seq_length": 16, "do_lower_case": False}
    mode = json.loads((tmp_path / "m" / "1_Pooling" / "config.json").read_text())
    assert mode.pop("word_embedding_dimension") == 32
    theirs = {"mean": "mean_tokens", "last": "lasttoken"}.get(pooling, "cls_token")
    assert [key for key, value in mode.items() if value] == [f"pooling_mode_{theirs}"]
    if pooling == "pooler":
        weights = load_file(tmp_path / "m" / "2_Pooler" / "model.safetensors")
        dense = adapter.encoder_.model.pooler.dense
        assert np.array_equal(weights["linear.weight"], dense.weight.detach())
        assert np.array_equal(weights["linear.bias"], dense.bias.detach())
    # The folder, used as an encoder, is used as it was trained.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loading.load(tmp_path / "m").pooling == pooling
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert (loaded.transform(target) == adapter.transform(target)).all()


def test_what_the_folder_declares_is_kept_when_it_is_saved(folder, tiny, source, tmp_path):
    declare(folder, {"pooling_mode_cls_token": True})
    adapter = tiny(encoder=str(folder), method="source_only", epochs=1).fit(*source)
    assert adapter.encoder_.pooling == "cls"
    adapter.save_pretrained(tmp_path / "m")
    loaded = DomainAdapter.from_pretrained(tmp_path / "m")
    assert loaded.pooling is None
    assert loaded.encoder_.pooling == "cls"
    assert (loaded.predict_proba(source[0]) == adapter.predict_proba(source[0])).all()


def test_a_pooler_of_another_kind_is_said(tiny, source, tmp_path):
    adapter = tiny(method="source_only", pooling="pooler", epochs=1).fit(*source)
    adapter.encoder_.model.pooler.activation = nn.GELU()
    with pytest.warns(UserWarning, match="has no pooler such as that of BertModel"):
        adapter.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m" / "modules.json").exists()


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler", "last"])
def test_sentence_transformers_gives_the_same_features(pooling, tiny, source, target, tmp_path):
    st = pytest.importorskip("sentence_transformers")
    adapter = tiny(pooling=pooling, max_length=16, epochs=1).fit(*source, X_target=target)
    adapter.save_pretrained(tmp_path / "m")
    model = st.SentenceTransformer(str(tmp_path / "m"), device="cpu")
    texts = [*target, "the good film " * 20]
    with pytest.warns(UserWarning, match="are longer than max_length=16"):
        features = adapter.transform(texts)
    assert np.allclose(model.encode(texts), features, atol=1e-5)
