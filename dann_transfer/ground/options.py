"""The methods by name: what each does, its default strength and its options; free of torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from dann_transfer.ground.checks import Hyperparameter, did_you_mean, nearest

AUTO = "auto"
"""What `DomainAdapter` takes in place of a method's name, to train several and keep one."""
CANDIDATES_COMPLETED = "candidates_completed"
"""The event that the engine of the last candidate of "auto" fires, once no other is trained."""
Option = Hyperparameter
"""One keyword of a method: the same facts as about a keyword of `DomainAdapter`."""


@dataclass(frozen=True)
class MethodEntry:
    """What the table says of a method.

    Attributes
    ----------
    meaning : str
        What the method does, in a line.
    default_strength : float
        The `max_strength` used if the user sets none.
    options : mapping of str to Option
    reference : str
        Authors and year.

    """

    meaning: str
    default_strength: float = 1.0
    options: Mapping[str, Option] = field(default_factory=dict)
    reference: str = ""


def _whole(default: int, meaning: str, low: int = 1) -> Option:
    return Option(default, meaning, low=low, whole=True)


def _number(default: float, meaning: str, **bounds: Any) -> Option:
    return Option(default, meaning, **{"low": 0, **bounds})


def _discriminator(width: int = 512, steps: int = 3) -> dict[str, Option]:
    return {
        "width": _whole(width, "units in each hidden layer of the discriminator or critic"),
        "discriminator_steps": _whole(
            steps,
            "extra steps of the discriminator per batch, on detached features, since one that lags "
            "behind is fooled although the features are not aligned",
            low=0,
        ),
    }


_SMOOTHED = _discriminator() | {
    "label_smoothing": _number(
        0.0, "the share by which the domains' labels are moved towards 1/2", high=1
    )
}
_CROSSED = _discriminator() | {
    "max_width": _whole(4096, "the widest input of the discriminator; a random map replaces more")
}
_CLASSIFIER = {"width": _whole(512, "units in the hidden layer of each additional classifier")}


def _extra_epochs(default: str) -> dict[str, Option]:
    meaning = f"passes over the source's texts in the second phase; None is {default} the first"
    return {"extra_epochs": Option(None, meaning, low=1, whole=True, optional=True)}


SCORES = (
    "source_validation",
    "information_maximization",
    "neighborhood_density",
    "batch_nuclear_norm",
    "cluster_agreement",
    "importance_weighted_validation",
    "deep_embedded_validation",
    "reverse_validation",
)
"""The names of `selection.SCORES`."""


METHODS: dict[str, MethodEntry] = {
    "source_only": MethodEntry("no adaptation: what every other method must beat", 0.0),
    "dann": MethodEntry(
        "features from which a discriminator cannot tell the domains apart",
        0.2,
        _SMOOTHED,
        "Ganin et al. 2016",
    ),
    "cdan": MethodEntry(
        "the same, but the discriminator sees features crossed with predictions",
        0.2,
        _CROSSED,
        "Long et al. 2018",
    ),
    "cdan+e": MethodEntry(
        "as `cdan`, with more weight on sure predictions", 0.2, _CROSSED, "Long et al. 2018"
    ),
    "iwdan": MethodEntry(
        "as `dann`, with source texts weighed by how common their class seems to be in the target",
        0.2,
        _SMOOTHED
        | {
            "estimate_every": _whole(
                10, "number of steps from one estimate of the classes' weights to the next"
            ),
            "momentum": _number(
                0.5, "the share of an estimate in the weights that follow it", high=1, above=True
            ),
        },
        "Tachet des Combes et al. 2020",
    ),
    "wdgrl": MethodEntry(
        "a critic's Wasserstein distance instead of a discriminator",
        0.1,
        _discriminator(256, 5) | {"penalty": _number(10.0, "weight of the gradient penalty")},
        "Shen et al. 2018",
    ),
    "mcd": MethodEntry(
        "no target text on which two classifiers disagree", 0.1, _CLASSIFIER, "Saito et al. 2018"
    ),
    "mdd": MethodEntry(
        "no second classifier that agrees on the source and differs on the target",
        0.1,
        _CLASSIFIER
        | {
            "margin": _number(
                4.0, "the paper's γ: the weight of agreeing on the source", above=True
            )
        },
        "Zhang et al. 2019",
    ),
    "adda": MethodEntry(
        "first the source, then a separate encoder for the target, in two phases",
        0.05,
        _discriminator() | _extra_epochs("a third of those of"),
        "Tzeng et al. 2017",
    ),
    "mdan": MethodEntry(
        "several sources, with more weight on the harder ones",
        0.2,
        _discriminator()
        | {
            "sharpness": _number(
                10.0, "the paper's γ: how strongly the hardest domain dominates", above=True
            )
        },
        "Zhao et al. 2018",
    ),
    "mmd": MethodEntry("equal moments of the features", 1.0, {}, "Long et al. 2015"),
    "jan": MethodEntry("equal moments of features and predictions", 1.0, {}, "Long et al. 2017"),
    "coral": MethodEntry("equal covariances of the features", 1e4, {}, "Sun and Saenko 2016"),
    "afn": MethodEntry(
        "larger feature norms in both domains",
        0.05,
        {"step": _number(1.0, "how much larger each norm should become")},
        "Xu et al. 2019",
    ),
    "bsp": MethodEntry(
        'no few directions that dominate; with an adversarial method, as in `"dann+bsp"`',
        1e-4,
        {"k": _whole(1, "how many singular values of each domain are penalised")},
        "Chen et al. 2019",
    ),
    "mcc": MethodEntry(
        "decide for one class on each target text; aligns nothing",
        1.0,
        {
            "temperature": _number(
                2.5, "divides the logits before the classes' confusion is measured", above=True
            )
        },
        "Jin et al. 2020",
    ),
    "mlm": MethodEntry(
        "keep predicting the target's masked words alongside the task",
        1.0,
        {
            "probability": _number(
                0.15,
                "share of the tokens to predict, of which 80 % are masked, 10 % replaced by a "
                "random token and 10 % left as they are",
                high=1,
                above=True,
                below=True,
            )
        },
        "Karouzos et al. 2021",
    ),
    "self_training": MethodEntry(
        "train on the surest target predictions of a mean teacher, more of them every epoch",
        1.0,
        {
            "max_share": _number(1.0, "factor on the curriculum's shares", high=1, above=True),
            "teacher_momentum": _number(
                0.05,
                "the share by which the teacher moves towards the model at each step",
                high=1,
                above=True,
                below=True,
            ),
        },
        "Zou et al. 2018; Tarvainen and Valpola 2017",
    ),
    "shot": MethodEntry(
        "first the source; then target texts gather around the classes' centroids in their own "
        "space, in two phases",
        1.0,
        _extra_epochs("as many as in")
        | {
            "pseudo_weight": _number(
                0.3, "weight of the cross-entropy on the centroids' labels (the paper's beta)"
            ),
            "diversity": _number(
                1.0,
                "weight of the entropy of the mean prediction (1 in the paper); 0 if the target's "
                "classes are far from equally frequent",
            ),
        },
        "Liang et al. 2020",
    ),
    "student": MethodEntry(
        "first the source; then a fresh model on the target's texts, labelled by the first one and "
        "by nearest texts, in two phases",
        1.0,
        _extra_epochs("as many as in")
        | {
            "neighbors": Option(
                None,
                "number of nearest target texts that a label is averaged over; 0 takes the "
                "teacher's own, and None is 10, or fewer where classes are small",
                low=0,
                whole=True,
                optional=True,
            ),
            "members": _whole(1, "number of students; the mean of several teaches a last one"),
            "align": Option(
                False,
                "whether the target is labelled from features that a map has moved onto the "
                "source's, as `align` does after training",
                choices=(False, True),
            ),
            "partial": Option(
                False,
                "whether no target text is labelled as a class that the estimate of the target's "
                "class shares finds absent there",
                choices=(False, True),
            ),
        },
        "Iscen et al. 2019; Xie et al. 2020",
    ),
}
"""Every registered method by name: those of the package, and those that `register` adds."""


def check_score(name: str) -> None:
    """Raise a ValueError if there is no such score to search by.

    Examples
    --------
    >>> check_score("neighbourhood_density")
    Traceback (most recent call last):
    ValueError: score='neighbourhood_density' is not known; did you mean 'neighborhood_density'?...

    """
    if name not in SCORES:
        near = nearest(str(name), SCORES)
        choose = "choose" if near is None else f"did you mean {near!r}? Choose"
        raise ValueError(f"score={name!r} is not known; {choose} one of {list(SCORES)}.")


def checked_options(method: str, table: Mapping[str, Option], values: Mapping[str, Any]) -> dict:
    """Return the value of each option, with defaults for those left out.

    Raises
    ------
    TypeError
        If the method has no such option.
    ValueError
        If a value is out of bounds.

    Examples
    --------
    >>> checked_options("mcc", METHODS["mcc"].options, {})
    {'temperature': 2.5}
    >>> checked_options("mcc", METHODS["mcc"].options, {"temperature": 0})
    Traceback (most recent call last):
    ValueError: temperature=0 of mcc must be a number above 0.

    """
    if unknown := [name for name in values if name not in table]:
        hint = did_you_mean(unknown[0], table)
        raise TypeError(
            f"{method} has no option {unknown[0]!r}; its options are {list(table)}.{hint}"
        )
    full = {name: option.default for name, option in table.items()} | dict(values)
    for name, value in full.items():
        table[name].check(name, value, f" of {method}")
    return {name: _plain(value, table[name]) for name, value in full.items()}


def _plain(value: Any, option: Option) -> Any:
    if option.low is None or value is None:
        return value
    return int(value) if option.whole else float(value)


def parts_of(name: str) -> list[str]:
    """Split a combination into registered names, taking the longest match each time.

    Raises
    ------
    ValueError
        If a part is not known or is named twice.

    Examples
    --------
    >>> from dann_transfer import methods
    >>> methods.parts_of("cdan+e+mcc")
    ['cdan+e', 'mcc']

    """
    words, parts = name.split("+"), []
    while words:
        for n in range(len(words), 0, -1):
            if "+".join(words[:n]) in METHODS:
                parts.append("+".join(words[:n]))
                words = words[n:]
                break
        else:
            what = f"part {words[0]!r} of method={name!r}" if "+" in name else f"method={name!r}"
            near = nearest(words[0], METHODS if "+" in name else [*METHODS, AUTO])
            the = "the" if near is None else f"did you mean {near!r}? The"
            raise ValueError(
                f"{what} is not known; {the} methods are {sorted(METHODS)}, alone or joined with "
                "'+'."
            )
    if len(set(parts)) < len(parts):
        raise ValueError(f"method={name!r} names a part twice; name each once.")
    return parts


def check_new_name(name: str, names: Collection[str]) -> None:
    """Raise a ValueError if a new method's name is empty or means something else already.

    A name with a plus is a combination if its parts are methods, so that neither the name nor one
    that exists already may be both.

    Examples
    --------
    >>> check_new_name("cdan+e", ["cdan"])
    >>> check_new_name("cdan+e", ["cdan", "e"])
    Traceback (most recent call last):
    ValueError: the name 'cdan+e' already means the methods ['cdan', 'e'] together; choose another.

    """
    if not isinstance(name, str) or not all(part.strip() for part in name.split("+")):
        raise ValueError(
            f"a method cannot be named {name!r}; choose a word, or words joined with a plus."
        )
    if name == AUTO:
        raise ValueError(
            f"a method cannot be named {name!r}, which trains several methods and keeps one; "
            "choose another name."
        )
    words = name.split("+")
    if len(words) > 1 and set(words) <= set(names):
        raise ValueError(
            f"the name {name!r} already means the methods {words} together; choose another."
        )
    for old in names:
        parts = set(old.split("+"))
        if name in parts - {old} and parts <= {*names, name}:
            raise ValueError(
                f"with a method named {name!r}, {old!r} would mean a combination too; choose "
                "another name."
            )
