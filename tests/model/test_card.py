from pathlib import Path

import pytest

from coordexp.errors import CheckpointError
from coordexp.model.card import WeightsCard, load_card_section, load_weights_card, write_card

ADAPTER = WeightsCard(
    base="../base", tokenizer="ab12", coord_ids=(5, 9), coord_rows="cd34", tie_head=False
)
MERGED = WeightsCard(base=None, tokenizer="ab12", coord_ids=None, coord_rows=None, tie_head=None)


@pytest.mark.parametrize("card", [ADAPTER, MERGED])
def test_a_card_is_read_back(tmp_path: Path, card: WeightsCard) -> None:
    write_card(tmp_path, style={"user_prompt": "Wo ist die Größe?"}, weights=card)
    assert load_weights_card(tmp_path) == card
    assert load_card_section(tmp_path, "style") == {"user_prompt": "Wo ist die Größe?"}


def test_a_missing_section_is_named(tmp_path: Path) -> None:
    write_card(tmp_path, style={}, weights=ADAPTER)
    with pytest.raises(CheckpointError, match="'certificate' is missing"):
        load_card_section(tmp_path, "certificate")
