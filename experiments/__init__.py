"""The systems: `python -m experiments NAME`.

Each file holds one of them, to be read from top to bottom: a config, data, a model, training, pictures.
Beside them, `session` is what they share. sentiment reads with `reviews`, `pretraining` and `self_training`, its model
is in `review_classifier`; manylang reads with `declarations`, charlm writes with `writing`; `bag_of_words`, `ngram` and
`identifiers` are what they are measured by.
"""
