"""The systems: `python -m experiments NAME`.

Each file holds one of them, to be read from top to bottom: a config, data, a model, training, pictures.
Beside them, `session` is what they share; charlm writes with `writing` and is measured by `ngram`.
"""
