"""Answers in plain integers, with how probable each desc was."""

from coordexp.answers.answer import Answer


def integer_answer(*said: tuple[str, float]) -> Answer:
    """Return an answer of boxes; each desc is a token with its probability."""
    pieces: list[tuple[str, float]] = [("{", 1.0)]
    for number, (desc, p) in enumerate(said, start=1):
        comma = ", " if number > 1 else ""
        box = f'", "bbox_2d": [{number}, 20, 300, 400]}}'
        pieces += [(f'{comma}"object_{number}": {{"desc": "', 1.0), (desc, p), (box, 1.0)]
    pieces.append(("}", 1.0))
    texts, probabilities = zip(*pieces, strict=True)
    return Answer("".join(texts), tuple(texts), tuple(probabilities), "eos")
