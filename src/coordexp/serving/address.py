"""Where a server listens."""

import ipaddress
import json
import shlex
import socket

from coordexp.errors import InputError

_PLACE = "(the picture)"


def is_loopback(host: str) -> bool:
    """Return whether a host is reached from this machine alone.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def exposure_warning(host: str) -> str | None:
    """Return what is to be said of a host that others reach, None of loopback."""
    if is_loopback(host):
        return None
    return (
        f"warning: listening on {host}: whoever reaches this machine may ask, and there is no "
        "password and no encryption; put a proxy with both in front, or use --host 127.0.0.1"
    )


def bound_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is bound and does not listen yet.

    Args:
        host: A name or an address.
        port: 0 takes one that is free.

    Raises:
        InputError: If the address is taken, or none of this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"--host {host}: {error.strerror or error}") from None
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise InputError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another --port"
        ) from None
    return bound


def url_of(host: str, port: int) -> str:
    """Return the URL under which a server is reached from this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def curl_line(url: str, model: str, system_prompt: str | None, prompt: str) -> str:
    """Return a command that asks a server about `picture.png`.

    Args:
        url: The server's.
        model: What the model is called there.
        system_prompt: None where the model was trained without one.
        prompt: What it was trained on.
    """
    picture = {"type": "image_url", "image_url": {"url": _PLACE}}
    turns: list[dict[str, object]] = [
        {"role": "user", "content": [picture, {"type": "text", "text": prompt}]}
    ]
    if system_prompt is not None:
        turns.insert(0, {"role": "system", "content": system_prompt})
    body = {"model": model, "temperature": 0, "skip_special_tokens": False, "messages": turns}
    # printf has its own meaning for these two.
    said = json.dumps(body).replace("\\", "\\\\").replace("%", "%%")
    said = said.replace(_PLACE, "data:image/png;base64,%s")
    return (
        f"printf {shlex.quote(said)} \"$(base64 < picture.png | tr -d '\\n')\" | "
        f"curl -s {url}/v1/chat/completions -H 'Content-Type: application/json' -d @-"
    )
