"""Models as pure functions: `init_*(key, ...) -> params`, then `apply(params, inputs, ...) -> outputs`.

`classifier` gives one label for a sequence, `pooled_classifier` one for a long sequence, `tagger` a label at
every step, `autoencoder` rebuilds a sequence from a code, `language_model` predicts the next symbol, `word_model`
the words on both sides, `seq2seq` turns one string of symbols into another.
"""

from jaxlstm.models.autoencoder import (
    AutoencoderParams,
    CompositeParams,
    decode,
    encode,
    init_autoencoder,
    init_composite,
    reconstruct,
    reconstruct_and_predict,
)
from jaxlstm.models.classifier import ClassifierParams, classify, classify_prefixes, init_classifier
from jaxlstm.models.language_model import (
    init_language_model,
    log_probabilities,
    next_symbol,
    next_symbol_logits,
    read_symbols,
)
from jaxlstm.models.pooled_classifier import PooledClassifierParams, classify_pooled, init_pooled_classifier
from jaxlstm.models.seq2seq import Seq2SeqParams, encode_source, init_seq2seq, next_target, target_logits
from jaxlstm.models.tagger import TaggerParams, init_tagger, tag
from jaxlstm.models.word_model import WordModelParams, init_word_model, words_around_loss

__all__ = [
    "AutoencoderParams",
    "ClassifierParams",
    "CompositeParams",
    "PooledClassifierParams",
    "Seq2SeqParams",
    "TaggerParams",
    "WordModelParams",
    "classify",
    "classify_pooled",
    "classify_prefixes",
    "decode",
    "encode",
    "encode_source",
    "init_autoencoder",
    "init_classifier",
    "init_composite",
    "init_language_model",
    "init_pooled_classifier",
    "init_seq2seq",
    "init_tagger",
    "init_word_model",
    "log_probabilities",
    "next_symbol",
    "next_symbol_logits",
    "next_target",
    "read_symbols",
    "reconstruct",
    "reconstruct_and_predict",
    "tag",
    "target_logits",
    "words_around_loss",
]
