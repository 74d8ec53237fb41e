"""What sentiment models learn from reviews that nobody has labelled: what they say of them with a bag of words.

All learn from the labels, and together say how likely each other review is positive. Then all learn anew, from the
labels and from these probabilities, and so on, for a few rounds. A new model, itself disturbed by dropout, comes to
judge better than those before (self-training with a noisy student: Xie et al. 2020; probabilities for labels: Hinton
et al. 2015; judges that see different sides of a text teach each other: Blum & Mitchell 1998).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from experiments.bag_of_words import BagOfWords, Trust, fit_bag_of_words, fit_trust
from experiments.judges import LSTM, by_judge
from experiments.review_classifier import Params, logits_of
from experiments.reviews import Examples, Parts, map_reviews, symbol_counts
from experiments.session import Options
from jaxlstm.reporting import console

BAG_OF_WORDS, TOGETHER = "bag_of_words", "together"  # the judges beside the LSTM


class Judges(NamedTuple):
    """The model, or several as one, and the bag of words beside it where there is one."""

    params: Params
    bag: BagOfWords | None = None
    trust: Trust | None = None

    def logits(self, ids: np.ndarray, options: Options) -> dict[str, np.ndarray]:
        """The logits [N] of each, and of both together."""
        logits = {LSTM: map_reviews(logits_of, self.params, ids, options.mesh)}
        if self.bag is not None:
            logits[BAG_OF_WORDS] = self.bag.logits(ids)
        if self.trust is not None:
            logits[TOGETHER] = self.trust.logits(list(logits.values()))
        return logits


def accuracies(logits: Mapping[str, np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """The share of reviews that each judge is right about, by the name that it has among the metrics."""
    shares = {judge: float(np.mean((of_one > 0) == labels)) for judge, of_one in logits.items()}
    return by_judge("accuracy", shares)


def judges_of(params: Params, examples: Examples, validation: Examples, config: Any, options: Options) -> Judges:
    """The model, which has learnt from the examples, and a bag of words that learns from them, if one is asked for.

    The validation reviews tell how far each is to be trusted.
    """
    judges = Judges(params)
    if config.bag_of_words:
        judges = judges._replace(bag=fit_bag_of_words(examples, validation, symbol_counts(config)))
        logits = judges.logits(validation.ids, options)
        trust = fit_trust(list(logits.values()), validation.labels)
        logits[TOGETHER] = trust.logits(list(logits.values()))
        judges = judges._replace(trust=trust)
        shares = accuracies(logits, validation.labels)
        console.print(", ".join(f"{name} {share:.4f}" for name, share in shares.items()) + " on the validation reviews")
    return judges


def examples_taught_by(judges: Judges, parts: Parts, options: Options) -> Examples:
    """The labelled reviews, and the unlabelled ones with the probability of positive that both judges give together."""
    logits = judges.logits(parts.unlabelled, options)[TOGETHER]
    return Examples(
        np.concatenate([parts.train.ids, parts.unlabelled]),
        np.concatenate([parts.train.labels, scipy.special.expit(logits).astype(np.float32)]),
    )
