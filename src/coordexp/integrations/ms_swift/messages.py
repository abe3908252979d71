r"""Records as the messages that ms-swift reads: one JSONL line each, with nothing left to scale.

::

    {"messages": [{"role": "user", "content": "<image>Find all objects."},
                  {"role": "assistant", "content": "{\"object_1\": ...}"}],
     "images": ["/data/images/1.jpg"],
     "chat_template_kwargs": {"min_pixels": 65536, "max_pixels": 16777216}}

Answers and prompts are written by `coordexp.rendering`; the limits make ms-swift resize a picture
as the base's own image processor does.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from coordexp.data.contract.chat import IMAGE_MARK, Chat, Sample
from coordexp.data.contract.record import Record
from coordexp.data.files.image import find_image, load_image
from coordexp.data.files.jsonl import write_jsonl
from coordexp.data.files.mix import Samples
from coordexp.data.plan.ordering import ordered_objects
from coordexp.errors import RecordError
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.encode import Encoder
from coordexp.training.step.dataset import picture_records

# What ms-swift replaces by something else wherever it stands.
TAGS = ("<image>", "<video>", "<audio>", "<bbox>", "<ref-object>", "<cot-process>")
# ms-swift reads pixels of every other kind another way than we do.
_PLAIN_MODES = ("RGB", "L")

Turn = dict[str, str]


def write_messages(
    samples: Samples, kept: Iterable[int], encoder: Encoder, path: Path, pictures: Path
) -> None:
    """Write samples as messages.

    Args:
        samples: Records and chats, which have been checked.
        kept: Which of them.
        encoder: Of the base.
        path: The JSONL file.
        pictures: Folder for copies of pictures that ms-swift would read another way than we do:
            turned by EXIF, transparent, or of 16 bits.

    Raises:
        RecordError: If a text holds a tag of ms-swift.
    """
    grid = encoder.inputs.grid
    limits = {"min_pixels": grid.least, "max_pixels": grid.most}

    def row_of(index: int) -> dict[str, object]:
        sample, root = samples[index], samples.root_of(index)
        try:
            return {
                "messages": messages_of(sample, encoder),
                "images": _images(sample, root, pictures / str(index)),
                "chat_template_kwargs": limits,
            }
        except RecordError as error:
            raise error.at(*samples.place_of(index)) from None

    write_jsonl(path, map(row_of, kept))


def messages_of(sample: Sample, encoder: Encoder) -> list[Turn]:
    """Return the turns of a sample, its pictures marked by `<image>`.

    Raises:
        RecordError: If a text holds a tag of ms-swift.
    """
    if isinstance(sample, Chat):
        turns = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
        _check_tags(turns, allowed=len(sample.images))
        return turns
    turns = _record_turns(sample, encoder)
    _check_tags(turns, allowed=1)
    return turns


def _record_turns(record: Record, encoder: Encoder) -> list[Turn]:
    style = encoder.style
    objects = ordered_objects(
        record, style.object_ordering, seed=0, epoch=0, index=0, alphabet=style.alphabet
    )
    answer = render_answer(
        objects,
        record.width,
        record.height,
        alphabet=style.alphabet,
        json_format=style.json_format,
        coord_tokens=style.coord_tokens,
    )
    system = [] if style.system_prompt is None else [style.system_prompt]
    return [
        *({"role": "system", "content": text} for text in system),
        {"role": "user", "content": IMAGE_MARK + (record.prompt or style.user_prompt)},
        {"role": "assistant", "content": answer},
    ]


def _check_tags(turns: Sequence[Turn], *, allowed: int) -> None:
    text = "".join(turn["content"] for turn in turns)
    found = [tag for tag in TAGS if text.count(tag) > (allowed if tag == IMAGE_MARK else 0)]
    if found:
        raise RecordError(f"holds {found[0]}, which ms-swift would replace; write it another way")


def _images(sample: Sample, root: Path, copies: Path) -> list[str]:
    paths = []
    for number, record in enumerate(picture_records(root, sample)):
        found = find_image(root, record)
        path = found.path
        if found.turned or found.mode not in _PLAIN_MODES:
            path = copies.with_name(f"{copies.name}_{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            load_image(root, record).save(path)
        paths.append(str(path.resolve()))
    return paths
