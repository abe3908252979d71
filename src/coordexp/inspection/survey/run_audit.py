"""What one run refuses beyond the contract: its tokenizer's own special tokens, and long examples.

`data.audit.audit` needs no model. Where a configuration or a model is named, its tokenizer is
asked as well, so that nothing is left for training to refuse.
"""

from collections.abc import Sequence
from pathlib import Path

from coordexp.data.audit.findings import AuditReport, Place
from coordexp.data.contract.faults import Rule
from coordexp.data.contract.rules import SPECIAL_TOKEN
from coordexp.data.files.jsonl import SampleFile
from coordexp.errors import RecordError
from coordexp.inspection.survey.encoding import RecordEncoding
from coordexp.training.step.dataset import record_length

TOO_LONG = Rule(
    "too-long",
    "violation",
    "raise training.global_max_length, lower data.max_pixels, split the record, or set "
    "training.overlong: drop",
)


def audit_run(paths: Sequence[Path], source: RecordEncoding, report: AuditReport) -> None:
    """Add to a report what a run refuses of records that keep the contract.

    No picture is opened but those of chats, whose size nothing else says.

    Args:
        paths: JSONL files.
        source: The run's tokenizer, image processor and longest example.
        report: Of `coordexp.data.audit.audit.audit_files` on the same files.

    Raises:
        InputError: If a file cannot be read.
        CheckpointError: If tokenizer or image processor cannot be loaded.
    """
    encoder = source.encoder()
    broken = {
        (place.file, place.line)
        for item in report.findings
        for place in item.places
        if item.rule.severity == "violation"
    }
    for path in paths:
        records = SampleFile(path, source.style.alphabet)
        for index in range(len(records)):
            file, line = records.place_of(index)
            if (file, line) in broken:
                continue
            try:
                length = record_length(records, encoder, index)
            except RecordError as error:
                report.add(SPECIAL_TOKEN, Place(file, line, error.obj, error.message))
                continue
            if source.max_length is not None and length > source.max_length:
                told = f"{length} tokens, training.global_max_length is {source.max_length}"
                report.add(TOO_LONG, Place(file, line, None, told))
