r"""The grammar of an answer as text, for engines that mask logits by a grammar of their own.

It is written in the EBNF that xgrammar reads, which is what vLLM takes for structured outputs::

    root    ::= "{" ("}" | object1)
    object1 ::= "\"object_1" head desc ", \"" shape ("}" | ", " object2)
    shape   ::= "bbox_2d\": [\"" coord "\", \"" coord ... "\"]}"  |  poly  |  ...
    coord   ::= Token(151670, ..., 152669)

Names of keys, kinds of geometry, separators and escapes are those of our own decoder's grammar,
`coordexp.inference.decode.grammar`.
A coordinate is a token id, all else is text, so tokens that join a quote with its neighbours fit as
the tokenizer makes them.

Not said: that a second corner is no smaller than the first, which would take a rule for each of a
million first corners, and how an answer that grows too long is closed. Nor that the text has to be
spelled in the tokens of training: a model that has learned the format does so by itself.
"""

import json
from collections.abc import Iterator, Mapping, Sequence

from coordexp.answers.class_filter import check_names
from coordexp.coord_tokens.vocab import CoordVocab
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS, GeometryKind
from coordexp.rendering.dense_json import ESCAPES, SEPARATORS
from coordexp.rendering.style import RenderingStyle

# Of an object: its coordinates, and what stands around each.
_FEWEST_TOKENS = 4 * min(kind.least_points for kind in KINDS.values())
_QUOTE = r'"\""'
_MOST_SPACE = 0x3000  # the last of Unicode's white space


def answer_grammar_text(
    style: RenderingStyle,
    vocab: CoordVocab,
    *,
    restrict_to: Sequence[str] | None,
    max_new_tokens: int,
) -> str:
    """Return the rules of an answer; `root` is the first.

    Args:
        style: Says which spaces the JSON has.
        vocab: The coord vocabulary.
        restrict_to: The only descs there may be; None for any visible text without coord tokens.
        max_new_tokens: Longest answer; object numbers are written out as far as it can reach.

    Raises:
        InputError: If such a desc is empty, given twice, or not in NFC as the tokenizer has it.
    """
    comma, colon = SEPARATORS[style.json_format]
    sep = _literal(f'"{comma}"')
    shapes = " | ".join(_shape(kind, sep, colon) for kind in GEOMETRY_KINDS)
    coords = ", ".join(map(str, vocab.ids))
    head = f'"{colon}{{"desc"{colon}"'
    return "\n".join(
        [
            'root ::= "{" ("}" | object1)',
            *_objects(comma, 1 + max_new_tokens // _FEWEST_TOKENS),
            f"head ::= {_literal(head)}",
            f"shape ::= {shapes}",
            f"coord ::= Token({coords})",
            *(_named(restrict_to) if restrict_to is not None else _text(_spelled(style))),
        ]
    )


def _objects(comma: str, most: int) -> Iterator[str]:
    for number in range(1, most + 1):
        then = '"}"' if number == most else f'("}}" | {_literal(comma)} object{number + 1})'
        name, key = _literal(f'"object_{number}'), _literal(f'{comma}"')
        yield f"object{number} ::= {name} head desc {key} shape {then}"


def _shape(kind: GeometryKind, sep: str, colon: str) -> str:
    least = 2 * KINDS[kind].least_points
    coords = f" {sep} ".join(["coord"] * least)
    more = "" if KINDS[kind].is_full(least) else f" ({sep} coord {sep} coord)*"
    opened, closed = _literal(f'{kind}"{colon}["'), _literal('"]}')
    return f"{opened} {coords}{more} {closed}"


def _named(names: Sequence[str]) -> list[str]:
    check_names(names)
    written = (_literal(json.dumps(name, ensure_ascii=False)[1:]) for name in names)
    return [f"desc ::= {' | '.join(written)}"]


def _spelled(style: RenderingStyle) -> str:
    """Return how every coord token begins."""
    tokens = style.alphabet.tokens()
    first, last = min(tokens), max(tokens)  # what they share, all between them do
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((place for place, (one, other) in pairs if one != other), len(first))]


def _text(avoid: str) -> list[str]:
    """Return the rules of free text and the quote that ends it.

    Engines take the coord tokens in it for plain text, so their spelling is kept out: `text3`
    stands behind its first three characters. With the quote inside each rule, xgrammar keeps a
    rule's mask; with the quote behind, it took 50 ms for every mask.
    """
    dark: list[str] = []
    seen: list[str] = []
    for escape in sorted(ESCAPES):
        (dark if json.loads(f'"{escape}"').isspace() else seen).append(_literal(escape))
    spaces = [chr(code) for code in range(0x20, _MOST_SPACE + 1) if chr(code).isspace()]
    steps = [_steps(avoid, length) for length in range(max(1, len(avoid)))]
    plain = [_plain(after, len(avoid), besides=()) for after in steps]
    return [
        f"desc ::= {_class(spaces)} desc | ({' | '.join(dark)}) desc | seen text0"
        f" | {_plain(steps[0], len(avoid), besides=spaces)}",
        f"seen ::= {' | '.join(seen)}",
        f"escape ::= seen | {' | '.join(dark)}",
        *(
            f"text{length} ::= {_QUOTE} | escape text0 | {chars}"
            for length, chars in enumerate(plain)
        ),
    ]


def _steps(avoid: str, length: int) -> Mapping[str, int]:
    """Return how much of `avoid` has been spelled after each of its characters; none is left out.

    Args:
        avoid: What must not be spelled.
        length: How much of it has been.
    """
    after = {}
    for char in dict.fromkeys(avoid):
        text = avoid[:length] + char
        sizes = range(len(text), 0, -1)
        if size := next((size for size in sizes if avoid.startswith(text[-size:])), 0):
            after[char] = size
    return after


def _plain(after: Mapping[str, int], whole: int, *, besides: Sequence[str]) -> str:
    """Return the characters that need no escape, each with the rule that it leads to."""
    steps = [f"{_class([char])} text{size}" for char, size in after.items() if size < whole]
    others = _class(['"', "\\", *after, *besides])
    return " | ".join([*steps, f"[^\\u0000-\\u001f{others[1:]} text0"])


def _class(chars: Sequence[str]) -> str:
    written = [rf"\u{ord(char):04x}" for char in chars]
    return f"[{''.join(written)}]"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
