"""The five systems: `python -m experiments NAME`.

Each file holds one of them, to be read from top to bottom: a config, data, a model, training, pictures.
"""
