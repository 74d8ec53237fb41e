"""Models as pure functions: `init_*(key, ...) -> params`, then `apply(params, inputs, ...) -> outputs`.

`classifier` gives one label for a sequence, `pooled_classifier` one for a long sequence, `tagger` a label at
every step, `autoencoder` rebuilds a sequence from a code, `language_model` predicts the next symbol,
`missing_words` which words a text lacks, `seq2seq` turns one string of symbols into another.
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
from jaxlstm.models.missing_words import MissingWordsParams, init_missing_words, missing_words_loss
from jaxlstm.models.pooled_classifier import PooledClassifierParams, classify_pooled, init_pooled_classifier
from jaxlstm.models.seq2seq import Seq2SeqParams, encode_source, init_seq2seq, next_target, target_logits
from jaxlstm.models.tagger import TaggerParams, init_tagger, tag

__all__ = [
    "AutoencoderParams",
    "ClassifierParams",
    "CompositeParams",
    "MissingWordsParams",
    "PooledClassifierParams",
    "Seq2SeqParams",
    "TaggerParams",
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
    "init_missing_words",
    "init_pooled_classifier",
    "init_seq2seq",
    "init_tagger",
    "log_probabilities",
    "missing_words_loss",
    "next_symbol",
    "next_symbol_logits",
    "next_target",
    "read_symbols",
    "reconstruct",
    "reconstruct_and_predict",
    "tag",
    "target_logits",
]
