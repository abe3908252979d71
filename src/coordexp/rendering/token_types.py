"""Which tokens of an answer name things, and which hold the answer together.

::

    {"object_1": {"desc": "black cat", "bbox_2d": ["<|coord_12|>", ...]}}<|im_end|>
    sssssssssssssssssssssdddddddddsssssssssssssssss............ssssssssss...

Types belong to characters, because tokens merge neighbours: in most vocabularies `","` is one
token, and `)",` too, the end of a desc and what follows it. A token that holds a character of a
desc is desc, however much structure is merged into it; of the others, one that holds a character
of a coordinate (a digit, in the text baseline) has no type, and the rest, the end of the turn
included, is structure.

Shapes: `C` characters, `T` tokens.
"""

import json
import re
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int, UInt8
from numpy import ndarray
from torch import Tensor

from coordexp.rendering.dense_json import SEPARATORS, JsonFormat

NO_TYPE, DESC, STRUCT = 0, 1, 2

_COORDINATE = re.compile(r'"([^"]*)"|(\d+)')


def character_types(
    answer: str, descs: Sequence[str], json_format: JsonFormat
) -> UInt8[ndarray, " C"]:
    """Return the type of each character of a rendered answer.

    Args:
        answer: As `render_answer` wrote it, with whatever ends the turn.
        descs: Of its objects, in order.
        json_format: It was written in.

    Example:
        >>> character_types('{"object_1": {"desc": "ox", "line": [3]}}', ["ox"], "standard")[23:38]
        array([1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0], dtype=uint8)
    """
    types = np.full(len(answer), STRUCT, dtype=np.uint8)
    key = f'"desc"{SEPARATORS[json_format][1]}'
    end = 0
    for desc in descs:
        quoted = json.dumps(desc, ensure_ascii=False)
        # Between two descs stand keys and coordinates alone: the next match is the next desc.
        start = answer.index(key + quoted, end) + len(key) + 1
        end = start + len(quoted) - 2
        types[start:end] = DESC
        end = _mark_coordinates(answer, end, types)
    return types


def _mark_coordinates(answer: str, start: int, types: UInt8[ndarray, " C"]) -> int:
    opening = answer.index("[", start)
    closing = answer.index("]", opening)
    for found in _COORDINATE.finditer(answer, opening, closing):
        group = 1 if found.group(2) is None else 2
        types[found.start(group) : found.end(group)] = NO_TYPE
    return closing


def token_types(
    offsets: Sequence[tuple[int, int]], characters: UInt8[ndarray, " C"]
) -> Int[Tensor, " T"]:
    """Return the type of each token.

    Args:
        offsets: The first character of each token, and the one behind its last.
        characters: Their types.

    Example:
        >>> token_types([(0, 2), (2, 3), (3, 5)], np.array([2, 1, 0, 2, 2], dtype=np.uint8))
        tensor([1, 0, 2])
    """
    edges = np.array(offsets, dtype=np.int64).reshape(-1, 2)

    def holds(kind: int) -> ndarray[tuple[int], np.dtype[np.bool_]]:
        before = np.concatenate([[0], np.cumsum(characters == kind)])
        return np.asarray(before[edges[:, 1]] > before[edges[:, 0]])

    types = np.where(holds(DESC), DESC, np.where(holds(NO_TYPE), NO_TYPE, STRUCT))
    return torch.from_numpy(types)
