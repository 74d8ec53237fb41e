"""What a sentiment model has to beat, and what it judges better with: logistic regression on a review's words.

Each word and n-gram that is there is a feature, its place and number forgotten, and counts as much as it tells the
positive from the negative by itself: its log-count ratio (NB-SVM: Wang & Manning 2012, who show how strong that is).
An LSTM and a bag of words err on different reviews, and both together err less (Mesnil et al. 2015).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from experiments.reviews import Examples

STRENGTHS = (0.03, 0.1, 0.3)  # inverse weights of the penalty, of which the validation reviews choose


class BagOfWords(NamedTuple):
    """A judge of reviews."""

    symbols: Sequence[int]  # how many ids there are for a word, and for each n-gram beside it
    weights: np.ndarray  # [the sum of `symbols`]
    bias: float

    def logits(self, ids: np.ndarray) -> np.ndarray:
        """Ids [N, T], or [N, T, E] with n-grams -> the logit [N] of a positive review."""
        return _features(ids, self.symbols) @ self.weights + self.bias


def fit_bag_of_words(examples: Examples, validation: Examples, symbols: Sequence[int]) -> BagOfWords:
    """Learns from labels, or from the probability that a review is positive: the surer it is, the more it counts."""
    features = _features(examples.ids, symbols)
    labels, certainty = examples.labels > 0.5, np.abs(2 * examples.labels - 1)
    ratios = np.diff(MultinomialNB().fit(features, labels, certainty).feature_log_prob_, axis=0)[0]
    weighted = features.multiply(ratios).tocsr()
    models = [
        LogisticRegression(C=strength, solver="liblinear").fit(weighted, labels, certainty) for strength in STRENGTHS
    ]
    of_validation = _features(validation.ids, symbols).multiply(ratios).tocsr()
    best = max(models, key=lambda model: model.score(of_validation, validation.labels > 0.5))
    return BagOfWords(symbols, ratios * best.coef_[0], float(best.intercept_[0]))


class Trust(NamedTuple):
    """How far each of several judges is to be trusted."""

    weights: np.ndarray  # [of judges]
    bias: float

    def logits(self, by_each: Sequence[np.ndarray]) -> np.ndarray:
        """The logits [N] of each judge -> those [N] of what they say together."""
        return np.stack(by_each, axis=1) @ self.weights + self.bias


def fit_trust(by_each: Sequence[np.ndarray], labels: np.ndarray) -> Trust:
    """Trust by the logits [N] that each judge gives where the labels [N] are known; equal trust where all are alike.

    Both labels count alike, however many reviews have them: validation reviews drawn film by film are 0.4 to 0.65
    positive, and a bias learnt from that would tell nothing of other reviews.
    """
    if len(np.unique(labels)) < 2:
        return Trust(np.full(len(by_each), 1 / len(by_each)), 0.0)
    model = LogisticRegression(class_weight="balanced").fit(np.stack(by_each, axis=1), labels)
    return Trust(model.coef_[0], float(model.intercept_[0]))


def _features(ids: np.ndarray, symbols: Sequence[int]) -> sparse.csr_matrix:
    """[N, the sum of `symbols`], 1 for what a review has; id 0 is no symbol."""
    ids = ids.reshape(len(ids), -1)
    first = np.cumsum([0, *symbols[:-1]], dtype=np.int32)
    there = ids > 0
    columns = (ids + np.tile(first, ids.shape[1] // len(symbols)))[there]
    ends = np.cumsum([0, *np.sum(there, axis=1)])
    found = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), (len(ids), sum(symbols)))
    found.sum_duplicates()
    found.data[:] = 1
    return found
