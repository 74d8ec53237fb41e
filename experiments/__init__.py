"""The systems: `python -m experiments NAME`.

The file of its name holds each of them, to be read from top to bottom: a config, data, a model, training, pictures.
`command` is the command line, `systems` lists what it runs, `predict` and `export` use a finished run; `session`,
`presets`, `checks`, `keys` and `learning` are what the systems share. langid reads with `bilingual`, its models are in
`language_models` and `contrast`, its pictures in `langid_figures`; manylang reads with `declarations`, its models are
in `manylang_models` and `manylang_classifier`, and train by `manylang_training`; sentiment reads with `reviews`,
`pretraining` and `self_training`, its model is in `review_classifier`; charlm writes with `writing`. `judges` says how
several of them judge the same test; `bag_of_words`, `ngram` and `identifiers` are what they are measured by.
"""
