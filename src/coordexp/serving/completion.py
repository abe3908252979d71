"""A chat completion that says an answer, in OpenAI's form.

`top_logprobs` at a coordinate are its likeliest bins, and behind them those around the chosen one
that are not among them: of these a score is made, and a belief may have long tails. Elsewhere the
grammar leaves two or three choices, or free text whose other tokens are not kept; there it is the
token itself.
"""

import json
import math
from collections.abc import Sequence
from heapq import nlargest

from coordexp.answers.answer import Answer
from coordexp.answers.belief import WINDOW_BINS
from coordexp.coord_tokens.codec import CoordAlphabet, token_to_int

_FLOOR = -9999.0  # JSON has no infinity


def completion_json(
    answer: Answer,
    *,
    request_id: str,
    created: int,
    model: str,
    prompt_tokens: int,
    top_logprobs: int | None,
    alphabet: CoordAlphabet,
) -> bytes:
    """Return the body of a reply.

    Args:
        answer: Which the body says; with `coord_log_p` where probabilities are told.
        request_id: A name for it.
        created: When, in seconds since 1970.
        model: What the model is called here.
        prompt_tokens: Of the question.
        top_logprobs: How many bins are told at a coordinate; None tells no probabilities.
        alphabet: Spells the bins.
    """
    said = len(answer.pieces) + (answer.finish_reason == "eos")
    logprobs = None if top_logprobs is None else _logprobs(answer, top_logprobs, alphabet)
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text},
        "logprobs": logprobs,
        "finish_reason": "stop" if answer.finish_reason == "eos" else "length",
    }
    body = {
        "id": request_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": said,
            "total_tokens": prompt_tokens + said,
        },
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _logprobs(answer: Answer, top: int, alphabet: CoordAlphabet) -> dict[str, object]:
    content = []
    for place, piece in enumerate(answer.pieces):
        of_bins = answer.coord_log_p.get(place)
        if of_bins is None:
            log_p = math.log(max(answer.probabilities[place], math.ulp(0.0)))
            listed = [_entry(piece, log_p)] if top else []
        else:
            chosen = token_to_int(piece, alphabet)
            log_p = of_bins[chosen]
            listed = _likeliest(of_bins, top, chosen, alphabet)
        said: dict[str, object] = {**_entry(piece, log_p), "bytes": list(piece.encode())}
        content.append({**said, "top_logprobs": listed})
    return {"content": content}


def _likeliest(
    of_bins: Sequence[float], top: int, chosen: int, alphabet: CoordAlphabet
) -> list[dict[str, object]]:
    bins = nlargest(top, range(len(of_bins)), key=of_bins.__getitem__)
    if top:
        around = range(max(chosen - WINDOW_BINS, 0), min(chosen + WINDOW_BINS + 1, len(of_bins)))
        bins += sorted(set(around).difference(bins))
    return [_entry(alphabet.token(k), of_bins[k]) for k in bins]


def _entry(token: str, log_p: float) -> dict[str, object]:
    return {"token": token, "logprob": max(log_p, _FLOOR), "bytes": None}
