"""The block `custom`: everything that is CoordExp's own, under the names of its specification."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from coordexp.config.block import (
    Block,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    kind_of_value,
)
from coordexp.config.class_list import ClassList
from coordexp.coord_tokens.codec import SPEC_ALPHABET, CoordAlphabet
from coordexp.data.contract.geometry_kinds import GEOMETRY_KINDS, KINDS, GeometryKind
from coordexp.data.plan.class_lists import CLASSES_FIELD, name_classes
from coordexp.data.plan.ordering import ObjectOrdering

JsonFormat = Literal["standard", "compact"]
OffsetDtype = Literal["auto", "model", "float32", "bfloat16"]
W1Unit = Literal["fraction", "bins"]
W1Target = Literal["soft", "one_hot"]
TokenId = Annotated[int, Field(ge=0)]

_DETECT_ALL = "Detect every object in the image."
_DETECT_CLASSES = f"Detect every object of these classes in the image: {CLASSES_FIELD}."
_DEFAULT_FORM = "Answer with one JSON object that maps object_1, object_2, ... to"


def default_user_prompt(kinds: Sequence[GeometryKind], *, names_classes: bool = False) -> str:
    """Return the question of a configuration that gives none.

    Args:
        kinds: The geometries that the records hold; none of them is asked for as boxes.
        names_classes: Whether it has a place for classes.

    Example:
        >>> default_user_prompt(["bbox_2d", "line"])[-66:]
        '2, y2]} or to {"desc": what it is, "line": [x1, y1, x2, y2, ...]}.'
    """
    shown = [
        f'{{"desc": what it is, "{kind}": [{KINDS[kind].spelled}]}}'
        for kind in kinds or GEOMETRY_KINDS[:1]
    ]
    asked = _DETECT_CLASSES if names_classes else _DETECT_ALL
    return f"{asked} {_DEFAULT_FORM} {' or to '.join(shown)}."


class Alphabet(Block):
    """How many bins an axis has, and how a bin is spelled."""

    pattern: str = SPEC_ALPHABET.pattern
    """The coord token of a bin, with one field for its number; PaliGemma's is `<loc{:04d}>`."""
    bins: Annotated[int, Field(ge=2)] = SPEC_ALPHABET.bins
    """Bins on one axis."""
    wildcard: str | None = SPEC_ALPHABET.wildcard
    """The token for any coordinate, whose id comes before bin 0; null where the vocabulary has
    none."""

    @model_validator(mode="after")
    def _pattern_spells_bins(self) -> Self:
        self.to_alphabet()
        return self

    def to_alphabet(self) -> CoordAlphabet:
        """Return the value that the rest of the code takes."""
        return CoordAlphabet(pattern=self.pattern, bins=self.bins, wildcard=self.wildcard)


class CoordTokens(Block):
    """Coordinates as single tokens of the vocabulary."""

    enabled: bool = False
    """Write coord tokens; false writes plain integers, which is the text baseline."""
    skip_bbox_norm: bool = True
    """On the ms-swift host, keep its template from scaling boxes a second time. The plain host
    never scales."""
    alphabet: Alphabet = Alphabet()


class CoordSoftCEW1(Block):
    """The coord objective: a weighted sum of CE, softCE, W1 and gate at coord positions."""

    enabled: bool = False
    """Supervise coord tokens as distributions over the bins and leave them out of the text's
    cross-entropy."""
    ce_weight: NonNegativeFloat = 0.0
    """Of plain cross-entropy inside the coord vocabulary."""
    soft_ce_weight: NonNegativeFloat = 1.0
    """Of cross-entropy against the Gaussian target."""
    w1_weight: NonNegativeFloat = 1.0
    """Of the Wasserstein-1 distance to the target."""
    gate_weight: NonNegativeFloat = 1.0
    """Of the penalty on probability outside the coord vocabulary."""
    temperature: PositiveFloat = 1.0
    """Of the softmax over the bins."""
    target_sigma: PositiveFloat = 2.0
    """Width of the Gaussian target, in bins."""
    target_truncate: NonNegativeInt | None = 16
    """Bins further from the true one than this get nothing; 0 is one-hot, null does not cut."""
    w1_unit: W1Unit = "fraction"
    """W1 as a fraction of the axis or in bins; at weight 1 the fraction hardly moves the model."""
    w1_target: W1Target = "soft"
    """W1 to the Gaussian target or to the true bin alone."""

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term, by its name: what the keys that end in `_weight` say."""
        names = {key: key.removesuffix("_weight") for key in type(self).model_fields}
        return {name: getattr(self, key) for key, name in names.items() if name != key}


class IdRange(Block):
    """A run of vocabulary ids."""

    start: TokenId
    """The first id."""
    end: TokenId
    """The last id, which belongs to the run."""

    @model_validator(mode="after")
    def _start_comes_first(self) -> Self:
        if self.end < self.start:
            raise ValueError(
                f"end is the last id and not before start; got {self.start} .. {self.end}"
            )
        return self


CoordIds = Annotated[
    Annotated[IdRange, Tag("mapping")] | Annotated[tuple[TokenId, ...], Tag("list")],
    Discriminator(kind_of_value),
]


class CoordOffset(Block):
    """The adapter that learns the coord tokens' rows and nothing else of the vocabulary."""

    enabled: bool = False
    """Learn an additive row for every coord token; the vocabulary itself stays frozen."""
    tie_head: bool = True
    """One table for embedding and head; false learns two."""
    ids: CoordIds | None = None
    """The coord ids in bin order, `{start: 151670, end: 152669}` or a list; null asks the
    tokenizer. Given ids are compared with the tokenizer's."""
    embed_lr: PositiveFloat | None = None
    """Rate of the (shared) table; null is `training.learning_rate`."""
    head_lr: PositiveFloat | None = None
    """Rate of the head's own table; unused while `tie_head` is true."""
    weight_decay: NonNegativeFloat = 0.0
    """Of the tables."""
    dtype: OffsetDtype = "auto"
    """Of the tables: `auto` is float32, which AdamW needs for small steps; `model` is the
    model's."""

    def given_ids(self) -> tuple[int, ...] | None:
        """Return the ids in bin order, or None where the tokenizer decides."""
        if isinstance(self.ids, IdRange):
            return tuple(range(self.ids.start, self.ids.end + 1))
        return self.ids


class TokenTypeMetrics(Block):
    """The text's accuracy by what its tokens are."""

    enabled: bool = False
    """Log `token_type/desc_acc` and `token_type/struct_acc`, in training and evaluations."""


class InstabilityRules(Block):
    """What a run does where its loss jumps or is lost."""

    enabled: bool = False
    """Write steps that go wrong to `instability.jsonl`, with their records. Without it, what is not
    finite stops the run, and a jump is nobody's business."""
    spike_factor: Annotated[float, Field(gt=1)] = 3.0
    """A step whose loss is this many times the median of those before it is a spike."""
    window: Annotated[int, Field(ge=10)] = 100
    """Steps that the median is taken of; with fewer than 10 known, nothing is a spike."""
    on_spike: Literal["go_on", "stop"] = "go_on"
    """After the line is written: `stop` ends the run before the step moves the weights."""
    on_non_finite: Literal["stop", "skip_step"] = "stop"
    """The same for a loss or gradient that is not finite: `skip_step` leaves the weights as they
    are and goes on."""


class Custom(Block):
    """How records are written, and what is learned from coordinates."""

    coord_tokens: CoordTokens = CoordTokens()
    coord_soft_ce_w1: CoordSoftCEW1 = CoordSoftCEW1()
    coord_offset: CoordOffset = CoordOffset()
    token_type_metrics: TokenTypeMetrics = TokenTypeMetrics()
    instability_monitor: InstabilityRules = InstabilityRules()
    object_ordering: ObjectOrdering = "sorted"
    """`sorted` is top to bottom, then left to right; `random` is new for each sample and epoch;
    `record` is that of the record, as `data rollouts` writes it."""
    json_format: JsonFormat = "standard"
    """Separators `", "` and `": "`, or none of their spaces."""
    system_prompt: str | None = None
    """The system turn; null has none."""
    user_prompt: Annotated[str, Field(min_length=1)] | None = None
    """The question, after the image; `{classes}` in it becomes the list below. null asks for every
    object, as the geometries that the training records hold, such as `bbox_2d` or `point_2d`. A
    record's own `prompt` wins."""
    classes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """What to look for, written into the question joined by commas."""
    class_list: ClassList | None = None
    """Questions that name the classes on the picture and some that are not, instead of `classes`;
    null asks all records alike."""

    @model_validator(mode="after")
    def _classes_and_their_place_in_the_prompt(self) -> Self:
        has_place = CLASSES_FIELD in (self.user_prompt or "")
        if self.classes is not None and self.class_list is not None:
            raise ValueError("classes names the same ones each time, class_list others; give one")
        if self.class_list is not None and self.user_prompt is not None and not has_place:
            raise ValueError("class_list is given, and user_prompt has no {classes} to put them in")
        if self.classes is None and self.class_list is None and has_place:
            raise ValueError("user_prompt asks for {classes}, and classes is not given")
        if self.classes is not None and not has_place:
            raise ValueError("classes is given, and user_prompt has no {classes} to put them in")
        return self

    def question(self, kinds: Sequence[GeometryKind], *, listed: Sequence[str] = ()) -> str:
        """Return the user prompt with its classes filled in.

        Args:
            kinds: The geometries of the records, for the default.
            listed: What `class_list` asks for where nobody says what to ask for.
        """
        if (question := self.class_question(kinds)) is not None:
            return name_classes(question, listed)
        if self.user_prompt is None:
            return default_user_prompt(kinds)
        return name_classes(self.user_prompt, self.classes or ())

    def class_question(self, kinds: Sequence[GeometryKind]) -> str | None:
        """Return the question with a place for the classes of `class_list`, None without it."""
        if self.class_list is None:
            return None
        return self.user_prompt or default_user_prompt(kinds, names_classes=True)
