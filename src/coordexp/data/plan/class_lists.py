"""Which classes a question names: those on the picture, and some that are not.

A model that was only ever asked for what is there answers whatever it is asked for. So a question
names a few classes that are absent as well, and some questions name absent ones alone, to which the
answer is that there is nothing.

Which they are is a pure function of seed, epoch and record: nothing is kept between two records, so
a run that goes on asks what it would have asked.
"""

import random
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coordexp.data.contract.record import Record
from coordexp.errors import RecordError

CLASSES_FIELD = "{classes}"
"""The place of the classes in a question."""


def name_classes(question: str, names: Sequence[str]) -> str:
    """Return a question with the names in its place for them.

    Example:
        >>> name_classes("Find: {classes}.", ["cat", "dog"])
        'Find: cat, dog.'
    """
    return question.replace(CLASSES_FIELD, ", ".join(names))


@dataclass(frozen=True, slots=True)
class AskedClasses:
    """What one question asks for.

    Args:
        names: In the order of the question.
        absent: How many of them are known not to be on the picture.
        answered: Whether what is on the picture is asked for; else the answer is that there is
            nothing.
    """

    names: tuple[str, ...]
    absent: int
    answered: bool


@dataclass(frozen=True, slots=True)
class ClassLists:
    """Draws the classes of each question.

    Args:
        vocabulary: What is absent of a picture that was searched for every class, unless it is on
            it; empty where only a record itself says what it lacks.
        most: Absent classes of a question at most.
        empty_share: Share of the records that are asked for absent classes alone.
    """

    vocabulary: tuple[str, ...]
    most: int
    empty_share: float

    def asked(self, record: Record, *, seed: int, epoch: int, index: int) -> AskedClasses:
        """Return what a record is asked for in an epoch.

        A picture on which nothing is taught is asked for at least one absent class; where none is
        known, for its crowds and ignored objects.

        Raises:
            RecordError: If nothing is known that it could be asked for.
        """
        present, absent = present_classes(record), self.absent_classes(record)
        # A string seed is hashed by its bytes, as in `ordering`; the word keeps the draws apart.
        draw = random.Random(f"{seed}/{epoch}/{index}/classes")
        answered = draw.random() >= self.empty_share or not absent
        least = 0 if present and answered else 1
        most = min(max(self.most, least), len(absent))
        chosen = draw.sample(absent, draw.randint(min(least, most), most))
        names = [*(present if answered else ()), *chosen] or untaught_classes(record)
        if not names:
            raise RecordError(
                "there is no class to ask for: it has no objects, and names none that it lacks; "
                'give it "federated": {"absent": [...]}, a prompt of its own, or set '
                "custom.class_list.source: data"
            )
        draw.shuffle(names)
        return AskedClasses(tuple(names), len(chosen), answered)

    def absent_classes(self, record: Record) -> list[str]:
        """Return the classes that are known not to be on a picture, in a fixed order.

        Of one that was not searched for everything these are the ones that it lists itself. What
        has crowds or ignored objects there is neither present nor absent.
        """
        pool = self.vocabulary if record.federated is None else record.federated.absent
        there = {*_composed(item.desc for item in record.objects)}
        return [name for name in _composed(pool) if name not in there]


def present_classes(record: Record) -> list[str]:
    """Return the classes that are taught, each once."""
    return _composed(item.desc for item in record.taught)


def untaught_classes(record: Record) -> list[str]:
    """Return the classes of which there are crowds or ignored objects, each once."""
    return _composed(item.desc for item in record.objects if not item.marks.is_taught)


def _composed(names: Iterable[str]) -> list[str]:
    # In Unicode's composed form, which is what a tokenizer makes of them and the model writes.
    return list(dict.fromkeys(unicodedata.normalize("NFC", name) for name in names))
