"""`coordexp serve`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coordexp.cli.predict import Constrain

if TYPE_CHECKING:
    from coordexp.inference.run.predictor import Predictor


class ServeBackend(StrEnum):
    """What serves the model."""

    AUTO = "auto"
    HF = "hf"
    VLLM = "vllm"


def serve(
    model: Annotated[Path, typer.Argument(help="Merged model; --backend hf serves adapters too.")],
    host: Annotated[str, typer.Option(help="Where it listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: one that is free.")] = 8000,
    backend: Annotated[
        ServeBackend,
        typer.Option(help="vLLM's server, or our small one; auto: vLLM where it is installed."),
    ] = ServeBackend.AUTO,
    constrain: Annotated[
        Constrain, typer.Option(help="hf: keep answers inside the grammar; vLLM decodes freely.")
    ] = Constrain.ON,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="hf: pictures at once.", show_default="8")
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option(min=1, help="hf: requests that may be there at once.", show_default="64"),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="vLLM: one more of its options; may be repeated."),
    ] = None,
) -> None:
    """Serve a model over OpenAI's chat completions.

    Prompt and sizes of pictures come from its coordexp.json. Ask it with coordexp.Client, with
    coordexp predict --backend http, or with the curl line that is printed.
    """
    from coordexp.serving.address import exposure_warning  # noqa: PLC0415
    from coordexp.serving.vllm_server import is_vllm_installed  # noqa: PLC0415

    if warning := exposure_warning(host):
        typer.echo(warning, err=True)
    if backend is ServeBackend.VLLM or (backend is ServeBackend.AUTO and is_vllm_installed()):
        if batch_size is not None or queue is not None:
            raise typer.BadParameter("--batch-size and --queue are for --backend hf")
        _serve_vllm(model, host, port, max_new_tokens, engine or [])
        return
    if engine:
        raise typer.BadParameter("--engine is for --backend vllm")
    _serve_own(model, host, port, constrain, (max_new_tokens, batch_size or 8, queue or 64))


def _serve_vllm(model: Path, host: str, port: int, max_new_tokens: int, engine: list[str]) -> None:
    import torch  # noqa: PLC0415

    from coordexp.client.asked_model import served_name  # noqa: PLC0415
    from coordexp.inference.run.vllm_engine import parse_engine_options  # noqa: PLC0415
    from coordexp.serving.address import bound_socket, curl_line, url_of  # noqa: PLC0415
    from coordexp.serving.vllm_server import (  # noqa: PLC0415
        VllmServer,
        become_vllm,
        load_vllm_model,
        vllm_command,
    )

    told = parse_engine_options(engine)
    asked = load_vllm_model(model)
    with bound_socket(host, port) as bound:  # vLLM would find out after a minute
        port = bound.getsockname()[1]
    server = VllmServer(host=host, port=port, max_new_tokens=max_new_tokens, engine=told)
    command = vllm_command(asked, server, on_cpu=not torch.cuda.is_available())
    typer.echo("once vLLM is ready, ask it with:")
    style = asked.style
    url = url_of(host, port)
    typer.echo(curl_line(url, served_name(model), style.system_prompt, style.user_prompt))
    become_vllm(command)


def _serve_own(
    model: Path, host: str, port: int, constrain: Constrain, sizes: tuple[int, int, int]
) -> None:
    from coordexp.client.asked_model import served_name  # noqa: PLC0415
    from coordexp.errors import InputError, install_advice  # noqa: PLC0415
    from coordexp.inference.run.ask import AskOptions  # noqa: PLC0415
    from coordexp.serving.address import curl_line, url_of  # noqa: PLC0415

    try:
        from coordexp.serving.own_server import OwnServer, serve_model  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed; {install_advice('serve')}") from None

    max_new_tokens, batch_size, queue = sizes
    server = OwnServer(
        host=host,
        port=port,
        asking=AskOptions(
            constrain=constrain is Constrain.ON, restrict_to=None, max_new_tokens=max_new_tokens
        ),
        batch_size=batch_size,
        queue=queue,
    )

    def ready(bound_port: int, predictor: "Predictor") -> None:
        url = url_of(host, bound_port)
        typer.echo(f"serving {served_name(model)} at {url}; ask it with:")
        style = predictor.style
        typer.echo(curl_line(url, served_name(model), style.system_prompt, style.user_prompt))

    serve_model(model, server, ready)
    typer.echo("stopped")
