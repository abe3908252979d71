"""Whether the question asks for what the answers hold: its classes, and its geometries."""

import re
from collections.abc import Iterable, Sequence, Set

from coordexp.config.schema import Config
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS
from coordexp.data.contract.record import Record
from coordexp.data.files.mix import Mix
from coordexp.inspection.doctor.verdict import CheckResult, Doubt, Pieces, judged
from coordexp.inspection.survey.class_mix import ClassMix
from coordexp.rendering.encode import Encoder

_NAMED = 5


def prompt(pieces: Pieces) -> CheckResult:
    """Compare the question with its answers; records with a prompt of their own are left out."""
    config, encoder = pieces.take(Config), pieces.take(Encoder)
    mix = None
    if (listed := encoder.listed_questions) is not None:
        mix = ClassMix(listed.lists, config.training.seed)
    kinds, descs, asked = set[str](), set[str](), 0
    for index, record in enumerate(pieces.take(Mix)):
        if isinstance(record, Record) and not record.prompt:
            asked += 1
            kinds |= {item.geometry.kind for item in record.objects}
            descs |= {item.desc for item in record.objects}
            if mix is not None:
                mix.count(record, index)
    if not asked:
        return CheckResult("green", "every record brings a prompt of its own")
    if mix is not None:
        return judged_mix(mix, descs)
    return judged_prompt(encoder.style.user_prompt, config.custom.classes, kinds, descs)


def judged_mix(mix: ClassMix, descs: Set[str]) -> CheckResult:
    """Judge questions that name classes: whether some are absent, and each of them now and then.

    Args:
        mix: What they name.
        descs: Of the objects of all records.
    """
    unlisted = sorted(descs - set(mix.lists.vocabulary)) if mix.lists.vocabulary else []
    return judged(
        mix.words(),
        [
            Doubt(
                not mix.not_there,
                "yellow",
                "no question names an absent class, so the list gives the answer away",
                "raise custom.class_list.negatives.most, take source: data, or give the records "
                "federated.absent",
            ),
            Doubt(
                bool(unlisted),
                "yellow",
                f"{_listed(unlisted)} are not in custom.class_list.file, and never asked for where "
                "they are absent",
                "add them to the file",
            ),
        ],
        mix.sheets(),
    )


def judged_prompt(
    question: str, classes: Sequence[str] | None, kinds: Set[str], descs: Set[str]
) -> CheckResult:
    """Judge a question by what its answers hold.

    Args:
        question: With its classes filled in.
        classes: That it lists, None where it lists none.
        kinds: The geometries of the answers.
        descs: Their descs.
    """
    held = [kind for kind in GEOMETRY_KINDS if kind in kinds]
    named = [kind for kind in GEOMETRY_KINDS if _is_named(kind, question)]
    unused = [name for name in classes or () if name not in descs]
    unlisted = sorted(descs - set(classes)) if classes is not None else []
    doubts = {
        "leave custom.user_prompt out, the default asks for what the records hold": (
            f"the question asks for {_and(named)}, the answers hold {_and(held)}"
            if named and held and named != held
            else ""
        ),
        "take out of custom.classes what is not there, or spell it as the descs do": (
            f"no object is called {_listed(unused)}{_near(unused, descs)}" if unused else ""
        ),
        "add to custom.classes what is, or leave these objects out of the records": (
            f"the answers hold {_listed(unlisted)}, which custom.classes does not list"
            if unlisted
            else ""
        ),
    }
    found = "; ".join([f"{question!r:.100}", *filter(None, doubts.values())])
    advice = "; ".join(way_out for way_out, words in doubts.items() if words)
    return CheckResult("yellow" if advice else "green", found, advice)


def _is_named(kind: str, question: str) -> bool:
    # `line` and `poly` are words; as a key they stand in quotes.
    return f'"{kind}"' in question or (not kind.isalpha() and kind in question)


def _and(kinds: Sequence[str]) -> str:
    return " and ".join(kinds)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _near(names: Iterable[str], descs: Iterable[str]) -> str:
    """Return what the first of the names was meant to be, where case and blanks alone differ."""
    plain = {_plain(desc): desc for desc in descs}
    meant = [(name, plain[_plain(name)]) for name in names if _plain(name) in plain]
    return f"; {meant[0][1]!r} differs from {meant[0][0]!r} in case or blanks" if meant else ""


def _plain(name: str) -> str:
    return re.sub(r"\s+", " ", name).strip().casefold()
