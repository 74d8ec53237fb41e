"""The data of the experiments: found or downloaded (`fetch`), read (`imdb`, `udhr`, `sample`), cut up (`text`)."""
