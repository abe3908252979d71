"""What a model family says of itself; none of it needs torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from coordexp.families.boxes import BoxText
from coordexp.families.picture_grid import PictureGrid
from coordexp.families.towers import Towers


@dataclass(frozen=True, slots=True)
class VocabularyNames:
    """What the matrices with a row for each token are called.

    Args:
        embedding: The module's own name, the last part of its path.
        head: That of the output head.
    """

    embedding: str
    head: str

    @property
    def embedding_weight(self) -> str:
        """How the name of the embedding's tensor ends."""
        return f"{self.embedding}.weight"

    @property
    def head_weight(self) -> str:
        """How the name of the head's tensor ends."""
        return f"{self.head}.weight"

    @property
    def weights(self) -> tuple[str, str]:
        """Both endings, the embedding's first."""
        return self.embedding_weight, self.head_weight


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of model.

    Args:
        name: `model_type` of its checkpoints' `config.json`.
        grid: Sizes of its pictures, as published; a checkpoint may have a cell of its own.
        image_token: Stands for a picture in the chat template, once for each cell.
        end_marks: Tokens that may stand behind an answer's text.
        text_block: Key of `config.json` under which the language model is configured.
        vocabulary: Names of the vocabulary matrices.
        towers: Its parts and their linear layers, in the order in which they are matched.
        boxes: How its stock model writes boxes.
        swift_packages: What ms-swift imports for it beside its own requirements, as pip names it.
        recurrent: Own names of the modules that read one token after another into a state;
            `coordexp.families.recurrent_layers`.
        unloaded: How the names of weights begin that its checkpoints hold beside the model's, and
            that transformers leaves out.
    """

    name: str
    grid: PictureGrid
    image_token: str
    end_marks: tuple[str, ...]
    text_block: str
    vocabulary: VocabularyNames
    towers: Towers
    boxes: BoxText
    swift_packages: tuple[str, ...]
    recurrent: tuple[str, ...]
    unloaded: tuple[str, ...]

    def text_config(self, config: Mapping[str, object]) -> Mapping[str, object]:
        """Return the language model's block of a `config.json`, or all of it where it has none."""
        block = config.get(self.text_block)
        return block if isinstance(block, Mapping) else config
