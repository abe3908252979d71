"""One answer while it is decoded: what is said, what comes next, what has to be asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.repeat_stop import RepeatStop, SaidObjects
from coordexp.inference.decode.trie import End, Node, Run, Text
from coordexp.inference.decode.walk import GrammarWalk
from coordexp.rendering.encode import Example


@dataclass(frozen=True, slots=True)
class Choice:
    """What the model chose among what the grammar allows.

    Args:
        token_id: The choice.
        probability: Of it, among the options; among all tokens inside a desc.
        coord_logits: Of all bins, for a coordinate.
        is_free: Whether there was anything to choose from.
    """

    token_id: int
    probability: float
    coord_logits: Float[Tensor, " K"] | None = None
    is_free: bool = True


class Row:
    """One answer in the making.

    The pass to come reads `feed`: the token chosen last and the run after it. `asks` says where in
    it the model's opinion is needed, and `settle` takes the opinions.

    Args:
        grammar: What may be said.
        prompt: What is answered.
        jump: Whether a run is appended together.
        ordered: Whether a box's second corner may be no smaller than its first.
        limit: After this many tokens the answer is closed.
        stop: What ends an answer that repeats itself; None for nothing.
    """

    def __init__(
        self,
        grammar: AnswerGrammar,
        prompt: Example,
        *,
        jump: bool,
        ordered: bool,
        limit: int,
        stop: RepeatStop | None,
    ) -> None:
        self._grammar = grammar
        self._said = None if stop is None else SaidObjects(grammar, stop)
        self._jump = jump
        self._limit = limit
        self.walk = GrammarWalk(grammar, ordered=ordered)
        self.ids: list[int] = []
        self.probabilities: list[float] = []
        self.free: list[bool] = []
        self.coord_logits: dict[int, Float[Tensor, " K"]] = {}
        # Tokens before the one chosen last, and how far positions are ahead of columns.
        self.length = len(prompt) - 1
        self.shift = int(prompt.position_ids[0, -1]) - self.length
        self.passes = 0
        self.is_cut = self.is_looping = self.done = False
        self._chosen = int(prompt.input_ids[-1])
        self._run = self._next_run()

    @property
    def feed(self) -> Sequence[int]:
        """The tokens that the coming pass reads."""
        return (self._chosen, *self._run.ids)

    @property
    def is_closing(self) -> bool:
        """Whether the answer has grown too long."""
        return len(self.ids) >= self._limit

    def asks(self) -> Iterator[tuple[int, Node]]:
        """Yield the places in `feed` where a choice follows, and the node it is made at."""
        yield from self._run.guesses
        end = self._run.end
        if end.leaf is not None or len(end.children) > 1:
            yield len(self._run.ids), end

    def stops(self) -> Iterator[int]:
        """Yield how many tokens of `feed` may be kept: those up to each choice, and all of them."""
        for place, _ in self._run.guesses:
            yield 1 + place
        yield 1 + len(self._run.ids)

    def settle(self, choices: Iterator[Choice]) -> None:
        """Go on by what the model chose, in the order of `asks`."""
        self.passes += 1
        run, kept = self._run, 0
        for place, node in run.guesses:
            choice = next(choices)
            self._force(run.ids[kept:place])
            if choice.token_id != run.ids[place]:
                self.walk.enter(node)
                self.length += 1 + place
                self._choose(choice)
                for _ in run.guesses[run.guesses.index((place, node)) :]:
                    next(choices)
                return
            self._say(choice)
            kept = place + 1
        self._force(run.ids[kept:])
        self.length += 1 + len(run.ids)
        if run.ids:
            self.walk.enter(run.end)
        forced = run.end.leaf is None and len(run.end.children) == 1
        self._choose(Choice(run.end.options[0], 1.0, is_free=False) if forced else next(choices))

    def _choose(self, choice: Choice) -> None:
        node = self.walk.node
        ends = isinstance(node.leaf, Text) or choice.token_id == node.stop
        closed = self.is_closing and ends
        self.is_cut |= closed
        self._say(replace(choice, is_free=False) if closed else choice)
        self.walk.take(choice.token_id)
        self._chosen = choice.token_id
        self._run = self._next_run()
        if isinstance(self._run.end.leaf, End):
            self._force(self._run.ids)
            self.done = True
        elif self._said is not None:
            loop = self._said.loop_start(self.walk, self.ids, self.coord_logits)
            if loop is not None:
                self._end_before(loop)

    def _end_before(self, loop: int) -> None:
        del self.ids[loop:], self.probabilities[loop:], self.free[loop:]
        kept = {place: logits for place, logits in self.coord_logits.items() if place < loop}
        self.coord_logits = kept
        self._force(self._grammar.end_ids)
        self.is_looping = self.done = True

    def _say(self, choice: Choice) -> None:
        if choice.coord_logits is not None:
            self.coord_logits[len(self.ids)] = choice.coord_logits
        self.ids.append(choice.token_id)
        self.probabilities.append(choice.probability)
        self.free.append(choice.is_free)

    def _force(self, ids: Sequence[int]) -> None:
        self.ids.extend(ids)
        self.probabilities.extend([1.0] * len(ids))
        self.free.extend([False] * len(ids))

    def _next_run(self) -> Run:
        return self.walk.node.run() if self._jump else Run((), (), self.walk.node)
