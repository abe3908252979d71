"""Records as a torch dataset, and the check of all of them before a run starts."""

from torch.utils.data import Dataset
from typing_extensions import override

from coordexp.data.image import check_image, load_image
from coordexp.data.jsonl import RecordFile
from coordexp.errors import RecordError
from coordexp.rendering.encode import Encoder, Example


class RecordDataset(Dataset[Example]):
    """Encodes records when they are asked for; memory does not grow with their number.

    Args:
        records: The file.
        encoder: Gives the examples.
        seed: Of the random object order.
        max_length: Longest example allowed, in tokens; None for no limit.
    """

    def __init__(
        self, records: RecordFile, encoder: Encoder, *, seed: int, max_length: int | None
    ) -> None:
        self.records = records
        self.encoder = encoder
        self.seed = seed
        self.max_length = max_length
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose another random object order for each pass; accelerate calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.records)

    @override
    def __getitem__(self, index: int) -> Example:
        """Return one example.

        Raises:
            RecordError: If the record or its picture is wrong, or the example is too long.
        """
        record = self.records[index]
        try:
            picture = load_image(self.records.root, record)
        except RecordError as error:
            raise error.at(self.records.path, index + 1) from None
        example = self.encoder.encode(
            record, picture, seed=self.seed, epoch=self.epoch, index=index
        )
        if self.max_length is not None and len(example) > self.max_length:
            raise RecordError(
                f"the example has {len(example)} tokens, training.global_max_length is "
                f"{self.max_length}; raise it, lower data.max_pixels, or split the record",
                file=self.records.path,
                line=index + 1,
            )
        return example


def check_records(records: RecordFile) -> None:
    """Check every record and every picture's file, so that no run stops for them hours later.

    Pictures are not decoded; see `coordexp.data.image.check_image`.

    Raises:
        RecordError: At the first record that is wrong.
    """
    for index, record in enumerate(records):
        try:
            check_image(records.root, record)
        except RecordError as error:
            raise error.at(records.path, index + 1) from None
