import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coordexp.client.detect import Client
from coordexp.client.request import ServedAsk
from coordexp.client.transport import Patience
from coordexp.errors import CheckpointError, CoordExpError, InputError, RecordError
from tests.client.conftest import PlayedBack
from tests.client.replies import SIX, box, completion

PICTURE = Image.new("RGB", (200, 100), "navy")
AT_ONCE = Patience(connect_s=5, answer_s=5, retries=3, first_wait_s=0.0)


def client_of(server: PlayedBack, asked: Path, **options: object) -> Client:
    return Client(server.url, asked, patience=AT_ONCE, **options)  # type: ignore[arg-type]


def test_a_picture_becomes_detections_in_its_pixels(server: PlayedBack, asked: Path) -> None:
    server.says(completion(*SIX, ("<|im_end|>", 1.0)))
    (six,) = client_of(server, asked).detect(PICTURE).objects
    assert (six.desc, six.geometry.kind) == ("six", "bbox_2d")
    assert six.geometry.values == pytest.approx([20.02, 20.02, 100.1, 60.06], abs=0.01)
    assert six.score == pytest.approx(0.9 * 0.5)


def test_the_mass_around_a_coordinate_counts(server: PlayedBack, asked: Path) -> None:
    tokens: list[tuple[object, ...]] = [*SIX]
    places = [i for i, token in enumerate(SIX) if token[0].startswith("<|coord_")]
    for place in places:
        text, _ = SIX[place]
        k = int(text[8:-2])
        tokens[place] = (
            text,
            0.5,
            {f"<|coord_{k + 3}|>": 0.3, f"<|coord_{k + 9}|>": 0.1, "x": 0.1},
        )
    server.says(completion(*tokens))  # type: ignore[arg-type]
    (six,) = client_of(server, asked).detect(PICTURE).objects
    assert six.parts["coord"] == pytest.approx(0.8)


def test_it_asks_what_the_model_was_trained_on(
    server: PlayedBack, make_asked: Callable[..., Path]
) -> None:
    server.says(completion(("{}", 1.0)))
    Client(server.url, make_asked(system_prompt="You see.")).detect(PICTURE)
    Client(server.url + "/v1/", make_asked()).detect(PICTURE, prompt="Find a <|coord_5|>.")
    first, second = server.asked
    assert first["model"] == "digits"
    system, user = first["messages"]  # type: ignore[misc] # a list
    assert system == {"role": "system", "content": "You see."}
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert user["content"][1]["text"] == "Find every digit."
    assert first["skip_special_tokens"] is False
    assert first["spaces_between_special_tokens"] is False
    assert (first["top_p"], first["repetition_penalty"]) == (1.0, 1.0)
    assert (first["temperature"], first["logprobs"], first["top_logprobs"]) == (0.0, True, 256)
    (user,) = second["messages"]  # type: ignore[misc]
    assert user["content"][1]["text"] == "Find a <|coord_5|>."


def test_a_model_of_class_lists_is_asked_for_the_classes(
    server: PlayedBack, make_asked: Callable[..., Path]
) -> None:
    server.says(completion(("{}", 1.0)))
    listed = make_asked(user_prompt="Find six, zero.", class_prompt="Find {classes}.")
    client = Client(server.url, listed)
    client.detect(PICTURE)
    client.detect(PICTURE, classes=["zero", "yak"])
    client.detect(PICTURE, classes=["zero"], prompt="Find a kite.")
    Client(server.url, make_asked()).detect(PICTURE, classes=["zero"])
    texts = [body["messages"][-1]["content"][1]["text"] for body in server.asked]  # type: ignore[index]
    assert texts == ["Find six, zero.", "Find zero, yak.", "Find a kite.", "Find every digit."]


def test_a_path_the_content_of_a_file_and_a_picture_are_the_same(
    server: PlayedBack, asked: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 150, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "a.png", exif=exif)
    server.says(completion(("{}", 1.0)))
    client = client_of(server, asked)
    for image in (picture, tmp_path / "a.png", str(tmp_path / "a.png")):
        client.detect(image)
    client.detect((tmp_path / "a.png").read_bytes())
    first, *others = (body["messages"] for body in server.asked)
    assert all(other == first for other in others)


def test_classes_are_a_filter(
    server: PlayedBack, asked: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.says(
        completion(
            ("{", 1.0),
            *box(1, "six", 1, 2, 3, 4),
            (", ", 1.0),
            *box(2, "two", 1, 2, 3, 4),
            ("}", 1),
        )
    )
    found = client_of(server, asked).detect(PICTURE, classes=["six", "sixx"])
    assert [item.desc for item in found.objects] == ["six"]
    assert [drop.reason for drop in found.dropped] == ["not in classes"]
    assert "did you mean 'six'" in caplog.text


def test_pictures_and_prompts_that_cannot_be_asked_are_said(
    server: PlayedBack, asked: Path, tmp_path: Path
) -> None:
    client = client_of(server, asked)
    with pytest.raises(RecordError, match="no file"):
        client.detect(tmp_path / "nothing.png")
    with pytest.raises(RecordError, match="cannot be read as a picture"):
        client.detect(b"no picture")
    with pytest.raises(RecordError, match="too thin"):
        client.detect(Image.new("RGB", (1000, 2)))
    with pytest.raises(RecordError, match=r"<\|im_end\|>"):
        client.detect(PICTURE, prompt="Stop.<|im_end|>")
    whole = BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), dtype=np.uint8)).save(
        whole, "PNG"
    )
    with pytest.raises(RecordError, match="cannot be read as a picture"):
        client.detect(whole.getvalue()[:-2000])
    assert not server.asked


def test_more_fields_are_sent_but_none_in_the_place_of_ours(
    server: PlayedBack, asked: Path
) -> None:
    server.says(completion(("{}", 1.0)))
    ask = ServedAsk(max_tokens=7, extra={"structured_outputs": {"grammar": "root"}})
    client_of(server, asked, ask=ask).detect(PICTURE)
    assert server.asked[0]["structured_outputs"] == {"grammar": "root"}
    assert server.asked[0]["max_tokens"] == 7
    with pytest.raises(InputError, match="temperature is set by the client"):
        client_of(server, asked, ask=ServedAsk(extra={"temperature": 1})).detect(PICTURE)


def test_a_folder_that_does_not_say_how_to_ask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"copy coordexp\.json"):
        Client("http://127.0.0.1:1", tmp_path)


def test_many_threads_share_a_client(server: PlayedBack, asked: Path) -> None:
    server.says(completion(*SIX))
    client = client_of(server, asked, connections=4)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(client.detect, [PICTURE] * 16))
    assert {len(each.objects) for each in found} == {1}
    assert len(server.asked) == 16


def test_it_needs_neither_torch_nor_transformers() -> None:
    forbidden = ("torch", "transformers", "peft", "accelerate", "supervision", "scipy")
    code = (
        "import sys\n"
        f"for name in {forbidden!r}: sys.modules[name] = None\n"
        "import coordexp, coordexp.client.detect\n"
        "print(coordexp.Client.__module__)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("coordexp.client.detect")


def test_two_models_want_a_name(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("http://127.0.0.1:1", asked)
    both = b'{"data": [{"id": "a"}, {"id": "b"}]}'
    monkeypatch.setattr(client._transport, "ask", lambda _path: both)
    with pytest.raises(InputError, match="serves a, b"):
        client.detect(PICTURE)
    client = Client("http://127.0.0.1:1", asked)
    monkeypatch.setattr(client._transport, "ask", lambda _path: b"<html>")
    with pytest.raises(CoordExpError, match="tells no models"):
        client.detect(PICTURE)


def sent_to(server: PlayedBack, asked: Path, **options: object) -> dict[str, object]:
    server.says(completion(*SIX, ("<|im_end|>", 1.0)))
    client_of(server, asked, **options).detect(PICTURE)
    return server.asked[-1]


def test_vllm_is_sent_the_grammar(server: PlayedBack, asked: Path) -> None:
    server.owner = "vllm"
    structured = sent_to(server, asked, ask=ServedAsk(max_tokens=80))["structured_outputs"]
    assert isinstance(structured, dict)
    rules = structured["grammar"].splitlines()
    assert rules[0] == 'root ::= "{" ("}" | object1)'
    assert f"coord ::= Token({', '.join(map(str, range(389, 1389)))})" in rules
    assert sum(rule.startswith("object") for rule in rules) == 21  # 80 tokens, four a point
    named = sent_to(server, asked, name="digits")
    assert "structured_outputs" in named


def test_no_grammar_is_sent_to_other_servers_nor_where_it_is_not_wanted_or_known(
    server: PlayedBack, asked: Path, make_asked: Callable[..., Path]
) -> None:
    assert "structured_outputs" not in sent_to(server, asked)
    server.owner = "vllm"
    assert "structured_outputs" not in sent_to(server, asked, ask=ServedAsk(constrain=False))
    for unknown in ({"coord_ids": None}, {"coord_tokens": False}):
        assert "structured_outputs" not in sent_to(server, make_asked(**unknown))
    own = {"structured_outputs": {"grammar": 'root ::= "{}"'}}
    assert (
        sent_to(server, asked, ask=ServedAsk(extra=own))["structured_outputs"]
        == own["structured_outputs"]
    )
    assert "structured_outputs" not in sent_to(server, asked, name="one that it does not tell of")


def test_a_server_that_tells_no_models_is_asked_by_name(
    server: PlayedBack, asked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(server, asked, name="digits")
    whole = client._transport.ask

    def ask(path: str, body: dict[str, object] | None = None) -> bytes:
        return whole(path, body) if body else b"no such page"

    monkeypatch.setattr(client._transport, "ask", ask)
    server.says(completion(*SIX, ("<|im_end|>", 1.0)))
    assert len(client.detect(PICTURE).objects) == 1
    assert "structured_outputs" not in server.asked[-1]
