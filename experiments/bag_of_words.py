"""What a sentiment model has to beat: logistic regression on the words and the pairs of words of a review.

Each is a feature, weighted by tf-idf, its order and place forgotten (Wang & Manning 2012 show how strong that is).
"""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from experiments.reviews import Parts, words_of
from jaxlstm.data import imdb

STRENGTHS = (5.0, 20.0, 80.0)  # inverse weights of the penalty, of which the validation reviews choose


def bag_of_words_accuracy(parts: Parts) -> float:
    """The share of the test reviews that it judges right."""
    train, validation, test = (_texts(examples.ids) for examples in parts[:3])
    vectorizer = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), min_df=min(3, len(train)), sublinear_tf=True)
    features = vectorizer.fit_transform(train)
    models = [
        LogisticRegression(C=strength, solver="liblinear").fit(features, parts.train.labels) for strength in STRENGTHS
    ]
    of_validation = vectorizer.transform(validation)
    best = max(models, key=lambda model: model.score(of_validation, parts.validation.labels))
    return float(best.score(vectorizer.transform(test), parts.test.labels))


def _texts(ids: np.ndarray) -> list[str]:
    """Each id as a word."""
    return [" ".join(map(str, row[row != imdb.PADDING])) for row in words_of(ids)]
