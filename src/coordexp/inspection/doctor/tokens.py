"""What the model is shown and taught: the template, and each token with its label.

A few examples of the user's own are encoded exactly as training encodes them, and read back.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Literal

from coordexp.config.schema import Config
from coordexp.data.contract.record import Record, RecordObject
from coordexp.data.plan.ordering import ordered_objects
from coordexp.inspection.doctor.records import Feeds
from coordexp.inspection.doctor.verdict import CheckResult, Pieces, evenly_spaced
from coordexp.inspection.doctor.vocabulary import CheckedBase, KnownVocab
from coordexp.rendering.dense_json import render_answer
from coordexp.rendering.encode import IGNORE_INDEX, Encoder
from coordexp.training.run.run_encoder import build_run_encoder
from coordexp.training.step.dataset import RecordDataset

Kind = Literal["picture", "prompt", "text", "coord", "end"]

# Examples that are encoded, their pictures opened.
_LOOKED_AT = 16


@dataclass(frozen=True, slots=True)
class KindStyle:
    """How tokens of a kind look.

    Args:
        terminal: In rich's words.
        css: Name of a class of the page.
        told: What they are.
    """

    terminal: str
    css: str
    told: str


KINDS: dict[Kind, KindStyle] = {
    "prompt": KindStyle("dim", "prompt", "is not learned from"),
    "picture": KindStyle("blue", "picture", "is the picture's place, not learned from"),
    "text": KindStyle("green", "text", "is learned by cross-entropy"),
    "coord": KindStyle("bold magenta", "coord", "is learned by the coord terms"),
    "end": KindStyle("bold yellow", "end", "ends the answer, and is learned as text"),
}


@dataclass(frozen=True, slots=True)
class Token:
    """Tokens of one kind and spelling in a row.

    Args:
        kind: `picture` and `prompt` are not learned from; `text`, `coord` and `end` are.
        text: As the tokenizer writes it.
        times: How many of them follow one another.
    """

    kind: Kind
    text: str
    times: int

    @property
    def visible(self) -> str:
        """The text with its line breaks to be seen."""
        return self.text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}")

    @property
    def ends_line(self) -> bool:
        """Whether the next token stands on a line of its own."""
        return self.text.endswith("\n")


@dataclass(frozen=True, slots=True)
class TokenView:
    """One example, without its patches.

    Args:
        index: Of the record.
        record: What it was made of.
        input_ids: Prompt and answer.
        labels: What is learned of them.
        grids: Frames, and patches along height and width, of each picture.
    """

    index: int
    record: Record
    input_ids: Sequence[int]
    labels: Sequence[int]
    grids: Sequence[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class Looks:
    """Some examples, and the first of them token by token.

    Args:
        examples: Evenly spread over the file.
        place: Where the first one stands.
        transcript: Its tokens.
    """

    examples: Sequence[TokenView]
    place: str
    transcript: Sequence[Token]


def template(pieces: Pieces) -> CheckResult:
    """Look whether the base's chat template can be trained on."""
    config = pieces.take(Config)
    encoder = build_run_encoder(config, pieces.take(CheckedBase).path)
    if encoder.tokenizer.pad_token_id is None:
        return CheckResult(
            "red", "the tokenizer has no pad token", "name one in tokenizer_config.json"
        )
    asked = encoder.conversation.prompt(encoder.style.user_prompt)
    end = encoder.conversation.end_of_turn
    pieces.put(encoder)
    return CheckResult("green", f"{len(asked)} characters before the answer, which ends with {end}")


def labels(pieces: Pieces) -> CheckResult:
    """Encode a few examples, and look whether their labels are the answer, all of it, alone."""
    feeds, encoder = pieces.take(Feeds), pieces.take(Encoder)
    vocab = pieces.take(KnownVocab).vocab
    dataset = feeds.dataset
    looks = []
    for index in _looked_at(feeds):
        look = look_at(dataset, index)
        if fault := label_fault(look, encoder, dataset):
            return CheckResult(
                "red", f"{dataset.place(index)}: {fault}", "compare the base's chat template"
            )
        looks.append(look)
    if not looks:
        return CheckResult(
            "yellow", "chats alone, nothing to point at", "add records to data.train"
        )
    coord_ids = range(0) if vocab is None else vocab.ids
    shown = next((look for look in looks if look.record.objects), looks[0])
    transcript = transcribe(shown, encoder, coord_ids)
    pieces.put(Looks(looks, feeds.short_place(shown.index), transcript))
    counts = Counter[str]()
    for token in transcript:
        counts[token.kind] += token.times
    words = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    if not any(look.record.taught for look in looks):
        return CheckResult("yellow", "no record has an object", "look at data.train")
    return CheckResult("green", f"{feeds.short_place(shown.index)}: {words}")


def _looked_at(feeds: Feeds) -> list[int]:
    """Return records spread over the file, one with an object among them where there is any."""
    indices = feeds.indices()
    chosen = evenly_spaced(_records_of(feeds.dataset, indices), _LOOKED_AT)
    if not any(map(feeds.has_objects, chosen)):
        chosen += islice(filter(feeds.has_objects, indices), 1)
    return chosen


def _records_of(dataset: RecordDataset, indices: Sequence[int]) -> list[int]:
    spread = evenly_spaced(indices, 4 * _LOOKED_AT)
    return [index for index in spread if isinstance(dataset.records[index], Record)]


def look_at(dataset: RecordDataset, index: int) -> TokenView:
    """Return a record's example as training encodes it.

    Raises:
        RecordError: If the record or its picture is wrong.
        TypeError: If it is a chat.
    """
    record, example = dataset.records[index], dataset[index]
    if not isinstance(record, Record):
        raise TypeError("expected a record, got a chat")
    record = dataset.encoder.posed(record, seed=dataset.seed, epoch=dataset.epoch, index=index)
    grids = [(int(t), int(h), int(w)) for t, h, w in example.image_grid_thw.tolist()]
    return TokenView(index, record, example.input_ids.tolist(), example.labels.tolist(), grids)


def label_fault(look: TokenView, encoder: Encoder, dataset: RecordDataset) -> str | None:
    """Return what is wrong with an example's labels, None where nothing is."""
    begins = next((place for place, label in enumerate(look.labels) if label != IGNORE_INDEX), None)
    if begins is None:
        return "nothing of the example is learned"
    if list(look.labels[begins:]) != list(look.input_ids[begins:]):
        return "the labels are not the tokens of the answer"
    if look.labels[-1] != encoder.end_of_turn_id:
        return "the end of the answer is not learned: generation would not stop"
    expected = render_answer(
        answer_objects(look, dataset),
        look.record.width,
        look.record.height,
        alphabet=encoder.style.alphabet,
        json_format=encoder.style.json_format,
        coord_tokens=encoder.style.coord_tokens,
    )
    written = answer_text(look, encoder)
    return None if written == expected else f"the tokens read back as {written!r:.200}"


def answer_objects(look: TokenView, dataset: RecordDataset) -> Sequence[RecordObject]:
    """Return an example's objects in the order of its answer."""
    style = dataset.encoder.style
    return ordered_objects(
        look.record,
        style.object_ordering,
        seed=dataset.seed,
        epoch=dataset.epoch,
        index=look.index,
        alphabet=style.alphabet,
    )


def answer_text(look: TokenView, encoder: Encoder) -> str:
    """Return the answer that the labels spell, without its end."""
    ids = [label for label in look.labels if label != IGNORE_INDEX]
    text = encoder.tokenizer.decode(
        ids[:-1], skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    return str(text)


def transcribe(look: TokenView, encoder: Encoder, coord_ids: range) -> list[Token]:
    """Return an example token by token; equal ones in a row are counted."""
    kinds = [
        _kind(token, label, encoder, coord_ids)
        for token, label in zip(look.input_ids, look.labels, strict=True)
    ]
    pairs = groupby(zip(kinds, look.input_ids, strict=True))
    return [
        Token(kind, str(encoder.tokenizer.decode([token])), len(list(group)))
        for (kind, token), group in pairs
    ]


def _kind(token: int, label: int, encoder: Encoder, coord_ids: range) -> Kind:
    if label == IGNORE_INDEX:
        return "picture" if token == encoder.image_token_id else "prompt"
    if token in coord_ids:
        return "coord"
    return "end" if token == encoder.end_of_turn_id else "text"
