"""A base that is asked as it is: the same weights, with what training would have said beside them.

`coordexp predict` asks as `coordexp.json` says, and a base that others published has none.
"""

from pathlib import Path

from coordexp.config.schema import Config
from coordexp.errors import InputError
from coordexp.files import whole_directory
from coordexp.lab.links import link_file
from coordexp.model.card import CARD_NAME, WeightsCard, load_origin, write_card
from coordexp.model.fingerprint import tokenizer_fingerprint
from coordexp.model.load import load_tokenizer
from coordexp.rendering.style import style_to_json
from coordexp.training.run.build import build_style, build_vocab


def write_untrained(config: Config, directory: Path) -> None:
    """Write a model that is asked as a configuration says and has learned nothing.

    The base's files are hard links where the disk allows it.

    Args:
        config: Of a run that never takes place: its base, its question, its style.
        directory: Must not exist; it appears whole.

    Raises:
        CheckpointError: If the configuration wants coord tokens and the base has none.
        InputError: If there is no base.
    """
    base = config.model.path
    if not base.is_dir():
        raise InputError(f"model.path: there is no folder {base}")
    vocab = build_vocab(config)
    card = WeightsCard(
        base=None,
        tokenizer=tokenizer_fingerprint(load_tokenizer(base)),
        coord_ids=None if vocab is None else (vocab.ids[0], vocab.ids[-1]),
        coord_rows=None,
        tie_head=None,
    )
    with whole_directory(directory, overwrite=False) as unfinished:
        for path in sorted(base.iterdir()):
            if path.is_file() and path.name != CARD_NAME:
                link_file(path, unfinished / path.name)
        write_card(
            unfinished,
            style=style_to_json(build_style(config)),
            weights=card,
            origin=load_origin(base),
        )
