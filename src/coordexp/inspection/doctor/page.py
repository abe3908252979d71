"""What the doctor found, as a page: the verdicts, the tokens in colour, the first records drawn."""

from coordexp.data.contract.record import Record
from coordexp.data.files.mix import Mix
from coordexp.inspection.doctor.tokens import KINDS, Looks
from coordexp.inspection.doctor.verdict import Diagnosis, Pieces, UnbuiltError
from coordexp.inspection.survey.gallery import record_sample
from coordexp.rendering.encode import Encoder
from coordexp.viewing.elements import Tile
from coordexp.viewing.page import Page
from coordexp.viewing.samples import SampleBrowser, sample_browser

_DRAWN = 8


def doctor_page(diagnosis: Diagnosis, *, name: str) -> Page:
    """Return the page.

    Args:
        diagnosis: What was found.
        name: Of the configuration.
    """
    values = {
        "counts": _tiles(diagnosis),
        "findings": diagnosis.findings,
        "kinds": KINDS,
        "looks": _looks(diagnosis.pieces),
        "records": _records(diagnosis.pieces),
        "sheets": [sheet for finding in diagnosis.findings.values() for sheet in finding.sheets],
    }
    subtitle = f"What coordexp doctor found in {name}."
    return Page(__name__, "doctor.html.j2", "Before the run", subtitle, values)


def _tiles(diagnosis: Diagnosis) -> list[Tile]:
    red, yellow = diagnosis.count("red"), diagnosis.count("yellow")
    green = diagnosis.count("green")
    return [
        Tile("Red", f"{red}", "would fail or waste the run", "warn" if red else "plain"),
        Tile("Yellow", f"{yellow}", "worth a thought"),
        Tile("Green", f"{green}", "fine", "good"),
    ]


def _looks(pieces: Pieces) -> Looks | None:
    try:
        return pieces.take(Looks)
    except UnbuiltError:
        return None


def _records(pieces: Pieces) -> SampleBrowser | None:
    """Return the first records, drawn; None where what they need could not be made."""
    try:
        mix, style = pieces.take(Mix), pieces.take(Encoder).style
    except UnbuiltError:
        return None
    samples = []
    for index in range(min(len(mix), _DRAWN)):
        record = mix[index]
        if not isinstance(record, Record):
            continue
        file, line = mix.place_of(index)
        title = f"{file.name}:{line}"
        samples.append(record_sample(mix.root_of(index), record, style, index=index, title=title))
    return sample_browser(samples)
