"""`DomainAdapter`: fit, predict, predict_proba, transform, score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from dann_transfer import advice
from dann_transfer.fitting import auto, run, saving
from dann_transfer.fitting.fitted import Fitted
from dann_transfer.fitting.predicting import (
    Outputs,
    Trained,
    joined,
    parts_with_domains,
    predict_parts,
)
from dann_transfer.fitting.run import Watch
from dann_transfer.fitting.shared import Shared
from dann_transfer.ground.checks import check_threshold
from dann_transfer.ground.notices import warn
from dann_transfer.ground.options import AUTO
from dann_transfer.ground.settings import AFTER_TRAINING, AT_PREDICTION, check_params, plain
from dann_transfer.judging import decision
from dann_transfer.judging.alignment import AffineMap
from dann_transfer.judging.findings import Findings
from dann_transfer.judging.labelling import suggest
from dann_transfer.judging.neighbors import Neighborhood
from dann_transfer.judging.novelty import Novelty
from dann_transfer.knowledge.weighted import Weighted
from dann_transfer.model.model import Classifier
from dann_transfer.texts.files import PART
from dann_transfer.texts.labels import check_unknown_kind
from dann_transfer.texts.reading import as_texts
from dann_transfer.texts.roles import Inputs, Texts
from dann_transfer.texts.several import in_form, several_of
from dann_transfer.texts.target import target_rows

if TYPE_CHECKING:
    import pandas as pd
    from ignite.engine import Engine


class RefitWarning(UserWarning):
    """A saved model is fitted again, which starts from the encoder that it once started from."""


class DomainAdapter(
    ClassNamePrefixFeaturesOutMixin, ClassifierMixin, TransformerMixin, BaseEstimator
):
    """Train a text classifier on labelled source texts so that it works on target texts.

    As a scikit-learn estimator, it can be cloned and used in a ``Pipeline`` or a ``GridSearchCV``.
    Target labels are neither required nor read, except for the few that a user may pass as
    `y_target_labelled`.

    Parameters
    ----------
    encoder : str or path
        A Hugging Face encoder: the name of a hub model, or a folder.
    method : str, optional
        How to adapt: one of `methods.names()`, or several joined with a plus, such as "mlm+dann",
        whose losses are added, each at its own strength (any but "adda" and "shot"); "auto" trains
        source-only, "mcc" and "student" and keeps one of them; None is what `advise` names.
    epochs : int, optional
        Passes over the source texts; None is as many as make some hundred steps, more with more
        classes, and at least 3.
    batch_size : int
        Source texts per batch; as many target texts are added.
    micro_batch_size : int, optional
        Pass at most this many texts through the encoder at once in training; larger batches are
        split into parts, whose states are computed again for the gradient: the same gradient, less
        memory, more time; None passes all at once.
    learning_rate : float, optional
        AdamW's step size for the encoder, which warms up and then decays; None is 5e-5 for an
        encoder of fewer than 50 million parameters and 2e-5 for a larger one, or 20 times that with
        `lora`.
    head_learning_rate : float
        The same for the task head.
    discriminator_learning_rate : float
        The same for the method's own parameters, but without decay.
    max_strength : float, optional
        The strength at the end of its schedule: λ of the reversed gradient, or the weight of the
        method's loss; None takes the method's default; for a combination, this multiplies the
        default of each part.
    strength_schedule : {"dann", "linear", "constant"}
        How the strength grows over the run's steps.
    max_length : int
        Tokens per text; longer texts are cut, and a warning counts them.
    pooling : {"mean", "cls", "pooler", "last"}, optional
        How token states become one feature vector: their mean, the first token's state, what the
        encoder's pooler makes of that, or the last token's state; None is what the encoder's folder
        declares in the files of sentence-transformers, and otherwise "mean".
    freeze_layers : int, optional
        Leave the embeddings and this many of the lowest layers untrained, which is faster and needs
        less memory; None is half of the layers for an encoder of 50 million parameters or more, and
        0 for a smaller one.
    lora : int or dict, optional
        Train low-rank matrices of this rank beside the layers, and merge them at the end; a dict
        holds keywords of `peft.LoraConfig`.
    layer_decay : float
        Multiply the encoder's learning rate by this for each layer below the highest.
    device : str, optional
        "cpu", "cuda", "cuda:1" ...; None uses CUDA if it is available.
    precision : {"auto", "fp32", "bf16", "fp16"}
        "auto" is bf16 on a GPU that supports it and fp32 elsewhere.
    torch_compile : bool
        Compile the encoder with `torch.compile` on the first texts, which takes a minute or more;
        useful on a GPU that spends its time on many small kernels; on a CPU it gains nothing.
    warmup : float
        The share of the steps over which learning rates rise.
    weight_decay : float
        AdamW's weight decay, on matrices only.
    max_grad_norm : float
        Gradients are clipped to this norm.
    class_weight : "balanced", dict or None
        A weight for the texts of each class; "balanced" makes up for rare classes.
    ordinal : bool or list
        Whether the classes are ordered, as stars are: True takes numbers by value and ordered
        categories of pandas in their order, a list names the classes from the lowest to the
        highest; the head then learns the order, and the answer is the median class.
    correct_prior : bool or {"bbse", "em"}, optional
        Correct predictions for the target's class shares, estimated without its labels;
        True is "em".
    neighbors : int, optional
        Average each prediction with those of this many nearest target texts of the fit, which needs
        no training; None does not average.
    align : {"transport"}, optional
        Map the features of target texts onto the source's after training, so that they no longer
        tell the domains apart: "transport" is the linear map of optimal transport, with every class
        weighted alike in both domains; None maps nothing.
    use_knowledge : bool
        Add what the `knowledge` of the fit says about target texts to their predictions, at the
        weight that the fit estimated.
    unknown : str or int, optional
        The label to answer for target texts of classes that the source does not have, which are
        found without labels and left out of adaptation; None takes every text for one of the
        source's classes.
    validation_fraction : float
        The share of the source that is held out for choosing the epoch; 0 keeps the last epoch.
    validation_tolerance : float
        How far below the best validation score a later epoch may lie and still be kept, in standard
        errors of their difference, since on few held-out texts epochs differ by chance; 0 keeps the
        best.
    metric : str
        The score by which the epoch is chosen on held-out source texts, and by which `compare`
        judges: "accuracy", "macro_f1", "balanced_accuracy", "quadratic_kappa" for ordered classes,
        or the name of a scorer of scikit-learn for predicted labels, such as
        "neg_mean_absolute_error".
    patience : int, optional
        Stop after this many epochs without a better validation score; None never stops.
    method_options : dict, optional
        Keywords of the method, such as `{"width": 256}` for "dann".
    text_column : str
        The column of texts in a table.
    label_column : str
        The column of labels in a table.
    checkpoint_dir : str or path, optional
        Save the run there at the end of every epoch and at every `checkpoint_every`, and continue
        exactly where it stopped.
    checkpoint_every : int, str or None
        How often a run is saved within an epoch: a number of steps, or minutes such as "10 min";
        None saves only at the end of the epoch.
    progress : bool
        Show a progress bar on a terminal or in a notebook, elsewhere a line for each epoch.
    random_state : int, RandomState or None
        The same integer gives the same weights, bit for bit, on the same CPU with the same
        number of threads.
    trust_remote_code : bool
        Let the encoder run code from its repository.

    Attributes
    ----------
    model_ : Classifier
        Encoder and task head, in evaluation mode.
    encoder_ : Encoder
        Its ``freeze_layers`` says how many layers stayed as they were.
    method_weights_ : dict of str to Tensor
        The method's own parameters, such as a discriminator's, which prediction does not need.
    neighborhood_ : Neighborhood or None
        The target's texts that predictions are averaged with, where `neighbors` is set.
    alignment_ : AffineMap or None
        The map of target texts' features, where `align` is set and nothing speaks against a map.
    knowledge_ : Weighted or None
        The `knowledge` of the fit, with its weights against the model.
    novelty_ : Novelty or None
        Which target texts are of new classes, by their features, where `unknown` is set.
    fitted_ : Fitted
        Everything else. Each of its fields is also an attribute of the adapter, with a trailing
        underscore: classes_, seed_, max_strength_, learning_rate_, n_source_, n_target_,
        n_target_sampled_, source_prior_, history_, validation_, truncated_, unknown_,
        source_domains_, form_, thresholds_, order_, target_prior_, prior_intervals_,
        refused_prior_, calibration_, target_shares_, findings_, choice_, advice_, trained_,
        params_.
        `Fitted` describes each of them. Predictions and saved models use the hyperparameters in
        ``params_``, except for those in `settings.AT_PREDICTION`.

    References
    ----------
    Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016; Breiman et al.,
    Classification and Regression Trees, 1984, for keeping an epoch that is not clearly worse.

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

    fitted_: Fitted
    neighborhood_: Neighborhood | None
    alignment_: AffineMap | None
    knowledge_: Weighted | None
    novelty_: Novelty | None
    _loaded_from: str

    def __init__(
        self,
        encoder: str | PathLike[str] = "bert-base-uncased",
        *,
        method: str | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        micro_batch_size: int | None = None,
        learning_rate: float | None = None,
        head_learning_rate: float = 1e-3,
        discriminator_learning_rate: float = 1e-3,
        max_strength: float | None = None,
        strength_schedule: str = "dann",
        max_length: int = 256,
        pooling: str | None = None,
        freeze_layers: int | None = None,
        lora: int | dict[str, Any] | None = None,
        layer_decay: float = 1.0,
        device: str | None = None,
        precision: str = "auto",
        torch_compile: bool = False,
        warmup: float = 0.1,
        weight_decay: float = 0.01,
        max_grad_norm: float = 1.0,
        class_weight: str | dict[Any, float] | None = None,
        ordinal: bool | list[Any] = False,
        correct_prior: str | bool | None = None,
        neighbors: int | None = None,
        align: str | None = None,
        use_knowledge: bool = False,
        unknown: str | int | None = None,
        validation_fraction: float = 0.1,
        validation_tolerance: float = 2.0,
        metric: str = "accuracy",
        patience: int | None = None,
        method_options: dict[str, Any] | None = None,
        text_column: str = "text",
        label_column: str = "label",
        checkpoint_dir: str | PathLike[str] | None = None,
        checkpoint_every: int | str | None = "10 min",
        progress: bool = True,
        random_state: int | np.random.RandomState | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.encoder = encoder
        self.method = method
        self.epochs = epochs
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.learning_rate = learning_rate
        self.head_learning_rate = head_learning_rate
        self.discriminator_learning_rate = discriminator_learning_rate
        self.max_strength = max_strength
        self.strength_schedule = strength_schedule
        self.max_length = max_length
        self.pooling = pooling
        self.freeze_layers = freeze_layers
        self.lora = lora
        self.layer_decay = layer_decay
        self.device = device
        self.precision = precision
        self.torch_compile = torch_compile
        self.warmup = warmup
        self.weight_decay = weight_decay
        self.max_grad_norm = max_grad_norm
        self.class_weight = class_weight
        self.ordinal = ordinal
        self.correct_prior = correct_prior
        self.neighbors = neighbors
        self.align = align
        self.use_knowledge = use_knowledge
        self.unknown = unknown
        self.validation_fraction = validation_fraction
        self.validation_tolerance = validation_tolerance
        self.metric = metric
        self.patience = patience
        self.method_options = method_options
        self.text_column = text_column
        self.label_column = label_column
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
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
        knowledge: Any = None,
        on_step: Callable[[Engine, Classifier], None] | None = None,
        attach: Callable[[Engine], object] | None = None,
    ) -> DomainAdapter:
        """Train on labelled source texts and adapt to unlabelled target texts.

        Parameters
        ----------
        X : list, tuple, ndarray, Series, DataFrame, datasets.Dataset, Domain, path, or mapping
            Source texts. A mapping of domain names to (texts, labels), to frames or to Domains
            gives several sources, which method "mdan" weighs and all others treat as one.
        y : sequence of str, int or bool, optional
            Their labels; may be left out where X carries them in `label_column` or is a mapping.
            Several labels a text are a matrix of 0 and 1 with a column for each label (array,
            DataFrame or sparse), or a list of labels for each text.
        X_target : like X, or FileTexts, datasets.IterableDataset or another iterable, optional
            Target texts. Every method but "source_only" needs them. If there are more than 10,000
            and more than the run draws, a random sample is used, the same for all methods and
            seeds. Files and iterables are read in parts, so memory does not grow with their size.
            Inside ``GridSearchCV``, scikit-learn slices a list that is as long as X; wrap it in
            ``Domain`` to keep it whole.
        sample_weight : array of float, shape (n,), optional
            The weight of each source text in the task loss, multiplied by its class's weight.
        X_val, y_val : optional
            Labelled source texts for choosing the epoch, instead of `validation_fraction`.
        X_target_labelled, y_target_labelled : optional
            A few labelled target texts. The task trains on them too: every batch holds a quarter of
            `batch_size` of them. Each weighs 1, whatever `class_weight` is.
        knowledge : Lexicon, Rules, Graph, or list of these, optional
            What is known besides labels (`dann_transfer.knowledge`). Its weight against the model
            is estimated on held-out source texts, and may be 0. It changes the labels that methods
            such as "student" and "self_training" give to target texts, and with `use_knowledge`
            predictions too. The copies that are fitted are in ``knowledge_``.
        on_step : callable, optional
            Called after each step with Ignite's engine and the model being trained, for
            inspection.
        attach : callable, optional
            Called with Ignite's engine before the first step, to attach handlers:
            `dann_transfer.tracking.log_to` for TensorBoard and the like. A step's output is its row
            of `history_`; at an epoch's end ``engine.state.metrics`` has the validation accuracy.
            With method "auto" it is called for each run, and ``engine.state.candidate`` names it.

        Raises
        ------
        TypeError, ValueError
            On bad input, before any training, naming what was wrong and the remedy.
        FloatingPointError
            If a loss, a gradient, or a weight at the end, is not finite.
        OSError
            If `checkpoint_dir` cannot be written, also during a run; its last checkpoint is kept.
        RuntimeError
            If another run is using `checkpoint_dir`.

        """
        params = plain(self.get_params(deep=False))
        seed = run.seed_of(params)
        if folder := getattr(self, "_loaded_from", None):
            warn(
                f"the model of {folder!r} is not trained further: fit starts again from the "
                f"encoder {str(params['encoder'])!r}, of which a folder is saved by its name "
                "alone: set_params(encoder=...) says where it lies. To start from what it has "
                f"learnt about texts, pass its folder as the encoder: DomainAdapter({folder!r}).",
                RefitWarning,
            )
        labelled = X_target_labelled, y_target_labelled
        inputs = Inputs(X, y, X_target, sample_weight, X_val, y_val, *labelled, knowledge)
        advised = None
        columns = self.text_column, self.label_column
        chooses = params["method"] in (None, AUTO)
        if chooses and several_of(X, y, "X", "y", *columns) is not None:
            raise ValueError(
                f"method={params['method']!r} chooses among methods of one class a text, and y has "
                "several labels a text; name a method, such as 'dann' or 'source_only'."
            )
        if params["method"] is None:
            texts = advice.read(params, inputs)
            advised = _advised(texts, params)
            params["method"] = advised.method
        else:
            texts = run.check(params, inputs, auto.created(params))
        shared = Shared(several=params["method"] == AUTO)
        owns_folder = not getattr(self, "_is_clone", False)
        trained = auto.train(params, seed, texts, shared, Watch(on_step, attach), owns_folder)
        trained.fitted.advice = None if advised is None else str(advised)
        return self._take(trained)

    def retarget(
        self,
        X: Any,
        y: Any = None,
        *,
        X_target: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
    ) -> DomainAdapter:
        """Fit what needs no training on target texts: shares, map, neighbours, new classes.

        A model that was trained for one target, or for none, is prepared for another in seconds,
        and `align` and `neighbors` can be set after a fit. With the texts of the fit the result is
        that of a fit with these settings.

        Parameters
        ----------
        X, y, sample_weight, X_val, y_val
            The labelled source texts that the model was fitted on, in the same order. Those that
            the fit held out are held out again, since estimates need texts that are not learnt.
        X_target : list, table, path or iterable
            Target texts, as for `fit`.

        Returns
        -------
        DomainAdapter
            Itself.

        Raises
        ------
        TypeError, ValueError
            On bad input, if labels or number of the source texts are not those of the fit, or if
            a method of the user's is not registered. The model predicts as before then.

        Examples
        --------
        ```python
        adapter = DomainAdapter.from_pretrained("runs/model").set_params(align="transport")
        adapter.retarget(texts, labels, X_target=tweets).predict(tweets)
        ```

        """
        check_is_fitted(self)
        self.fitted_.refuse_several("retarget")
        changed = {name: plain(getattr(self, name)) for name in AFTER_TRAINING}
        check_params(changed)
        params = {**self.params_, **self._check_at_prediction(), **changed}
        created = auto.created(params)
        if self.fitted_.choice is not None:
            created = {self.fitted_.choice.method: created[self.fitted_.choice.method]}
        knowledge = None if self.knowledge_ is None else self.knowledge_.parts
        inputs = Inputs(X, y, X_target, sample_weight, X_val, y_val, knowledge=knowledge)
        texts = run.check(params, inputs, created)
        return self._take(run.retarget(self._trained, params, texts, created))

    def _take(self, trained: Trained) -> DomainAdapter:
        """Become the estimator of a fitted model."""
        self.model_, self.encoder_ = trained.model, trained.model.encoder
        self.method_weights_, self.fitted_ = trained.method_weights, trained.fitted
        self.neighborhood_, self.alignment_ = trained.neighborhood, trained.alignment
        self.knowledge_, self.novelty_ = trained.knowledge, trained.novelty
        self._n_features_out = trained.model.encoder.features
        return self

    @property
    def _trained(self) -> Trained:
        return Trained(
            self.model_,
            self.method_weights_,
            self.fitted_,
            self.neighborhood_,
            self.alignment_,
            self.knowledge_,
            self.novelty_,
        )

    def __getattr__(self, name: str) -> Any:
        # Called only for a missing attribute; a copy under construction has no attributes at all.
        fitted = vars(self).get("fitted_")
        if fitted is None and name in {f"{field.name}_" for field in fields(Fitted)}:
            # It is an AttributeError too.
            raise NotFittedError(f"{name} is known only after a fit; call fit first.")
        if fitted is None or not name.endswith("_") or not hasattr(fitted, name[:-1]):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(fitted, name[:-1])

    def __dir__(self) -> list[str]:
        # For tab completion of the fitted attributes.
        fitted = vars(self).get("fitted_")
        return [*super().__dir__(), *([] if fitted is None else (f"{k}_" for k in vars(fitted)))]

    def _check_at_prediction(self) -> dict[str, Any]:
        """Return the settings that may have changed since the fit, after checking them."""
        changed = {name: plain(getattr(self, name)) for name in AT_PREDICTION}
        check_params(changed)
        return changed

    def outputs(self, X: Any, domain: Any = "target") -> Outputs:
        """Return features and class probabilities of texts, in one pass.

        Parameters
        ----------
        X : sequence, table or Domain
        domain : {"target", "source"}, or sequence of these, shape (n,)
            Where the texts are from, all or each. It matters where `align` is set: features of
            target texts are mapped, and those of source texts are not.

        Raises
        ------
        ValueError
            If `domain` is anything else.

        Examples
        --------
        ```python
        features, probabilities = adapter.outputs(texts)
        ```

        """
        return self._outputs(X, domain, with_features=True)

    def _outputs(self, X: Any, domain: Any, with_features: bool) -> Outputs:
        """Pass texts through the model, and return their features only if asked to."""
        check_is_fitted(self)
        texts = as_texts(X, "X", self.text_column, empty_is_text=True)
        of_target = target_rows(domain, len(texts))
        parts = (slice(start, start + PART) for start in range(0, len(texts), PART))
        predicted = self._in_parts((texts[part], of_target[part]) for part in parts)
        if not with_features:
            nothing = np.empty((0, self.encoder_.features), np.float32)
            predicted = (Outputs(nothing, part.probabilities) for part in predicted)
        return joined(predicted, self._trained)

    def outputs_in_parts(
        self, parts: Iterable[Sequence[str]], domain: Any = "target"
    ) -> Iterator[Outputs]:
        """Yield what `outputs` returns, for texts that come in parts and need not fit in memory.

        Parameters
        ----------
        parts : iterable of sequence of str
            Parts of a few thousand texts are fastest.
        domain : {"target", "source"}, or iterable
            Where all texts are from, or, for each part, what `outputs` takes.

        Yields
        ------
        Outputs
            The outputs of one part. Warnings about all parts together come after the last.

        Raises
        ------
        TypeError, ValueError
            As `predict` does, at the part with the faulty text; also if there is no text at all.

        Examples
        --------
        ```python
        tweets = load_dataset("parquet", data_files="tweets.parquet", split="train")
        for part in adapter.outputs_in_parts(rows["text"] for rows in tweets.iter(4096)):
            part.probabilities.argmax(1)
        ```

        """
        check_is_fitted(self)
        if isinstance(domain, str):
            target_rows(domain, 0)
        return self._in_parts(parts_with_domains(parts, domain, self.text_column))

    def _in_parts(self, parts: Iterable[tuple[list[str], np.ndarray]]) -> Iterator[Outputs]:
        """Pass texts through the model; at the end, warn of all cut texts and unknown tokens."""
        yield from predict_parts(self._trained, self._check_at_prediction(), parts)

    def predict_proba(self, X: Any, domain: Any = "target") -> np.ndarray:
        """Return class probabilities, shape (n, n_classes), in the order of ``classes_``.

        Where a text has several labels, each column is the probability of a label by itself.
        `domain` is that of `outputs`.
        """
        return self._outputs(X, domain, with_features=False).probabilities

    def predict(
        self, X: Any, abstain_below: float = 0.0, label: Any = None, domain: Any = "target"
    ) -> Any:
        """Return the labels of texts, shape (n,), of the type that was passed to `fit`.

        The label is the likeliest class of `predict_proba`, or with `ordinal` the median class: the
        lowest up to which at least half of the probability lies. Where texts have several labels,
        it is a matrix of 0 and 1, shape (n, n_classes), or a list of labels for each text, as `y`
        was in `fit`: of labels whose probability reaches ``thresholds_``.

        With `unknown`, target texts that seem to be of none of the source's classes have that
        label; `predict_proba` has no column for it.

        Parameters
        ----------
        X : sequence, table or Domain
        abstain_below : float
            The answer is withheld where `predict_proba` gives it a smaller probability than
            this. `evaluate` shows on labelled texts what a threshold gains.
        label : object, optional
            Returned in place of a withheld answer. Without it the result is a masked array, whose
            mask is true where answers are withheld.
        domain : {"target", "source"}, or sequence of these, shape (n,)
            Where the texts are from, as for `outputs`.

        Examples
        --------
        ```python
        adapter.predict(tweets, abstain_below=0.8, label="ask a person")
        ```

        """
        check_threshold("abstain_below", abstain_below)
        check_is_fitted(self)
        if self.fitted_.form is not None:
            if abstain_below or label is not None:
                self.fitted_.refuse_several("withholding answers, by abstain_below or label,")
            return self._several(self.predict_proba(X, domain))
        outputs = self._outputs(X, domain, with_features=self.unknown is not None)
        p, (new, unknown) = outputs.probabilities, self.new_classes(outputs, domain)
        if not abstain_below and label is None:
            return decision.labels(p, self.classes_, new, unknown, self.fitted_.ranks)
        ranks = self.fitted_.ranks
        return decision.abstain(p, self.classes_, abstain_below, label, new, unknown, ranks)

    def _several(self, p: np.ndarray) -> Any:
        """Return the labels of probabilities (n, labels) in the form that was passed to `fit`."""
        fitted = self.fitted_
        assert fitted.form is not None
        return in_form(p >= fitted.thresholds, fitted.classes, fitted.form)

    def new_classes(
        self, outputs: Outputs, domain: Any = "target"
    ) -> tuple[np.ndarray | None, str | int | None]:
        """Return which texts `predict` answers with `unknown`, and that label.

        Parameters
        ----------
        outputs : Outputs
            What `outputs` returned for the texts.
        domain : {"target", "source"}, or sequence of these, shape (n,)
            Where they are from. Texts of the source are of its classes.

        Returns
        -------
        new : ndarray of bool, shape (n,), or None
            None if `unknown` is None.
        unknown : str, int or None

        Raises
        ------
        ValueError
            If `unknown` was set after the fit, or is no label that the model can answer.

        """
        check_is_fitted(self)
        unknown = self._check_at_prediction()["unknown"]
        if unknown is None:
            return None, None
        if self.novelty_ is None:
            raise ValueError(
                f"unknown={unknown!r}, but the model was fitted without it; fit it so, or retarget."
            )
        check_unknown_kind(unknown, self.classes_)
        of_target = target_rows(domain, len(outputs.features))
        return self.novelty_.is_new(outputs.features) & of_target, unknown

    def history_frame(self) -> pd.DataFrame:
        """Return the history of the run as a table, one row per step.

        Returns
        -------
        DataFrame
            Indexed by step: epoch, strength λ, the encoder's learning rate, each loss, the norms of
            the gradients before they are clipped, and whatever else a method measures, such as the
            discriminator's accuracy. `validation_accuracy` is given at an epoch's last step.

        Examples
        --------
        ```python
        adapter.history_frame().plot(y=["task_loss", "domain_loss"])
        ```

        """
        import pandas as pd

        check_is_fitted(self)
        frame = pd.DataFrame(self.history_).set_index("step")
        for row in self.validation_:
            last = frame.index[frame["epoch"] == row["epoch"]].max()
            frame.loc[last, "validation_accuracy"] = row["validation_accuracy"]
        return frame

    def diagnose(self) -> Findings:
        """Return what looks wrong with the run, severe findings first, as text, frame and HTML.

        `fit` makes the diagnosis, for which it needs `X_target`. No target label is used.
        """
        check_is_fitted(self)
        self.fitted_.refuse_several("the doctor")
        if self.fitted_.findings is None:
            raise ValueError(
                "nothing was diagnosed, because the model was fitted without X_target; pass "
                "X_target to fit (method='source_only' does not train on it)."
            )
        return self.fitted_.findings

    def suggest(self, X: Any, n: int, random_state: int = 0) -> np.ndarray:
        """Return the positions in X of the n target texts most worth labelling, shape (n,).

        Pass their texts and labels to `fit` as `X_target_labelled` and `y_target_labelled`.

        Parameters
        ----------
        X : sequence, table or Domain
            Target texts.
        n : int
        random_state : int

        Raises
        ------
        ValueError
            If there are fewer than n texts.

        Examples
        --------
        ```python
        places = adapter.suggest(tweets, 32)
        ```

        """
        check_is_fitted(self)
        self.fitted_.refuse_several("suggest")
        return suggest(*self.outputs(X), n, random_state)

    def transform(self, X: Any, domain: Any = "target") -> np.ndarray:
        """Return the encoder's pooled features, shape (n, width), float32.

        `domain` is that of `outputs`.
        """
        return self.outputs(X, domain).features

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Fit, and return the features of the source texts X, shape (n, width), float32.

        A ``Pipeline`` calls this in its `fit`, and `transform` for the texts that it predicts: the
        latter count as target texts.
        """
        return self.fit(X, y, **fit_params).transform(X, domain="source")

    def __sklearn_clone__(self) -> DomainAdapter:
        twin: DomainAdapter = super().__sklearn_clone__()
        # Each clone gets its own folder in checkpoint_dir, because GridSearchCV fits many.
        twin._is_clone = True
        return twin

    def __sklearn_is_fitted__(self) -> bool:
        return "fitted_" in vars(self)

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
        check_is_fitted(self)
        saving.save(self._saved(), folder)

    def _saved(self) -> saving.Saved:
        trained = self._trained
        return saving.Saved(
            {**self.params_, **self._check_at_prediction()},
            trained.fitted,
            trained.model,
            trained.method_weights,
            trained.neighborhood,
            trained.alignment,
            trained.knowledge,
            trained.novelty,
        )

    def push_to_hub(self, name: str, private: bool = False, token: str | None = None) -> str:
        """Put the model on the Hugging Face hub, and return its address.

        The published model includes the hyperparameters, among them the encoder's path, and, if
        `neighbors` is set, features of target texts. An earlier model of that name is replaced.

        Parameters
        ----------
        name : str
            "user/model", which `from_pretrained` then accepts in place of a folder.
        private : bool
            Whether the repository is private if it has to be created.
        token : str, optional
            None uses the token that ``hf auth login`` stored.

        Raises
        ------
        ValueError
            If the repository holds something other than a model of this package.

        """
        check_is_fitted(self)
        return saving.push(self._saved(), name, private, token)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | PathLike[str],
        device: str | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        token: str | None = None,
    ) -> DomainAdapter:
        """Load what `save_pretrained` wrote. No pickle is read and no code from the folder runs.

        Parameters
        ----------
        folder : str or path
            A folder, or the name of a model on the hub, "user/model", if no folder has that name.
        device : str, optional
        trust_remote_code : bool
            Let the encoder run code from the folder.
        revision, token : str, optional
            For a model on the hub: a commit, and the token that gives access to a private model.

        Raises
        ------
        ValueError
            If a file is missing, damaged or changed since it was saved, or the hub has no such
            model.

        """
        folder = saving.located(folder, revision, token)
        saved = saving.load(folder, cls._get_param_names(), device, trust_remote_code)
        adapter = cls(**saved.params)
        adapter._loaded_from = str(folder)
        return adapter._take(
            Trained(
                saved.model,
                saved.method_weights,
                saved.fitted,
                saved.neighborhood,
                saved.alignment,
                saved.knowledge,
                saved.novelty,
            )
        )


def _advised(texts: Texts, params: Mapping[str, Any]) -> advice.Advice:
    """Return what is advised for these texts, and say why."""
    for name in ("method_options", "max_strength"):
        if params[name] is not None:
            raise ValueError(
                f"{name}={params[name]!r} means something different to each method; name the "
                "method, or leave it None."
            )
    advised = advice.advice_for(texts, params)
    if params["progress"]:
        advice.announce(advised)
    return advised


def adapter_of(params: Mapping[str, Any], trained: Trained) -> DomainAdapter:
    """Return the estimator of a run that was trained with these hyperparameters."""
    return DomainAdapter(**params)._take(trained)
