"""The special tokens of a tokenizer, which no text of a sample may hold.

One in an answer would end it, one in a prompt would stand for a picture. Coord tokens are special
to the tokenizer and allowed in text.
"""

import re

from transformers import PreTrainedTokenizerBase

from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.contract.chat import Chat, Sample
from coordexp.data.contract.record import Record
from coordexp.errors import RecordError


class ReservedTokens:
    """Finds special tokens in text.

    Args:
        tokenizer: Whose special tokens they are.
        alphabet: Of the coord tokens, which are allowed.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, alphabet: CoordAlphabet) -> None:
        allowed = {*alphabet.tokens(), alphabet.wildcard}
        added = tokenizer.added_tokens_decoder.values()
        special = [token.content for token in added if token.special]
        self._pattern = re.compile(
            "|".join(re.escape(content) for content in special if content not in allowed)
        )

    def found_in(self, text: str) -> str | None:
        """Return the first special token in a text, None where there is none."""
        found = self._pattern.search(text)
        return None if found is None else found.group()

    def check(self, sample: Sample) -> None:
        """Check that no text of a sample holds a special token.

        Raises:
            RecordError: If one does; it names the object or the message.
        """
        if isinstance(sample, Chat):
            self.check_chat(sample)
        else:
            self.check_prompt(sample)
            self.check_descs(sample)

    def check_chat(self, chat: Chat) -> None:
        """Check the messages of a chat.

        Raises:
            RecordError: If one holds a special token; it names the message.
        """
        for place, message in enumerate(chat.messages):
            if token := self.found_in(message.content):
                raise RecordError(f"messages[{place}]: holds the special token {token}")

    def check_prompt(self, record: Record) -> None:
        """Check the prompt of a record, where it has one of its own.

        Raises:
            RecordError: If it holds a special token.
        """
        if record.prompt and (token := self.found_in(record.prompt)):
            raise RecordError(f"prompt: holds the special token {token}")

    def check_descs(self, record: Record) -> None:
        """Check the descs of the objects that are taught.

        Raises:
            RecordError: If one holds a special token; it names the object.
        """
        for place, item in enumerate(record.objects):
            if item.marks.is_taught and (token := self.found_in(item.desc)):
                raise RecordError(f"desc: holds the special token {token}", obj=place)
