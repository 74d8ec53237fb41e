"""The systems: `python -m experiments NAME`.

The file of its name holds each of them, to be read from top to bottom: a config, data, a model, training, pictures.
Beside them, `command` is the command line, and `session`, `presets`, `checks`, `keys` and `learning` are what they
share. langid reads with `bilingual`, its models are in `language_models` and `contrast`; sentiment reads with
`reviews`, `pretraining` and `self_training`, its model is in `review_classifier`; manylang reads with `declarations`,
charlm writes with `writing`; `bag_of_words`, `ngram` and `identifiers` are what they are measured by.
"""
