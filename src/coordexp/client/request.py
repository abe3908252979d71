"""What is asked of a server: the conversation of training, and answers that can be scored."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from coordexp.answers.belief import LISTED_TOKENS
from coordexp.data.contract.special_tokens import special_token_in
from coordexp.errors import InputError, RecordError
from coordexp.rendering.style import RenderingStyle

Body = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAsk:
    """How a server is asked.

    Args:
        max_tokens: Longest answer.
        top_logprobs: How many likely tokens are listed at each place. Scores are made of the bins
            among them. `coordexp serve` on transformers adds the bins that are needed.
        constrain: Whether vLLM's server is sent the grammar, inside which it keeps its answers; of
            other servers, whoever started them has decided.
        extra: More fields of the request, for what one kind of server has of its own.
    """

    max_tokens: int = 2048
    top_logprobs: int = LISTED_TOKENS
    constrain: bool = True
    extra: Mapping[str, object] = field(default_factory=dict)


def chat_request(
    style: RenderingStyle, *, model: str, prompt: str | None, url: str, ask: ServedAsk
) -> Body:
    """Return the body of a request for one picture.

    Args:
        style: How the model was trained to be asked.
        model: Its name on the server.
        prompt: Replaces the prompt of training; None leaves it.
        url: The picture.
        ask: How.

    Raises:
        RecordError: If the prompt holds what only a chat template may.
        InputError: If `extra` has a field that is set here.
    """
    if prompt is not None and (token := special_token_in(prompt, style.alphabet)):
        raise RecordError(f"prompt: holds the special token {token}; write it in other words")
    question = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": prompt or style.user_prompt},
    ]
    messages: list[Body] = [{"role": "user", "content": question}]
    if style.system_prompt is not None:
        messages.insert(0, {"role": "system", "content": style.system_prompt})
    body: Body = {
        "model": model,
        "messages": messages,
        "max_tokens": ask.max_tokens,
        # Greedy, whatever the base's generation_config.json says: sampling and penalties distort
        # coordinates and probabilities.
        "temperature": 0.0,
        "top_p": 1.0,
        "repetition_penalty": 1.0,
        "logprobs": True,
        "top_logprobs": ask.top_logprobs,
        # Coord tokens are special to the tokenizer: without this they vanish from the text.
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }
    if taken := sorted(set(ask.extra) & set(body)):
        raise InputError(f"extra: {taken[0]} is set by the client itself")
    return {**body, **ask.extra}
