"""Runs of token ids that share their beginnings, and how far one can go on without asking a model.

A node with one child is forced. A node with several is a choice, and the child that was put in
first is the likely one: a *run* follows it as a guess, to be checked against the model afterwards.
A run ends at a leaf, or at a choice where nothing is likely.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from coordexp.data.contract.geometry_kinds import GeometryKind


@dataclass(frozen=True, slots=True)
class Text:
    """Free text begins; `start` are bytes of it that came with the token before."""

    start: bytes


@dataclass(frozen=True, slots=True)
class Slot:
    """A coordinate comes next.

    Args:
        kind: Given where it is the first of its geometry.
        least: The least bin that it may have; None where that depends on what was said before.
    """

    kind: GeometryKind | None
    least: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The turn is over."""


Leaf = Text | Slot | End


@dataclass(frozen=True, slots=True)
class Run:
    """Token ids that can be appended at once.

    Args:
        ids: The ids, guesses included.
        guesses: Where a guess stands among them, and the node that it was made at.
        end: The node after them.
    """

    ids: tuple[int, ...]
    guesses: tuple[tuple[int, "Node"], ...]
    end: "Node"


class Node:
    """A place between two tokens.

    Args:
        likely: Whether the first child is worth a guess.
    """

    __slots__ = ("_run", "children", "leaf", "likely", "stop")

    def __init__(self, *, likely: bool = True) -> None:
        self.children: dict[int, Node] = {}
        self.leaf: Leaf | None = None
        self.likely = likely
        self.stop: int | None = None
        self._run: Run | None = None

    @property
    def options(self) -> tuple[int, ...]:
        """The ids that may come next, the likely one first."""
        return tuple(self.children)

    def insert(self, ids: Sequence[int], leaf: "Leaf | Node", *, stops: bool = False) -> None:
        """Add a run of ids that leads to a leaf, or into another trie.

        Args:
            ids: At least one.
            leaf: What comes after them.
            stops: Whether this is the way out, for an answer that has grown too long.
        """
        node = self
        for position, token_id in enumerate(ids):
            if stops:
                node.stop = token_id
            last = position + 1 == len(ids)
            if last and isinstance(leaf, Node):
                node.children[token_id] = leaf
            node = node.children.setdefault(token_id, Node(likely=self.likely))
        if not isinstance(leaf, Node):
            node.leaf = leaf

    def run(self) -> Run:
        """Return what can be appended here without asking, guesses included."""
        if self._run is None:
            node = self
            ids: list[int] = []
            guesses: list[tuple[int, Node]] = []
            while node.leaf is None and (node.likely or len(node.children) == 1):
                if len(node.children) > 1:
                    guesses.append((len(ids), node))
                ids.append(next(iter(node.children)))
                node = node.children[ids[-1]]
            self._run = Run(tuple(ids), tuple(guesses), node)
        return self._run
