"""Questions that name classes: another list for each record and epoch, and room for the longest."""

from collections.abc import Callable
from dataclasses import replace

from coordexp.data.contract.record import Record
from coordexp.data.plan.class_lists import (
    CLASSES_FIELD,
    ClassLists,
    name_classes,
    present_classes,
    untaught_classes,
)


class ListedQuestions:
    """Asks records for lists of classes.

    Args:
        lists: Draws the classes.
        question: With a place for them.
        prompt_of: Puts the chat template around a question.
        count: Tells the tokens of a text.
    """

    def __init__(
        self,
        lists: ClassLists,
        question: str,
        *,
        prompt_of: Callable[[str], str],
        count: Callable[[str], int],
    ) -> None:
        self.lists = lists
        self._question = question
        self._count = count
        self._around = sum(map(count, prompt_of(question).split(CLASSES_FIELD)))
        self._places = question.count(CLASSES_FIELD)
        self._counted: dict[str, int] = {}
        self._longest_first = sorted(lists.vocabulary, key=self._tokens, reverse=True)

    def pose(self, record: Record, *, seed: int, epoch: int, index: int) -> Record:
        """Return a record with its question of an epoch, and the objects that are asked for.

        One with a prompt of its own stays as it is.

        Raises:
            RecordError: If there is nothing that it could be asked for.
        """
        if record.prompt:
            return record
        asked = self.lists.asked(record, seed=seed, epoch=epoch, index=index)
        return replace(
            record,
            prompt=name_classes(self._question, asked.names),
            objects=record.objects if asked.answered else (),
        )

    def longest_prompt(self, record: Record) -> int:
        """Return a bound on the tokens of any prompt that `pose` may give the record.

        Which classes an epoch draws is known only then, and a plan of packs needs one length for
        all of them: this is the one with the longest names. It is a bound and not the longest
        prompt itself because text is counted in pieces, each where it is longest.
        """
        absent = self._longest_absent(record, max(1, self.lists.most))
        present = [*map(self._tokens, present_classes(record))]
        if not present and not absent:
            present = [*map(self._tokens, untaught_classes(record))]
        longest = max(sum(present) + sum(absent[: self.lists.most]), sum(absent))
        return self._around + self._places * longest

    def _longest_absent(self, record: Record, most: int) -> list[int]:
        if record.federated is not None:
            found = sorted(map(self._tokens, self.lists.absent_classes(record)), reverse=True)
            return found[:most]
        there = {*present_classes(record), *untaught_classes(record)}
        longest: list[int] = []
        for name in self._longest_first:
            if len(longest) == most:
                break
            if name not in there:
                longest.append(self._tokens(name))
        return longest

    def _tokens(self, name: str) -> int:
        """Return the tokens that a name adds to a list: behind a comma, or at the beginning."""
        if name not in self._counted:
            self._counted[name] = max(self._count(f", {name}"), 1 + self._count(name))
        return self._counted[name]
