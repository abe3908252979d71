"""Which classes the questions of a run name: how many, how many of them absent, each how often."""

from collections import Counter
from dataclasses import dataclass, field

from coordexp.data.contract.record import Record
from coordexp.data.plan.class_lists import ClassLists, present_classes
from coordexp.viewing.elements import Sheet

CLASSES_SHOWN = 20


@dataclass(slots=True)
class ClassMix:
    """What the questions of the first epoch name.

    Args:
        lists: Draws them.
        seed: Of the run.
        asked: Records whose question names classes.
        own_prompts: Records that bring a question of their own.
        nothing_there: Records on which nothing is taught.
        absent_alone: Records with objects that are asked for absent classes alone.
        there: How often each class is named where it is.
        not_there: How often each class is named where it is not.
    """

    lists: ClassLists
    seed: int
    asked: int = 0
    own_prompts: int = 0
    nothing_there: int = 0
    absent_alone: int = 0
    there: Counter[str] = field(default_factory=Counter)
    not_there: Counter[str] = field(default_factory=Counter)

    def count(self, record: Record, index: int) -> None:
        """Count what a record is asked for.

        Raises:
            RecordError: If there is nothing that it could be asked for.
        """
        if record.prompt:
            self.own_prompts += 1
            return
        asked = self.lists.asked(record, seed=self.seed, epoch=0, index=index)
        present = present_classes(record)
        self.asked += 1
        self.nothing_there += not present
        self.absent_alone += bool(present) and not asked.answered
        named = Counter(asked.names)
        self.there.update({name: named[name] for name in present if name in named})
        self.not_there.update(named - Counter(present))

    def words(self) -> str:
        """Return the mix in a sentence."""
        count = max(1, self.asked)
        absent = self.not_there.total()
        named = self.there.total() + absent
        return (
            f"a question names {named / count:.1f} classes, {absent / count:.1f} of them absent; "
            f"{self.absent_alone:,} of {self.asked:,} records are asked for absent classes alone"
        )

    def sheets(self) -> list[Sheet]:
        """Return the mix, and the classes that are least often named where they are not, first."""
        rows = [
            ["records whose question names classes", f"{self.asked:,}"],
            ["with a question of their own", f"{self.own_prompts:,}"],
            ["on which nothing is taught: answered {}", f"{self.nothing_there:,}"],
            ["asked for absent classes alone: answered {}", f"{self.absent_alone:,}"],
            ["classes that are named and there", f"{self.there.total():,}"],
            ["classes that are named and not there", f"{self.not_there.total():,}"],
        ]
        mix = Sheet("Questions of the first epoch", ["what", "number"], rows)
        return [mix, self._by_class()]

    def _by_class(self) -> Sheet:
        classes = sorted(self.there.keys() | self.not_there.keys())
        ranked = sorted(classes, key=lambda name: (self.not_there[name], name))
        rows = [
            [name, f"{self.there[name]:,}", f"{self.not_there[name]:,}"]
            for name in ranked[:CLASSES_SHOWN]
        ]
        title = f"{len(classes):,} classes that are named, the least often absent first"
        return Sheet(title, ["class", "named and there", "named and not there"], rows)
