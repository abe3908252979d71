"""The encoder of a run: what its configuration says of questions, answers and their figures."""

from pathlib import Path

from coordexp.config.schema import Config
from coordexp.rendering.encode import Encoder
from coordexp.training.run.build import build_encoder, build_style
from coordexp.training.run.class_list import build_class_lists, listed_classes


def build_run_encoder(config: Config, base: Path) -> Encoder:
    """Return the encoder of a run's examples.

    Args:
        config: Of the run.
        base: Whose tokenizer and inputs.

    Raises:
        InputError: As `build_style` does, or if a file of classes cannot be read.
    """
    listed = listed_classes(config)
    return build_encoder(
        base,
        build_style(config, listed=listed),
        with_token_types=config.custom.token_type_metrics.enabled,
        class_lists=build_class_lists(config, listed=listed),
    )
