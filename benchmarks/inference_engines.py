"""The grammar of an answer in xgrammar and in llguidance, for `inference.py engines`.

    pip install xgrammar llguidance        neither is a dependency of the project

Both get it with object numbers written out, coordinates as the 1000 token ids that they are, and
free text or a list of descs. llguidance gives the tokens that it forces. xgrammar gives forced
text, whose last token is taken back where it could grow together with what follows, so that tokens
stay those of training.

Not said by these grammars: that a second corner is no smaller than the first, and how to close an
answer that grows too long.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.rendering.dense_json import SEPARATORS
from coordexp.rendering.encode import Encoder

MOST_OBJECTS = 60
ENGINES = ("xgrammar", "llguidance")


class State(Protocol):
    """Where an answer stands in an engine's grammar."""

    def forced(self) -> list[int]:
        """Go on by what is forced, and return it."""

    def fill(self, mask: Tensor, row: int) -> None:
        """Write the bits of the ids that may come next."""

    def take(self, token_id: int) -> None:
        """Go on by a token that may come next."""

    def over(self) -> bool:
        """Return whether only the end of the turn is left."""


class Grammar(Protocol):
    """An engine's compiled grammar."""

    def start(self) -> State:
        """Return the beginning of an answer."""


def rules(encoder: Encoder, restrict_to: Sequence[str] | None, coord: str, text: str) -> list[str]:
    """Return the rules of an answer, in the notation that both engines share.

    Args:
        encoder: Says which spaces the JSON has.
        restrict_to: The only descs there may be; None for free text.
        coord: What one coordinate is.
        text: What free text is, with the quote that ends it.
    """
    comma, colon = (json.dumps(mark) for mark in SEPARATORS[encoder.style.json_format])
    quote = r'"\""'
    sep = f"{quote} {comma} {quote}"
    desc = text
    if restrict_to is not None:
        inner = [json.dumps(name, ensure_ascii=False)[1:] for name in restrict_to]
        desc = "(" + " | ".join(json.dumps(name, ensure_ascii=False) for name in inner) + ")"
    four = f" {sep} ".join([coord] * 4)
    pair = f"{sep} {coord} {sep} {coord}"
    found = [
        f'geometry: "bbox_2d" {quote} {colon} "[" {quote} {four} {quote} "]"'
        f' | "poly" {quote} {colon} "[" {quote} {four} {pair} ({pair})* {quote} "]"'
        f' | "line" {quote} {colon} "[" {quote} {four} ({pair})* {quote} "]"',
        f'body: {quote} {colon} "{{" {quote} "desc" {quote} {colon} {quote} {desc}'
        f' {comma} {quote} geometry "}}"',
    ]
    for number in range(1, MOST_OBJECTS + 1):
        then = '"}"' if number == MOST_OBJECTS else f'("}}" | {comma} object{number + 1})'
        found.append(f'object{number}: {quote} "object_{number}" body {then}')
    return found


class XGrammar:
    """The grammar in xgrammar.

    Args:
        encoder: Whose answers.
        vocab: Its coord vocabulary.
        vocab_size: Rows of the head.
        restrict_to: The only descs there may be.
    """

    def __init__(
        self,
        encoder: Encoder,
        vocab: CoordVocab,
        vocab_size: int,
        restrict_to: Sequence[str] | None,
    ) -> None:
        self.engine: Any = import_module("xgrammar")
        self.tokenizer = encoder.tokenizer
        info = self.engine.TokenizerInfo.from_huggingface(
            encoder.tokenizer, vocab_size=vocab_size, stop_token_ids=[encoder.end_of_turn_id]
        )
        char = r'([^"\\\x00-\x1f] | "\\" (["\\bfnrt] | "u00" [01] [0-9a-f]))'
        seen = r'([^"\\\x00-\x20] | "\\" ["\\])'
        ids = ", ".join(map(str, vocab.ids))
        found = rules(encoder, restrict_to, "coord", "text")
        written = [rule.replace(": ", " ::= ", 1) for rule in found]
        start = 'root ::= "{" ("}" | object1)'
        named = [f"coord ::= Token({ids})", f'text ::= " " text | {seen} rest']
        # With the quote inside, a mask in free text is cached; behind it, 50 ms are spent on each.
        named.append(f'rest ::= "\\"" | {char} rest')
        source = "\n".join([start, *written, *named])
        compiler = self.engine.GrammarCompiler(info, max_threads=1)
        self.compiled = compiler.compile_grammar(self.engine.Grammar.from_ebnf(source))
        self.vocab_size = vocab_size
        self.coords = np.zeros(-(-vocab_size // 32) * 32, dtype=np.bool_)
        self.coords[vocab.ids.start : vocab.ids.stop] = True
        self.encoded: dict[str, list[int]] = {}

    def start(self) -> "XGrammarState":
        """Return the beginning of an answer."""
        return XGrammarState(self)


class XGrammarState:
    """A place in it."""

    def __init__(self, grammar: XGrammar) -> None:
        self._grammar = grammar
        self._matcher = grammar.engine.GrammarMatcher(grammar.compiled)
        self._mask = grammar.engine.allocate_token_bitmask(1, grammar.vocab_size)

    def forced(self) -> list[int]:
        """Go on by what is forced, and return it."""
        jump: str = self._matcher.find_jump_forward_string()
        if not jump:
            return []
        encoded = self._grammar.encoded
        if jump not in encoded:
            encoded[jump] = self._grammar.tokenizer.encode(jump, add_special_tokens=False)
        ids = list(encoded[jump])
        for token_id in ids:
            self.take(token_id)
        if not self.over() and self._could_grow():
            self._matcher.rollback(1)
            ids.pop()
        return ids

    def _could_grow(self) -> bool:
        self.fill(self._mask, 0)
        return bool((allowed(self._mask)[0] & ~self._grammar.coords).any())

    def fill(self, mask: Tensor, row: int) -> None:
        """Write the bits of the ids that may come next."""
        self._matcher.fill_next_token_bitmask(mask, row)

    def take(self, token_id: int) -> None:
        """Go on by a token that may come next."""
        if not self._matcher.accept_token(token_id):
            raise ValueError(f"xgrammar does not take {token_id}")

    def over(self) -> bool:
        """Return whether only the end of the turn is left."""
        return bool(self._matcher.is_completed())


class LLGuidance:
    """The grammar in llguidance.

    Args:
        encoder: Whose answers.
        vocab: Its coord vocabulary.
        vocab_size: Rows of the head.
        restrict_to: The only descs there may be.
    """

    def __init__(
        self,
        encoder: Encoder,
        vocab: CoordVocab,
        vocab_size: int,
        restrict_to: Sequence[str] | None,
    ) -> None:
        self.engine: Any = import_module("llguidance")
        self.torch: Any = import_module("llguidance.torch")
        from_tokenizer: Any = import_module("llguidance.hf").from_tokenizer
        self.tokenizer = from_tokenizer(
            encoder.tokenizer,
            n_vocab=vocab_size,
            eos_token=encoder.end_of_turn_id,
            alphabet=SPEC_ALPHABET,
        )
        char = r'([^"\\\x00-\x1f]|\\(["\\bfnrt]|u00[01][0-9a-f]))'
        # In two, a mask takes a fifth of the time that it takes of the same in one expression.
        text = rf'TEXT: /{char}*([^"\\\x00-\x20]|\\["\\])/ /{char}*/'
        coord = f"<[{vocab.ids.start}-{vocab.ids.stop - 1}]>"
        found = rules(encoder, restrict_to, coord, r'TEXT "\""')
        source = "\n".join(['start: "{" ("}" | object1)', *found, text])
        self.grammar = self.engine.LLMatcher.grammar_from_lark(source)
        problem = self.engine.LLMatcher.validate_grammar(self.grammar, self.tokenizer)
        if problem:
            raise ValueError(problem)
        self.first = self.engine.LLMatcher(self.tokenizer, self.grammar)

    def start(self) -> "LLGuidanceState":
        """Return the beginning of an answer."""
        return LLGuidanceState(self)


class LLGuidanceState:
    """A place in it."""

    def __init__(self, grammar: LLGuidance) -> None:
        self._grammar = grammar
        self._matcher = grammar.first.deep_copy()

    def forced(self) -> list[int]:
        """Go on by what is forced, and return it."""
        ids: list[int] = self._matcher.compute_ff_tokens()
        for token_id in ids:
            self.take(token_id)
        return ids

    def fill(self, mask: Tensor, row: int) -> None:
        """Write the bits of the ids that may come next."""
        self._grammar.torch.fill_next_token_bitmask(self._matcher, mask, row)

    def take(self, token_id: int) -> None:
        """Go on by a token that may come next."""
        if not self._matcher.consume_token(token_id):
            raise ValueError(f"llguidance: {self._matcher.get_error()}")

    def over(self) -> bool:
        """Return whether only the end of the turn is left."""
        return bool(self._matcher.is_stopped())


def build_grammar(
    name: str,
    encoder: Encoder,
    vocab: CoordVocab,
    vocab_size: int,
    restrict_to: Sequence[str] | None,
) -> Grammar:
    """Return an engine's grammar."""
    kind = XGrammar if name == "xgrammar" else LLGuidance
    return kind(encoder, vocab, vocab_size, restrict_to)


def allowed(mask: Tensor) -> NDArray[np.bool_]:
    """Return the bits of a mask as flags."""
    return np.unpackbits(mask.numpy().view(np.uint8), axis=1, bitorder="little").view(np.bool_)


def versions() -> dict[str, str]:
    """Return the versions of both."""
    return {name: version(name) for name in ENGINES}
