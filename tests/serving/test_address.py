import json
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from coordexp.errors import InputError
from coordexp.serving.address import (
    bound_socket,
    curl_line,
    exposure_warning,
    is_loopback,
    url_of,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_warning(host: str) -> None:
    assert is_loopback(host)
    assert exposure_warning(host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gpu-box"])
def test_whatever_others_reach_is_warned_of(host: str) -> None:
    assert "no password" in (exposure_warning(host) or "")


def test_a_port_that_is_taken_is_said() -> None:
    with bound_socket("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}.*choose another"):
            bound_socket("127.0.0.1", port)


def test_an_address_of_another_machine_is_said() -> None:
    with pytest.raises(InputError, match=r"192\.0\.2\.1"):
        bound_socket("192.0.2.1", 0)


def test_urls_are_those_that_this_machine_reaches() -> None:
    assert url_of("0.0.0.0", 8) == "http://127.0.0.1:8"
    assert url_of("::", 8) == url_of("::1", 8) == "http://[::1]:8"
    assert url_of("localhost", 8) == "http://localhost:8"


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize("prompt", ["Find.", 'It\'s 100%\\n "é" $HOME `x`', "two\nlines"])
def test_the_curl_line_sends_what_training_asked(prompt: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = curl_line(f"http://127.0.0.1:{server.getsockname()[1]}", "m's", "Sys", prompt)
        (tmp_path / "picture.png").write_bytes(bytes(range(256)) * 10)
        process = subprocess.Popen(["sh", "-c", line], cwd=tmp_path)
        connection, _ = server.accept()
        with connection:
            received = b""
            while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < int(
                received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            ):
                received += connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert process.wait(20) == 0
    body = json.loads(received.partition(b"\r\n\r\n")[2])
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Sys"}
    assert user["content"][1]["text"] == prompt
    assert body["model"] == "m's"
    assert body["skip_special_tokens"] is False
