"""`coordexp plan`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.options import Revision, find_given

if TYPE_CHECKING:
    from coordexp.inspection.plan.table import Pace

_GB = 1e9


def plan(
    model: Annotated[
        str,
        typer.Argument(
            help="Folder of the base; config.json is enough. Or OWNER/NAME on a hub, of which that "
            "file alone is fetched."
        ),
    ],
    memory: Annotated[
        float, typer.Option(min=0.1, help="Memory of one GPU in GB, of a thousand million bytes.")
    ],
    gpus: Annotated[int, typer.Option(min=1, help="How many share a step.")] = 1,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="The run's YAML file; stage 1 with DoRA, offsets and packs of 8,192 without it.",
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(help="Its name, for the time: A100, H100, H200, L40S, RTX4090."),
    ] = None,
    revision: Revision = None,
    share: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help="Of the GPU's peak that training reaches; 0.3."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, sizes in bytes.")] = False,  # noqa: FBT002
) -> None:
    """Tell what a run costs before the base's weights are there.

    Memory and operations are counted on the run's own model, built without numbers; packs that fit
    and time are estimates, and every line says which it is. Exit code 1 says that the run's own
    pack does not fit.
    """
    from rich.console import Console  # noqa: PLC0415

    from coordexp.inspection.plan.costs import plan_costs  # noqa: PLC0415
    from coordexp.inspection.plan.settings import plan_config  # noqa: PLC0415
    from coordexp.inspection.plan.table import plan_json, plan_sheets  # noqa: PLC0415
    from coordexp.model.hub import DESCRIPTION  # noqa: PLC0415

    pace = _pace(gpu, share)
    run = plan_config(find_given(model, revision, DESCRIPTION).path, config)
    with Console(stderr=True).status("counting") as status:
        found = plan_costs(
            run,
            gpus=gpus,
            room=memory * _GB,
            say=lambda what: status.update(f"counting: {what}"),
        )
    if as_json:
        import json  # noqa: PLC0415

        typer.echo(json.dumps(plan_json(found, pace), indent=1))
    else:
        from coordexp.cli.sheets import print_sheets  # noqa: PLC0415

        print_sheets(Console(highlight=False), plan_sheets(found, pace))
    if found.total > memory * _GB:
        raise typer.Exit(1)


def _pace(gpu: str | None, share: float | None) -> "Pace | None":
    from coordexp.inspection.plan.costs import PEAKS, SHARE_OF_PEAK  # noqa: PLC0415
    from coordexp.inspection.plan.table import Pace  # noqa: PLC0415

    if gpu is None:
        if share is not None:
            raise typer.BadParameter("says something with --gpu alone", param_hint="--share")
        return None
    if gpu not in PEAKS:
        known = ", ".join(PEAKS)
        raise typer.BadParameter(f"expected one of {known}, got {gpu}", param_hint="--gpu")
    return Pace(gpu, PEAKS[gpu] * 1e12, SHARE_OF_PEAK if share is None else share)
