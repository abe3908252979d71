"""Records as a torch dataset, and the check of all of them before a run starts."""

from array import array
from pathlib import Path

from torch.utils.data import Dataset
from typing_extensions import override

from coordexp.data.augment.augment import Augmentation, augmented
from coordexp.data.contract.chat import Chat, Sample
from coordexp.data.contract.record import Record
from coordexp.data.files.image import check_image, load_image, picture_record
from coordexp.data.files.mix import Samples
from coordexp.errors import RecordError
from coordexp.families.known import common_largest_ratio
from coordexp.families.picture_grid import check_shape
from coordexp.rendering.encode import Encoder, Example


class RecordDataset(Dataset[Example]):
    """Encodes records when they are asked for; memory does not grow with their number.

    Args:
        records: A file of records, or a mix of files, chats among them.
        encoder: Gives the examples.
        seed: Of the random object order and of what is augmented.
        max_length: Longest example allowed, in tokens; None for no limit.
        augment: What happens to records and pictures in each epoch; None for nothing. It makes no
            example longer.
    """

    def __init__(
        self,
        records: Samples,
        encoder: Encoder,
        *,
        seed: int,
        max_length: int | None,
        augment: Augmentation | None = None,
    ) -> None:
        self.records = records
        self.encoder = encoder
        self.seed = seed
        self.max_length = max_length
        self.augment = augment
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose another object order and view for each pass; accelerate calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.records)

    @override
    def __getitem__(self, index: int) -> Example:
        """Return one example.

        Raises:
            RecordError: If the record or its picture is wrong, or the example is too long.
        """
        sample = self.records[index]
        try:
            example = self._encoded(sample, index)
        except RecordError as error:
            raise error.at(*self.records.place_of(index)) from None
        if self.max_length is not None and len(example) > self.max_length:
            raise self.over_long(index, len(example))
        return example

    def place(self, index: int) -> str:
        """Return where a record stands, such as `train.jsonl:17`."""
        file, line = self.records.place_of(index)
        return f"{file}:{line}"

    def _encoded(self, sample: Sample, index: int) -> Example:
        root = self.records.root_of(index)
        pictures = [load_image(root, record) for record in picture_records(root, sample)]
        if isinstance(sample, Chat):
            return self.encoder.encode_chat(sample, pictures)
        (picture,) = pictures
        if self.augment is not None:
            sample, picture = augmented(
                sample,
                picture,
                self.augment,
                alphabet=self.encoder.style.alphabet,
                seed=self.seed,
                epoch=self.epoch,
                index=index,
            )
        return self.encoder.encode(sample, picture, seed=self.seed, epoch=self.epoch, index=index)

    def over_long(self, index: int, length: int) -> RecordError:
        """Return the error of a record that has more tokens than are allowed."""
        file, line = self.records.place_of(index)
        return RecordError(
            f"the example has {length} tokens, training.global_max_length is {self.max_length}; "
            "raise it, lower data.max_pixels, split the record, or set training.overlong: drop",
            file=file,
            line=line,
        )


def picture_records(root: Path, sample: Sample) -> list[Record]:
    """Return what says of each picture of a sample where it is and how large.

    Raises:
        RecordError: If a chat's picture is missing or no picture; a record says its size itself.
    """
    if isinstance(sample, Chat):
        return [picture_record(root, image) for image in sample.images]
    return [sample]


def check_records(records: Samples) -> None:
    """Check every record and every picture's file, so that no run stops for them hours later.

    Pictures are not decoded, see `data.files.image.check_image`; `coordexp data check` does.

    Raises:
        RecordError: At the first record that is wrong.
    """
    for index, sample in enumerate(records):
        root = records.root_of(index)
        try:
            for record in picture_records(root, sample):
                check_image(root, record)
                check_shape(*record.file_size, common_largest_ratio())
        except RecordError as error:
            raise error.at(*records.place_of(index)) from None


def check_texts(records: Samples, encoder: Encoder) -> None:
    """Check that no record holds a special token of the run's tokenizer, and each can be asked.

    Reading refuses those of the usual spelling; a tokenizer may have others. A question that names
    classes needs one to name.

    Raises:
        RecordError: At the first record that does.
    """
    for index, sample in enumerate(records):
        try:
            encoder.reserved.check(sample)
            if isinstance(sample, Record):
                encoder.posed(sample, seed=0, epoch=0, index=index)
        except RecordError as error:
            raise error.at(*records.place_of(index)) from None


def record_lengths(records: Samples, encoder: Encoder) -> "array[int]":
    """Return the tokens of every record's example; no picture is opened.

    Raises:
        RecordError: At the first record that cannot be encoded.
    """
    lengths = array("q")
    for index, sample in enumerate(records):
        try:
            lengths.append(_length(sample, encoder, records.root_of(index)))
        except RecordError as error:
            raise error.at(*records.place_of(index)) from None
    return lengths


def record_length(records: Samples, encoder: Encoder, index: int) -> int:
    """Return the tokens of one record's example; no picture is opened.

    Raises:
        RecordError: If the record cannot be encoded.
    """
    try:
        return _length(records[index], encoder, records.root_of(index))
    except RecordError as error:
        raise error.at(*records.place_of(index)) from None


def _length(sample: Sample, encoder: Encoder, root: Path) -> int:
    if isinstance(sample, Chat):
        pictures = picture_records(root, sample)
        return encoder.chat_length(sample, [picture.file_size for picture in pictures])
    return encoder.length(sample)
