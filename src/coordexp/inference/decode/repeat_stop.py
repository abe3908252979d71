"""When an answer says nothing new any more.

A model caught in a loop says an object that it has said before, then that one or another again,
until the answer has grown too long. An object repeats an earlier one if desc and kind are the same
and the bounding boxes overlap by `iou`, which is the same in bins as in pixels. One repeat is no
loop: of two people on a tandem one may well be said twice, and the list goes on. Several in a row
end the answer before the first of them.

Rejected: to forbid the coordinate that makes a repeat. Greedy decoding then writes the next best
one, a box that nobody has seen.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordexp.data.contract.box_iou import box_ious
from coordexp.data.contract.geometry import bounding_box
from coordexp.data.contract.geometry_kinds import KINDS
from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.walk import GrammarWalk

IN_A_ROW = 2
"""What a command takes: an accident is one, a loop goes on."""


@dataclass(frozen=True, slots=True)
class RepeatStop:
    """What ends an answer.

    Args:
        iou: From which overlap on an object repeats an earlier one of its desc.
        in_a_row: So many repeats with nothing new between them.
    """

    iou: float
    in_a_row: int


class SaidObjects:
    """The objects of one answer, as they come.

    Args:
        grammar: Of the answer.
        stop: What ends it.
    """

    def __init__(self, grammar: AnswerGrammar, stop: RepeatStop) -> None:
        self._grammar = grammar
        self._stop = stop
        self._boxes: defaultdict[bytes, list[tuple[float, ...]]] = defaultdict(list)
        # Tokens up to the end of each object; 0 before the first.
        self._ends = [0]
        self._repeats = 0

    def loop_start(
        self, walk: GrammarWalk, ids: Sequence[int], coordinates: Iterable[int]
    ) -> int | None:
        """Return after how many tokens nothing new was said, None as long as that is no loop.

        Args:
            walk: Where the answer stands.
            ids: Its tokens.
            coordinates: The places of its coordinates.
        """
        # A box or point is whole with its last number; of an outline that is known when the next
        # object begins.
        is_whole = KINDS[walk.kind].is_full(len(walk.bins))
        whole = walk.number if is_whole else walk.number - 1
        if whole < len(self._ends):
            return None
        begun = 0 if is_whole else len(walk.bins)
        own = [place for place in coordinates if place >= self._ends[-1]]
        own = own[: len(own) - begun]
        self._repeats = self._repeats + 1 if self._is_repeat(ids, own) else 0
        self._ends.append(own[-1] + 1)
        if self._repeats < self._stop.in_a_row:
            return None
        return self._ends[-1 - self._repeats]

    def _is_repeat(self, ids: Sequence[int], coordinates: Sequence[int]) -> bool:
        head = ids[self._ends[-1] : coordinates[0]]
        text = b"".join(self._grammar.bytes.pieces[token_id] for token_id in head)
        # Behind the object's number: desc and kind, as they are spelled.
        boxes = self._boxes[text.partition(b'"desc"')[2]]
        bins = [float(ids[place] - self._grammar.first_id) for place in coordinates]
        box = tuple(bounding_box(bins))
        repeats = bool(boxes) and bool((box_ious(box, boxes) >= self._stop.iou).any())
        boxes.append(box)
        return repeats
