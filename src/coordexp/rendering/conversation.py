"""The chat template around a prompt and an answer.

The template is the base's own; nothing of its text is written here. What is needed of it is found
once, by rendering a probe: where the answer goes and which token ends the turn.

Some models think before they answer, and their templates ask whether they shall. Ours answer at
once, in training and when they are asked: `enable_thinking` is false, and such a template ends the
prompt with an empty block of thoughts, behind which the answer begins. Others do not look at it.
"""

from collections.abc import Iterator, Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from coordexp.data.contract.chat import IMAGE_MARK, Message
from coordexp.errors import CheckpointError

Turn = dict[str, object]

_PROBE = "An answer that no template holds."


class Conversation:
    """Renders one user turn with a picture, and knows how the assistant's turn ends.

    Args:
        tokenizer: With the base's chat template.
        system_prompt: None leaves the system turn out.

    Raises:
        CheckpointError: If there is no template, or it does not put the answer right after the
            generation prompt, or is broken.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, system_prompt: str | None) -> None:
        if tokenizer.chat_template is None:
            raise CheckpointError("the base has no chat template (chat_template.jinja)")
        self._tokenizer = tokenizer
        self._system_prompt = system_prompt
        self.end_of_turn = self._find_end_of_turn()

    def prompt(self, user_prompt: str) -> str:
        """Return the text before the answer, with one placeholder for the picture."""
        return self._render(self._turns(user_prompt), add_generation_prompt=True)

    def segments(self, messages: Sequence[Message]) -> Iterator[tuple[str, bool]]:
        """Yield the text of a whole chat in pieces, and whether each is an answer with its end.

        Raises:
            CheckpointError: If the template does not put an answer right after the generation
                prompt, or writes a turn another way once others follow.
        """
        turns: list[Turn] = []
        written = ""
        for message in messages:
            if message.role == "assistant":
                prompt = self._render(turns, add_generation_prompt=True)
                if not prompt.startswith(written):
                    raise CheckpointError(
                        "the chat template writes a turn another way once others follow, as those "
                        "of thinking models do with answers; chats with one answer each can be "
                        "trained with it, or take the base's instruct template"
                    )
                yield prompt.removeprefix(written), False
                answer = message.content + self.end_of_turn
                yield answer, True
                written = prompt + answer
            turns.append({"role": message.role, "content": _parts(message)})

    def _turns(self, user_prompt: str) -> list[Turn]:
        user: Turn = {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": user_prompt}],
        }
        if self._system_prompt is None:
            return [user]
        return [{"role": "system", "content": self._system_prompt}, user]

    def _render(self, turns: list[Turn], *, add_generation_prompt: bool) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                turns,  # type: ignore[arg-type] # their type knows text alone
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                enable_thinking=False,
            )
        except (TemplateError, ValueError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CheckpointError(f"the chat template cannot be used: {reason}") from None
        if not isinstance(text, str):
            raise TypeError(f"expected the template to give text, got {type(text).__name__}")
        return text

    def _find_end_of_turn(self) -> str:
        turns = self._turns("?")
        prompt = self._render(turns, add_generation_prompt=True)
        answered = self._render(
            [*turns, {"role": "assistant", "content": _PROBE}], add_generation_prompt=False
        )
        if not answered.startswith(prompt + _PROBE):
            raise CheckpointError(
                "the chat template does not put the answer right after the generation prompt "
                "(a template that always thinks?); use the base's instruct template"
            )
        end = answered.removeprefix(prompt + _PROBE).strip()
        if len(self._tokenizer.encode(end, add_special_tokens=False)) != 1:
            raise CheckpointError(f"expected one token to end the assistant's turn, got {end!r}")
        return end


def _parts(message: Message) -> str | list[dict[str, str]]:
    """Return the content with its marks as pictures."""
    first, *others = message.content.split(IMAGE_MARK)
    if not others:
        return message.content
    parts = [{"type": "text", "text": first}]
    for text in others:
        parts += [{"type": "image"}, {"type": "text", "text": text}]
    return [part for part in parts if part.get("text") != ""]
