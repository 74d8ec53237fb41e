"""The data of the experiments.

`fetch` finds and downloads; `imdb`, `corpus`, `udhr`, `genesis`, `sample` and `series` read; `text`, `word_ids` and
`ngrams` cut what was read.
"""
