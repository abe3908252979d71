"""What a study file may say, block by block; `coordexp.lab.study` shows one.

Paths of configurations are relative to the file. `out`, bases and the records of tasks are relative
to where the command runs, as in every configuration.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from coordexp.config.block import Block, PositiveInt

Answer = Literal["token", "expectation"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Seed = Annotated[int, Field(ge=0)]
SEVERAL = Field(min_length=1)


class Grafting(Block):
    """How a base is grafted: the pictures that it is asked about, and what is trained."""

    task: str
    """Whose pictures, drawn as training pictures are, and whose question."""
    size: PositiveInt
    """How many."""
    seed: Seed
    """Of the pictures; the runs' own seeds draw others."""
    config: str | None = None
    """A configuration of what is trained, how long and how fast; null fits the rows alone."""


class Base(Block):
    """A model to start from."""

    path: str
    """A checkpoint, or the name of a base that the package ships: `tiny` or `tiny-grafted`."""
    expand: bool = False
    """Give it coord tokens first, as `coordexp vocab expand` does."""
    graft: Grafting | None = None
    """Teach it coord tokens first, as `coordexp vocab graft` does."""


class Recipe(Block):
    """One way to train, and to ask afterwards."""

    base: Name
    """Under which name of `bases` it starts."""
    train: bool = True
    """Whether anything is learned; without it the base is asked as it is."""
    extends: tuple[str, ...] = ()
    """Configurations laid over the study's."""
    config: dict[str, object] = Field(default_factory=dict)
    """Keys laid over those."""
    answers: Annotated[tuple[Answer, ...], SEVERAL] = ("token",)
    """How coordinates are read from the trained model; each way is asked by itself."""


class OwnTask(Block):
    """A task of records that lie somewhere already."""

    train: Path
    """JSONL of records from which the training pictures are drawn."""
    heldout: Path
    """JSONL of records from which the held-out ones are."""
    prompt: Annotated[str, Field(min_length=1)] | None = None
    """The question; null leaves it to the configuration."""


class Arm(Block):
    """Every recipe of a list on every task, size and seed of three others."""

    recipes: Annotated[tuple[Name, ...], SEVERAL]
    """Names of `recipes`."""
    tasks: Annotated[tuple[str, ...], SEVERAL]
    """Names of tasks: those that are generated, and the study's own."""
    sizes: Annotated[tuple[PositiveInt, ...], SEVERAL]
    """Numbers of training pictures."""
    seeds: Annotated[tuple[Seed, ...], SEVERAL]
    """Of training, and of the training pictures."""


class Study(Block):
    """What a study file says."""

    out: Path
    """Where pictures, bases and runs are."""
    results: Path | None = None
    """A JSON Lines file that gets a line for every run that ends."""
    against: tuple[Name, ...] = ()
    """Recipes that all others are compared with."""
    heldout: PositiveInt = 200
    """Held-out pictures of each task."""
    heldout_seed: Seed = 0
    """Of the held-out pictures: those that a recipe was chosen on confirm nothing."""
    batch_size: PositiveInt = 20
    """Pictures that are asked about at once."""
    max_new_tokens: PositiveInt = 320
    """The longest answer."""
    merge: bool = False
    """Merge each trained adapter, as `coordexp merge` does, and ask the merged model."""
    extends: tuple[str, ...] = ()
    """What every run shares: ordinary configurations."""
    tasks: dict[Name, OwnTask] = Field(default_factory=dict)
    """Tasks of its own, beside those that are generated."""
    bases: dict[Name, Base]
    """Where recipes start."""
    recipes: dict[Name, Recipe]
    """What is compared."""
    arms: Annotated[tuple[Arm, ...], SEVERAL]
    """What is run."""
