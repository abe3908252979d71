import json
from pathlib import Path

import pytest

from coordexp.errors import CheckpointError
from coordexp.model.card import (
    CARD_NAME,
    WeightsCard,
    load_card_section,
    load_trained_classes,
    load_weights_card,
    write_card,
)

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


def test_trained_classes_keep_their_order(tmp_path: Path) -> None:
    write_card(tmp_path, style={}, weights=MERGED, classes=["zèbre", "ant"])
    assert load_trained_classes(tmp_path) == ("zèbre", "ant")
    write_card(tmp_path, style={}, weights=MERGED)
    assert load_trained_classes(tmp_path) is None


def test_a_card_from_before_the_list_of_classes_is_read(tmp_path: Path) -> None:
    write_card(tmp_path, style={"a": 1}, weights=ADAPTER)
    card = json.loads((tmp_path / CARD_NAME).read_text("utf-8"))
    del card["classes"]
    (tmp_path / CARD_NAME).write_text(json.dumps(card), "utf-8")
    assert load_trained_classes(tmp_path) is None
    assert load_weights_card(tmp_path) == ADAPTER
    assert load_card_section(tmp_path, "style") == {"a": 1}


@pytest.mark.parametrize("classes", ["cat", [1], ["cat", "cat"], {"cat": 0}])
def test_a_list_of_classes_that_is_none_is_refused(tmp_path: Path, classes: object) -> None:
    write_card(tmp_path, style={}, weights=MERGED)
    card = json.loads((tmp_path / CARD_NAME).read_text("utf-8")) | {"classes": classes}
    (tmp_path / CARD_NAME).write_text(json.dumps(card), "utf-8")
    with pytest.raises(CheckpointError, match=r"coordexp\.json: classes: "):
        load_trained_classes(tmp_path)
