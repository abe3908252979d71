"""Chat completions as servers send them."""

import math

Listed = dict[str, float]


def completion(
    *said: tuple[str, float] | tuple[str, float, Listed], finish_reason: str = "stop"
) -> dict[str, object]:
    """Return a completion of tokens, each with its probability and, if need be, its rivals."""
    content = []
    for token, p, *rivals in said:
        listed = {token: p, **(rivals[0] if rivals else {})}
        content.append(
            {
                "token": token,
                "logprob": math.log(p),
                "bytes": None,
                "top_logprobs": [
                    {"token": text, "logprob": math.log(q), "bytes": None}
                    for text, q in listed.items()
                ],
            }
        )
    return {
        "id": "1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(s[0] for s in said)},
                "logprobs": {"content": content},
                "finish_reason": finish_reason,
            }
        ],
    }


def box(number: int, desc: str, *bins: int, p: float = 1.0) -> list[tuple[str, float]]:
    """Return the tokens of one object."""
    tokens = [(f'"object_{number}": {{"desc": "', 1.0), (desc, p), ('", "bbox_2d": ["', 1.0)]
    for place, k in enumerate(bins):
        tokens += [('", "', 1.0)] * (place > 0) + [(f"<|coord_{k}|>", 0.9)]
    return [*tokens, ('"]}', 1.0)]


SIX = [("{", 1.0), *box(1, "six", 100, 200, 500, 600, p=0.5), ("}", 1.0)]
