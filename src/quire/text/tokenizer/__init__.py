"""Text to token ids and back: the tokenizer of a model folder, and detokenising as tokens arrive."""

from quire.text.tokenizer.absent import WITHOUT, AbsentTokenizer
from quire.text.tokenizer.files import read_json_object, read_special_tokens, read_tokenizer_config
from quire.text.tokenizer.incremental import IncrementalDetokenizer
from quire.text.tokenizer.tokenizer import Tokenizer

__all__ = [
    "WITHOUT",
    "AbsentTokenizer",
    "IncrementalDetokenizer",
    "Tokenizer",
    "read_json_object",
    "read_special_tokens",
    "read_tokenizer_config",
]
