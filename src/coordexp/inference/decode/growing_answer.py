"""One answer while it is decoded: what is said, what comes next, what has to be asked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from coordexp.inference.decode.grammar import AnswerGrammar
from coordexp.inference.decode.repeat_stop import RepeatStop, SaidObjects
from coordexp.inference.decode.shape_guesses import with_shape
from coordexp.inference.decode.trie import End, Node, Run, Slot, Text
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
        likeliest_bin: Of all, for a coordinate, whatever the order of corners and chance say.
    """

    token_id: int
    probability: float
    coord_logits: Float[Tensor, " K"] | None = None
    is_free: bool = True
    likeliest_bin: int | None = None


class Row:
    """One answer in the making.

    The pass to come reads `feed`: the token chosen last and the run after it, guesses of it
    included. `asks` says where in it the model's opinion is needed, and `settle` takes the
    opinions.

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
        self._guess: list[int] | None = None
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

    def is_closing(self, ahead: int = 0) -> bool:
        """Return whether the answer has grown too long, or will have with so many tokens more."""
        return len(self.ids) + ahead >= self._limit

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
        own = [next(choices) for _ in self.asks()]
        run, kept = self._run, 0
        for index, (place, node) in enumerate(run.guesses):
            self._force(run.ids[kept:place])
            kept = place + 1
            if own[index].token_id != run.ids[place]:
                self.walk.enter(node)
                self.length += kept
                self._guess = self._read_behind(index, own)
                self._choose(own[index])
                return
            self._say(own[index])
            if isinstance(node.leaf, Slot):
                self.walk.enter(node)
                self.walk.take(run.ids[place])
                if self._is_over():
                    return
        self._force(run.ids[kept:])
        self.length += 1 + len(run.ids)
        if run.ids:
            self.walk.enter(run.end)
        forced = run.end.leaf is None and len(run.end.children) == 1
        self._choose(Choice(run.end.options[0], 1.0, is_free=False) if forced else own[-1])

    def _read_behind(self, wrong: int, own: Sequence[Choice]) -> list[int] | None:
        """Return the bins that the model chose behind a wrong guess of a coordinate."""
        if own[wrong].likeliest_bin is None:
            return None
        return [each.likeliest_bin for each in own[wrong + 1 :] if each.likeliest_bin is not None]

    def _choose(self, choice: Choice) -> None:
        node = self.walk.node
        at_stop = choice.token_id == node.stop and len(node.children) > 1
        ends = isinstance(node.leaf, Text) or at_stop
        closed = self.is_closing() and ends
        self.is_cut |= closed
        self._say(replace(choice, is_free=False) if closed else choice)
        self.walk.take(choice.token_id)
        self._chosen = choice.token_id
        self._run = self._next_run()
        if isinstance(self._run.end.leaf, End):
            self._force(self._run.ids)
            self.done = True
        else:
            self._is_over()

    def _is_over(self) -> bool:
        """Return whether the answer has said nothing new for too long; it ends before that."""
        if self._said is None:
            return False
        loop = self._said.loop_start(self.walk, self.ids, self.coord_logits)
        if loop is None:
            return False
        del self.ids[loop:], self.probabilities[loop:], self.free[loop:]
        kept = {place: logits for place, logits in self.coord_logits.items() if place < loop}
        self.coord_logits = kept
        self._force(self._grammar.end_ids)
        self.is_looping = self.done = True
        return True

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
        if not self._jump:
            return Run((), (), self.walk.node)
        guess, self._guess = self._guess, None
        return with_shape(self.walk.node.run(), self.walk, self._grammar, guess)
