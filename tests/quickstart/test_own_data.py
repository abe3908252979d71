import shlex
from pathlib import Path

import typer.main

from coordexp.cli.app import app
from coordexp.quickstart.own_data import own_commands

STEPS = {command: told for told, command in own_commands(Path("runs/quick start/coord/train.yaml"))}
COPY = "cp 'runs/quick start/coord/train.yaml' mine.yaml"


def test_every_command_is_one_that_there_is_with_these_options() -> None:
    for line in STEPS.keys() - {COPY}:
        name, *words = shlex.split(line)
        assert name == "coordexp"
        command, context = typer.main.get_command(app), None
        while hasattr(command, "commands"):
            context = command.make_context(command.name, words[:1], parent=context)
            command, words = command.commands[words[0]], words[1:]
        command.make_context(command.name, words, parent=context)


def test_it_is_said_what_the_copied_configuration_must_name() -> None:
    (merge,) = (shlex.split(line) for line in STEPS if line.startswith("coordexp merge"))
    (expand,) = (shlex.split(line) for line in STEPS if "vocab expand" in line)
    (check,) = (shlex.split(line) for line in STEPS if "data check" in line)
    for name in (merge[2], expand[-1], check[-1]):
        assert name in STEPS[COPY]
