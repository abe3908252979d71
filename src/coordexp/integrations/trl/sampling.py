"""Answers by chance, by the constrained decoder, with the tokens told apart that it forced.

Braces, keys and commas are no decision of the model's, and half of an answer's tokens: the decoder
appends them without asking, so that an answer takes fewer passes, and the objective leaves their
log-probabilities out.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.inference.decode.constrained import AnswerTokenIds, ConstrainedDecoder
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.pick import by_chance
from coordexp.integrations.trl.rows import Row, row_picture, rows_to_records
from coordexp.rendering.encode import Encoder, Example


@dataclass(frozen=True, slots=True)
class Sampler:
    """Answers rows of the dataset.

    Args:
        encoder: Of the model.
        vocab: The coord vocabulary.
        grammar: What may be said.
        temperature: Of every choice.
        max_new_tokens: After this many no object is begun; the last one is finished.
    """

    encoder: Encoder
    vocab: CoordVocab
    grammar: AnswerGrammar
    temperature: float
    max_new_tokens: int

    def prompts(self, rows: Sequence[Row]) -> list[Example]:
        """Return the prompt of each row; the same row comes several times, and is encoded once."""
        records = rows_to_records([row["record"] for row in rows], self.encoder.style.alphabet)
        known: dict[str, Example] = {}
        for row, record in zip(rows, records, strict=True):
            if row["record"] not in known:
                picture = row_picture(row, record)
                known[row["record"]] = self.encoder.encode_prompt(record, picture)
        return [known[row["record"]] for row in rows]

    def answers(
        self, model: PreTrainedModel | PeftModel, prompts: Sequence[Example]
    ) -> list[AnswerTokenIds]:
        """Return an answer to each prompt.

        Args:
            model: As it is now: what has been learned of the head is read anew.
            prompts: From `prompts`.
        """
        with answering(model):
            decoder = ConstrainedDecoder(
                model, self.encoder, self.vocab, self.grammar, pick=by_chance(self.temperature)
            )
            return decoder.tokens(prompts, max_new_tokens=self.max_new_tokens)


@contextmanager
def answering(model: nn.Module) -> Iterator[None]:
    """Put a model in evaluation mode for a while: no dropout, and a cache."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def picture_tensors(prompts: Sequence[Example]) -> dict[str, Tensor]:
    """Return the patches of all prompts as the model takes them."""
    return {
        "pixel_values": torch.cat([prompt.pixel_values for prompt in prompts]),
        "image_grid_thw": torch.cat([prompt.image_grid_thw for prompt in prompts]),
    }
