"""Whose tokenizer, prompt and format: those of a configuration, or of a model."""

from dataclasses import dataclass
from pathlib import Path

from coordexp.config.custom import Custom
from coordexp.config.load import load_config
from coordexp.coord_tokens.codec import CoordAlphabet
from coordexp.data.plan.class_lists import ClassLists
from coordexp.errors import InputError
from coordexp.inspection.survey.class_mix import ClassMix
from coordexp.inspection.survey.stats import PACK_BUFFER
from coordexp.model.card import has_card, load_card_section, load_weights_card
from coordexp.model.load import load_tokenizer
from coordexp.rendering.encode import Encoder
from coordexp.rendering.style import RenderingStyle, style_from_json
from coordexp.training.run.build import build_encoder, build_style
from coordexp.training.run.class_list import build_class_lists, listed_classes


@dataclass(frozen=True, slots=True)
class RecordEncoding:
    """What turns a record into text and tokens.

    Args:
        path: Folder of the tokenizer and the image processor.
        style: How records are asked for and answered.
        max_length: Most tokens of an example, None without a limit.
        pack_buffer: Examples among which the next one for a pack is chosen.
        told: Where it comes from, for readers.
        class_lists: Draws the classes of questions; None asks all records alike.
        seed: Of the draws.
    """

    path: Path
    style: RenderingStyle
    max_length: int | None
    pack_buffer: int
    told: str
    class_lists: ClassLists | None = None
    seed: int = 0

    def encoder(self) -> Encoder:
        """Return the encoder.

        Raises:
            CheckpointError: If tokenizer or image processor cannot be loaded.
        """
        return build_encoder(self.path, self.style, class_lists=self.class_lists)

    def class_mix(self) -> ClassMix | None:
        """Return a count, not begun, of what questions name; None where they name no classes."""
        return None if self.class_lists is None else ClassMix(self.class_lists, self.seed)

    def check_alphabet(self, alphabet: CoordAlphabet) -> None:
        """Check that an alphabet is the source's.

        Raises:
            InputError: If it is another one; the message names both.
        """
        own = self.style.alphabet
        if not alphabet.is_same(own):
            raise InputError(
                f"got the alphabet {alphabet}, but records are encoded {self.told} in {own}; leave "
                "--alphabet and --bins out, or name another configuration or model"
            )


def source_of(
    *, config: Path | None, model: Path | None, alphabet: CoordAlphabet
) -> RecordEncoding:
    """Return the source that a user named.

    Args:
        config: YAML of a run.
        model: A base, checkpoint or merged model.
        alphabet: Of a base that does not say.

    Raises:
        InputError: If neither was named, or both.
    """
    if config is not None and model is None:
        return source_of_config(config)
    if model is not None and config is None:
        return source_of_model(model, alphabet)
    raise InputError("whose tokens? give either --config X.yaml or --model PATH")


def source_of_config(path: Path) -> RecordEncoding:
    """Return what a configuration trains with.

    Raises:
        ConfigError: If it has problems.
    """
    config = load_config(path)
    listed = listed_classes(config)
    return RecordEncoding(
        path=config.model.path,
        style=build_style(config, listed=listed),
        max_length=config.training.global_max_length,
        pack_buffer=config.training.packing_buffer,
        told=f"as {path.name} trains",
        class_lists=build_class_lists(config, listed=listed),
        seed=config.training.seed,
    )


def source_of_model(path: Path, alphabet: CoordAlphabet) -> RecordEncoding:
    """Return what a model was trained with, by its `coordexp.json`.

    A base without one is asked as a configuration that says nothing would ask it, in coord tokens
    where its tokenizer has them.

    Args:
        path: Its folder.
        alphabet: In which a base without a `coordexp.json` is asked.

    Raises:
        CheckpointError: If it cannot be read.
    """
    if not has_card(path):
        tokens = alphabet.token(0) in load_tokenizer(path).get_vocab()
        new = default_style(coord_tokens=tokens, alphabet=alphabet)
        return RecordEncoding(path, new, None, PACK_BUFFER, f"as a new run of {path.name}")
    style = style_from_json(load_card_section(path, "style"))
    base = load_weights_card(path).base
    place = path if base is None else Path(base)
    return RecordEncoding(place, style, None, PACK_BUFFER, f"as {path.name} was trained")


def default_style(*, coord_tokens: bool, alphabet: CoordAlphabet) -> RenderingStyle:
    """Return the style of a configuration that says nothing about it but the alphabet."""
    custom = Custom()
    return RenderingStyle(
        system_prompt=custom.system_prompt,
        user_prompt=custom.question(()),
        json_format=custom.json_format,
        object_ordering=custom.object_ordering,
        coord_tokens=coord_tokens,
        alphabet=alphabet,
        min_pixels=None,
        max_pixels=None,
    )
