"""`docs/data.md` says what the command line does."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from coordexp.cli.app import app
from coordexp.config.load import load_config
from coordexp.coord_tokens.codec import SPEC_ALPHABET
from coordexp.data.files.jsonl import RecordFile
from tests.data.convert.sources import coco_document, write_coco

PAGE = (Path(__file__).parents[3] / "docs" / "data.md").read_text("utf-8")
(SHELL,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(CONFIG,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line.split() for line in SHELL.splitlines()]


def test_the_data_commands_work_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_coco(tmp_path / "coco", coco_document({"bbox": [1, 2, 3, 4]}))
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 5
    for name, *arguments in COMMANDS[:3]:
        assert name == "coordexp"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    (record,) = RecordFile(Path("coco/train.coord.jsonl"), SPEC_ALPHABET)
    assert record.objects[0].exact is not None


def test_the_other_commands_name_each_others_files(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    load_config(tmp_path / "run.yaml")
    config = yaml.safe_load(CONFIG)
    assert config["data"]["train"] == COMMANDS[1][-1]
    assert config["model"]["path"] == COMMANDS[3][-1]


def test_every_option_on_the_page_exists() -> None:
    offered = CliRunner().invoke(app, ["data", "convert", "--help"]).stdout
    for option in sorted({*re.findall(r"--[a-z][a-z-]+", PAGE)} - {"--config"}):
        assert option in offered
