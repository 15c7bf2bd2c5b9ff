"""`DomainAdapter`: fit, predict, predict_proba, transform, score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from dann_transfer import methods
from dann_transfer.batches import PairedBatches, Tokens, tokenize, warn_truncated
from dann_transfer.caching import known_states
from dann_transfer.data import Domain, as_texts
from dann_transfer.diagnostics import class_shares, warn_of_collapse
from dann_transfer.encoder import Encoder, resolve_device
from dann_transfer.heads import TaskHead
from dann_transfer.label_shift import bbse, correct, em
from dann_transfer.settings import Settings, as_seed, check_params

if TYPE_CHECKING:
    from ignite.engine import Engine

    from dann_transfer.engine import AdaptationModel


CORRECTION = "em"  # what correct_prior=True means


class DomainAdapter(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Train a text classifier on labelled source texts so that it works on target texts.

    A scikit-learn estimator of texts: it clones, goes into a ``Pipeline`` and a ``GridSearchCV``.
    Labels of the target are neither asked for nor read, but for the few that a user may pass as
    `y_target_labelled`.

    Parameters
    ----------
    encoder : str or path
        A Hugging Face encoder: the name of a hub model, or a folder.
    method : str
        How to adapt; ``methods.names()`` lists them. On our benchmarks "mcc" gained most and
        cost least; "dann", the method of this package's name, gained nothing on average.
    epochs : int
        Passes over the source texts.
    batch_size : int
        Source texts a batch; as many target texts come on top.
    learning_rate, head_learning_rate, discriminator_learning_rate : float
        AdamW step sizes of the encoder, the task head and the method's own parameters.
        The first two warm up and decay, the third stays as it is.
    max_strength : float, optional
        The strength that the schedule ends at: λ of the reversed gradient, or the weight of the
        method's loss; for a combination, what multiplies the strength of each part. None takes
        the method's own (`max_strength_` tells which).
    strength_schedule : {"dann", "linear", "constant"}
        How strength grows over the run's steps; see `dann_transfer.schedules`.
    max_length : int
        Tokens a text; what is longer is cut, and counted in one warning.
    pooling : {"mean", "cls", "pooler"}
        How token states become one feature vector.
    freeze_layers : int
        Keep the embeddings and this many of the lowest layers as they are.
    device : str, optional
        "cpu", "cuda", "cuda:1" ...; None takes CUDA where there is one.
    precision : {"auto", "fp32", "bf16", "fp16"}
        "auto" is bf16 autocast on a GPU that has it and fp32 elsewhere.
    warmup : float
        Share of the steps over which the learning rates rise.
    weight_decay : float
        AdamW's weight decay, on matrices only.
    max_grad_norm : float
        The gradient is clipped to this norm.
    class_weight : "balanced", dict or None
        What a text of each class weighs in the task loss; "balanced" makes up for rare classes.
    correct_prior : bool or {"bbse", "em"}, optional
        Correct predictions for the target's class shares, as estimated without its labels; see
        `dann_transfer.label_shift`. True is "em". It helps where class shares are all that
        differs.
    validation_fraction : float
        Share of the source held out to choose the epoch by; 0 keeps the last epoch.
    validation_tolerance : float
        Standard errors that an epoch's validation accuracy may lie below the best and the epoch
        yet be kept, because it is later; 0 keeps the best. The rule of one standard error
        (Breiman et al. 1984): few held-out texts tell epochs apart by chance, and a learning rate
        that decays makes the later one the surer choice.
    patience : int, optional
        Stop after this many epochs without a better validation accuracy; None never stops.
    method_options : dict, optional
        Keywords of the method, such as ``{"width": 256}`` for "dann".
    text_column, label_column : str
        Columns to read from a DataFrame or ``datasets.Dataset``.
    checkpoint_dir : str or path, optional
        Save the run after every epoch, and continue from there when `fit` is called again.
    progress : bool
        Show a progress bar.
    random_state : int, RandomState or None
        Seeds everything; the same integer gives the same weights, bit for bit, on the same CPU.
    trust_remote_code : bool
        Let the encoder run code from its repository.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    encoder_ : Encoder
    history_ : list of dict
        Step, strength, losses and the method's own numbers, one entry a step.
    validation_ : list of dict
        Epoch and validation accuracy.
    truncated_ : dict
        How many texts were cut to `max_length`, by role.
    source_prior_ : ndarray of shape (n_classes,)
        Class shares of the texts the task trained on, weighted as they were.
    source_domains_ : list of str
        Names of the source domains, where X was a mapping.
    target_prior_ : dict of str to ndarray
        The target's class shares as "em" and "bbse" estimate them, in the order of ``classes_``.
    target_shares_ : dict or None
        Share of the target texts predicted to be of each class.

    References
    ----------
    Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.

    Examples
    --------
    >>> from dann_transfer import datasets
    >>> movies = ["a moving, funny film", "dull and far too long"] * 8
    >>> tweets = ["loved it!!", "ugh, worst day ever", "so happy rn"] * 4
    >>> adapter = DomainAdapter(datasets.encoder("minilm"), epochs=1, progress=False)
    >>> adapter.fit(movies, ["good", "bad"] * 8, X_target=tweets).predict(["what a joy"]).shape
    (1,)
    >>> adapter.transform(["what a joy"]).shape
    (1, 384)

    """

    def __init__(
        self,
        encoder: str | PathLike[str] = "bert-base-uncased",
        *,
        method: str = "dann",
        epochs: int = 3,
        batch_size: int = 32,
        learning_rate: float = 5e-5,
        head_learning_rate: float = 1e-3,
        discriminator_learning_rate: float = 1e-3,
        max_strength: float | None = None,
        strength_schedule: str = "dann",
        max_length: int = 256,
        pooling: str = "mean",
        freeze_layers: int = 0,
        device: str | None = None,
        precision: str = "auto",
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        max_grad_norm: float = 1.0,
        class_weight: str | dict[Any, float] | None = None,
        correct_prior: str | bool | None = None,
        validation_fraction: float = 0.1,
        validation_tolerance: float = 1.0,
        patience: int | None = None,
        method_options: dict[str, Any] | None = None,
        text_column: str = "text",
        label_column: str = "label",
        checkpoint_dir: str | PathLike[str] | None = None,
        progress: bool = True,
        random_state: int | np.random.RandomState | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.encoder = encoder
        self.method = method
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.head_learning_rate = head_learning_rate
        self.discriminator_learning_rate = discriminator_learning_rate
        self.max_strength = max_strength
        self.strength_schedule = strength_schedule
        self.max_length = max_length
        self.pooling = pooling
        self.freeze_layers = freeze_layers
        self.device = device
        self.precision = precision
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.class_weight = class_weight
        self.correct_prior = correct_prior
        self.validation_fraction = validation_fraction
        self.validation_tolerance = validation_tolerance
        self.patience = patience
        self.method_options = method_options
        self.text_column = text_column
        self.label_column = label_column
        self.checkpoint_dir = checkpoint_dir
        self.progress = progress
        self.random_state = random_state
        self.trust_remote_code = trust_remote_code

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        X_target_labelled: Any = None,
        y_target_labelled: Any = None,
        on_step: Callable[[Engine, AdaptationModel], None] | None = None,
    ) -> DomainAdapter:
        """Train on labelled source texts and adapt to unlabelled target texts.

        Parameters
        ----------
        X : list, tuple, ndarray, Series, DataFrame, datasets.Dataset, Domain, or mapping
            Source texts. A mapping of domain names to (texts, labels), to frames or to Domains
            gives several sources, which method "mdan" weighs and all others treat as one.
        y : sequence of str, int or bool, optional
            Their labels; may be left out where X carries them in `label_column` or is a mapping.
        X_target : like X, optional
            Target texts. Every method but "source_only" needs them. Inside ``GridSearchCV``,
            scikit-learn slices a list that is as long as X; wrap it in ``Domain`` to keep it whole.
        sample_weight : array of float, shape (n,), optional
            What each source text weighs in the task loss, times its class's weight.
        X_val, y_val : optional
            Labelled source texts to choose the epoch by, instead of `validation_fraction`.
        X_target_labelled, y_target_labelled : optional
            A few labelled target texts. The task trains on them too: a quarter of `batch_size` of
            them stand in every batch. Each weighs 1, whatever `class_weight`.
        on_step : callable, optional
            Called after each step with Ignite's engine and the model in training, to look at
            them.

        Raises
        ------
        TypeError, ValueError
            On bad input, before any training, naming what was wrong and the remedy.
        FloatingPointError
            If a loss, or in the end a weight, is not finite.

        """
        from dann_transfer import engine
        from dann_transfer.checkpoints import fingerprint
        from dann_transfer.inputs import read

        params = self.get_params(deep=False)
        check_params(params)
        method = methods.create(self.method, self.method_options)
        if self.checkpoint_dir is not None and not isinstance(self.random_state, int | np.integer):
            raise ValueError(
                f"checkpoint_dir needs an integer random_state, not {self.random_state!r}: a run "
                "of another seed cannot continue it."
            )
        seed = as_seed(self.random_state)
        given = read(
            params,
            method,
            seed,
            X=X,
            y=y,
            X_target=X_target,
            sample_weight=sample_weight,
            X_val=X_val,
            y_val=y_val,
            X_target_labelled=X_target_labelled,
            y_target_labelled=y_target_labelled,
        )
        device = resolve_device(self.device)
        if self.precision == "fp16" and device.type == "cpu":
            raise ValueError("precision='fp16' needs a GPU; use 'fp32' on the CPU.")
        settings = self._settings(seed, method)

        with torch.random.fork_rng(list(range(torch.cuda.device_count()))):
            torch.manual_seed(seed)
            encoder = self._load_encoder()
            method.attach(encoder, max(1, len(given.names)))
            # Heads and method draw from the same state whichever method is trained, so that
            # two methods of one seed start from one task head.
            torch.manual_seed(seed)
            head = TaskHead(encoder.features, len(given.classes))
            method.build(encoder.features, len(given.classes))
            model = engine.AdaptationModel(encoder, head, method).to(device)
            tokens, self.truncated_ = self._tokenize(encoder, given.texts)
            few, codes = tokens.get("labelled target"), given.codes
            roles = ("source", "labelled target", "target" if method.uses_target else "")
            states = known_states(encoder, [tokens[r] for r in roles if r in tokens], device)
            batches = PairedBatches(
                tokens["source"],
                codes["source"],
                tokens.get("target") if method.uses_target else None,
                self.batch_size,
                seed,
                given.weights,
                given.domains,
                None if few is None else (few, codes["labelled target"]),
                states,
            )

            def validate() -> float:
                logits = engine.infer(model, tokens["validation"], 64, device, self.precision)[1]
                return float((logits.argmax(1).numpy() == codes["validation"]).mean())

            arrays = [*codes.values(), given.weights, given.domains]
            record = engine.train(
                model,
                batches,
                settings,
                device,
                validate if "validation" in tokens else None,
                fingerprint(tokens, arrays, {**params, "seed": seed}),
                on_step=None if on_step is None else lambda trainer: on_step(trainer, model),
                n_validation=len(codes["validation"]),
            )
        self._fitted(model, given.classes, seed, settings.max_strength)
        self.history_, self.validation_ = record.steps, record.epochs
        self.n_source_, self.n_target_ = given.n_source, len(given.texts["target"])
        self.source_domains_ = given.names
        weighed = np.bincount(codes["source"], given.weights, len(given.classes)).astype(float)
        if few is not None:
            taught = np.bincount(codes["labelled target"], minlength=len(given.classes))
            weighed = weighed + taught / len(few) * batches.few_rows * len(batches)
        self.source_prior_ = weighed / weighed.sum()
        self._look_at_target(tokens, codes["source"], codes["validation"])
        return self

    def _look_at_target(
        self, tokens: dict[str, Tokens], codes: np.ndarray, val_codes: np.ndarray
    ) -> None:
        """Set what the fitted model makes of the target texts, from its predictions alone."""
        self.target_shares_: dict[Any, float] | None = None
        self.target_prior_: dict[str, np.ndarray] = {}
        if "target" not in tokens:
            return
        target = self._infer(tokens["target"])[1].softmax(1).numpy()
        self.target_shares_ = class_shares(target.argmax(1), self.classes_)
        warn_of_collapse(self.target_shares_, class_shares(codes, self.classes_), len(target))
        self.target_prior_["em"] = em(self.source_prior_, target)
        # A class without a validation text leaves unknown how it is confused.
        if len(np.unique(val_codes)) == len(self.classes_):
            source = self._infer(tokens["validation"])[1].softmax(1).numpy()
            self.target_prior_["bbse"] = bbse(source, val_codes, target)

    def _fitted(
        self, model: AdaptationModel, classes: np.ndarray, seed: int, max_strength: float
    ) -> None:
        self._model, self.encoder_, self.classes_ = model, model.encoder, classes
        self._n_features_out = model.encoder.features
        self.seed_, self.max_strength_ = seed, max_strength

    def _settings(self, seed: int, method: methods.Method) -> Settings:
        strength = method.default_strength if self.max_strength is None else self.max_strength
        names = set(Settings.__dataclass_fields__) & set(self.get_params(deep=False))
        chosen = {name: getattr(self, name) for name in names}
        folder = None if self.checkpoint_dir is None else str(self.checkpoint_dir)
        chosen |= {"seed": seed, "max_strength": strength, "checkpoint_dir": folder}
        return Settings(**chosen)

    def _load_encoder(self) -> Encoder:
        encoder = Encoder.from_pretrained(
            self.encoder, self.pooling, self.freeze_layers, self.trust_remote_code
        )
        longest = encoder.longest
        if longest is not None and self.max_length > longest:
            raise ValueError(
                f"max_length={self.max_length}, but the encoder takes at most {longest} tokens."
            )
        return encoder

    def _tokenize(
        self, encoder: Encoder, roles: dict[str, list[str]]
    ) -> tuple[dict[str, Tokens], dict[str, int]]:
        tokens, cut = {}, {}
        for role, texts in roles.items():
            if texts:
                tokens[role], cut[role] = tokenize(encoder.tokenizer, texts, self.max_length)
        warn_truncated({role: (cut[role], len(tokens[role])) for role in cut}, self.max_length)
        return tokens, cut

    def _infer(self, tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
        from dann_transfer import engine

        device = next(self._model.parameters()).device
        return engine.infer(self._model, tokens, 2 * self.batch_size, device, self.precision)

    def _forward(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return features (n, width) and class probabilities (n, n_classes)."""
        check_is_fitted(self)
        texts = as_texts(X, "X", self.text_column)
        tokens, cut = tokenize(self.encoder_.tokenizer, texts, self.max_length)
        warn_truncated({"given": (cut, len(texts))}, self.max_length)
        features, logits = self._infer(tokens)
        probabilities = logits.softmax(1).numpy()
        if self.correct_prior:
            kind = CORRECTION if self.correct_prior is True else self.correct_prior
            if kind not in self.target_prior_:
                raise ValueError(
                    f"correct_prior={self.correct_prior!r} was not estimated when the model was "
                    "fitted; fit it with X_target and this setting."
                )
            found = self.target_prior_[kind]
            probabilities = correct(probabilities, self.source_prior_, found)
        return features.numpy(), probabilities

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return class probabilities, shape (n, n_classes), in the order of ``classes_``."""
        return self._forward(X)[1]

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels of texts, shape (n,), of the type that `fit` was given."""
        best = self.predict_proba(X).argmax(1)
        return self.classes_[best]

    def transform(self, X: Any) -> np.ndarray:
        """Return the encoder's pooled features, shape (n, width), float32."""
        return self._forward(X)[0]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def save_pretrained(self, folder: str | PathLike[str]) -> None:
        """Save to a folder that `from_pretrained` reads; ``AutoModel`` opens its encoder too.

        The folder appears whole or not at all, and only an earlier model is ever replaced.

        Raises
        ------
        ValueError
            If the folder holds something else.
        OSError
            If it cannot be written.

        """
        from dann_transfer import saving

        check_is_fitted(self)
        saving.save(self, folder)

    def report(
        self,
        path: str | PathLike[str],
        source: Domain | None = None,
        target: Domain | Sequence[str] | None = None,
        examples: int = 8,
    ) -> Path:
        """Write settings, history and pictures of the run on one offline HTML page.

        See `dann_transfer.reports.report`.

        Raises
        ------
        ImportError
            If matplotlib or, for a map, umap-learn is not installed.

        """
        from dann_transfer import reports

        check_is_fitted(self)
        return reports.report(self, path, source, target, examples)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | PathLike[str],
        device: str | None = None,
        trust_remote_code: bool = False,
    ) -> DomainAdapter:
        """Load what `save_pretrained` wrote. No pickle is read and no code of the folder runs.

        Raises
        ------
        ValueError
            If a file is missing, damaged or changed since it was saved.

        """
        from dann_transfer import saving

        return saving.load(cls, folder, device, trust_remote_code)
