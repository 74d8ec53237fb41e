"""The bag of words that sentiment is measured against."""

import numpy as np

from experiments.bag_of_words import bag_of_words_accuracy
from experiments.reviews import Examples, Parts


def test_a_pair_of_words_can_decide():
    # The same words in every review: "5 6" where it is positive, "6 5" where not; padding on the left.
    rng = np.random.default_rng(0)

    def examples(count):
        labels = np.arange(count) % 2
        ids = np.zeros((count, 9), int)
        for row, label in zip(ids, labels, strict=True):
            others = rng.permutation([7, 8, 9, 10])
            row[3:] = [*others[:2], *((5, 6) if label else (6, 5)), *others[2:]]
        return Examples(ids, labels)

    train, validation, test = examples(80), examples(20), examples(40)
    assert bag_of_words_accuracy(Parts(train, validation, test, train.ids)) == 1.0
    shuffled = test._replace(labels=rng.permutation(test.labels))
    assert bag_of_words_accuracy(Parts(train, validation, shuffled, train.ids)) < 0.8
    # Pairs beside the words change nothing: it reads the words.
    doubled = [part._replace(ids=np.stack([part.ids, part.ids + 1], axis=-1)) for part in (train, validation, test)]
    assert bag_of_words_accuracy(Parts(*doubled, train.ids)) == 1.0
