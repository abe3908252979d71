"""CVAT for images, every kind of shape."""

from pathlib import Path

import pytest

from coordexp.data.convert.objects.mapping import KeepRules
from coordexp.errors import InputError
from tests.data.convert.sources import HEIGHT, WIDTH, convert, write_picture


def write_cvat(folder: Path, *images: str, name: str = "annotations.xml") -> Path:
    path = folder / name
    body = "".join(images)
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<!-- exported -->\n<annotations>'
        f"<version>1.1</version><meta><task><id>3</id></task></meta>{body}</annotations>\n"
    )
    return path


def image(*shapes: str, name: str = "a.png", subset: str = "default") -> str:
    head = f'<image id="0" name="{name}" subset="{subset}" width="{WIDTH}" height="{HEIGHT}">'
    return head + "".join(shapes) + "</image>"


def box(label: str = "cat", *, more: str = "") -> str:
    return (
        f'<box label="{label}" occluded="0" xtl="1.50" ytl="2.00" xbr="30.25" ybr="40.00" {more}/>'
    )


POLYGON = '<polygon label="dog" points="1.0,1.0;20.0,1.0;20.0,20.0" {}/>'


@pytest.mark.parametrize("named", [{}, {"kind": "cvat"}])
@pytest.mark.parametrize("whole", [True, False])
def test_boxes_are_edges_in_pixels(tmp_path: Path, *, whole: bool, named: dict[str, str]) -> None:
    write_picture(tmp_path / "images" / "a.png")
    src = write_cvat(tmp_path, image(box(), box("dog", more='rotation="360.0" z_order="2"')))
    done = convert(tmp_path if whole else src, tmp_path / "out.jsonl", **named)
    assert done.kind == "cvat"
    assert done.things == [[("cat", (1.5, 2, 30.25, 40)), ("dog", (1.5, 2, 30.25, 40))]]


def test_other_shapes_become_what_records_have(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    shapes = [
        '<polyline label="leash" points="1.00,2.00;3.00,4.00;5.00,9.00"/>',
        '<ellipse label="ball" cx="20.00" cy="20.00" rx="10.00" ry="5.00" rotation="90.0"/>',
        '<mask label="cat" rle="3, 4, 5" left="2" top="3" width="4" height="3"/>',
        '<box label="sign" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90.00"/>',
        POLYGON.format(""),
    ]
    src = write_cvat(tmp_path, image(*shapes))
    done = convert(src, tmp_path / "out.jsonl", KeepRules(geometry="prefer-poly"))
    (things,) = done.things
    assert dict(things) == {
        "leash": (1, 2, 3, 4, 5, 9),
        "ball": pytest.approx((15, 10, 25, 30)),
        "cat": (2, 3, 6, 6),
        "sign": pytest.approx((15, 5, 25, 5, 25, 25, 15, 25)),
        "dog": (1, 1, 20, 1, 20, 20),
    }


def test_pieces_of_one_thing_are_one(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    pieces = [
        POLYGON.format('group_id="4"'),
        POLYGON.replace("20.0", "40.0").format('group_id="4"'),
    ]
    alone = POLYGON.format('group_id="0"')
    done = convert(write_cvat(tmp_path, image(*pieces, alone, alone)), tmp_path / "out.jsonl")
    assert done.things == [
        [("dog", (1, 1, 40, 40)), ("dog", (1, 1, 20, 20)), ("dog", (1, 1, 20, 20))]
    ]


def test_what_has_no_place_in_a_record_is_counted(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    shapes = [
        box(),
        '<points label="nose" points="3.0,4.0"/>',
        '<cuboid label="car" xtl1="1"/>',
        '<skeleton label="person"><points label="nose" points="3.0,4.0"/></skeleton>',
        '<tag label="night"/>',
        '<box label="cat" xtl="a" ytl="2" xbr="3" ybr="4"/>',
        '<box label="cat" xtl="1" ytl="2"/>',
        '<polygon label="cat" points="1,2;3;4,5"/>',
        '<polygon label="cat" points="1,2;3,4"/>',
        "<cloud/>",
    ]
    done = convert(write_cvat(tmp_path, image(*shapes)), tmp_path / "out.jsonl")
    assert done.things == [[("cat", (1.5, 2, 30.25, 40))]]
    assert done.counts == {
        "dropped: points, which have no extent": 1,
        "dropped: a cuboid": 1,
        "dropped: a skeleton": 1,
        "dropped: a tag, which is said of the whole picture": 1,
        "dropped: coordinates that are no finite numbers": 2,
        "dropped: points that are no pairs of x and y": 1,
        "dropped: too few coordinates": 1,
        "dropped: a <cloud>, which CVAT for images does not have": 1,
    }


def test_a_split_is_a_subset_or_a_file(tmp_path: Path) -> None:
    for name in "ab":
        write_picture(tmp_path / f"{name}.png")
    src = write_cvat(
        tmp_path,
        image(box(), name="a.png", subset="Train"),
        image(box("dog"), name="b.png", subset="Validation"),
    )
    assert convert(tmp_path, tmp_path / "o.jsonl", split="val").things[0][0][0] == "dog"
    assert len(convert(src, tmp_path / "p.jsonl").records) == 2
    with pytest.raises(InputError, match="no subset 'test'; there are Train, Validation"):
        convert(src, tmp_path / "q.jsonl", split="test")
    src.unlink()
    write_cvat(tmp_path, image(box(), name="a.png"), name="train.xml")
    write_cvat(tmp_path, image(box("dog"), name="b.png"), name="val.xml")
    assert convert(tmp_path, tmp_path / "r.jsonl", split="val").things[0][0][0] == "dog"
    with pytest.raises(InputError, match=r"several annotation files: train\.xml, val\.xml"):
        convert(tmp_path, tmp_path / "s.jsonl")


def test_videos_and_entities_are_refused(tmp_path: Path) -> None:
    src = write_cvat(tmp_path, '<track id="0" label="cat"/>')
    with pytest.raises(InputError, match=r"tracks of a video; export the task .* for images"):
        convert(src, tmp_path / "out.jsonl")
    src.write_text(
        '<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><annotations>&d;</annotations>'
    )
    with pytest.raises(InputError, match="defines XML entities"):
        convert(src, tmp_path / "out.jsonl", kind="cvat")


def test_it_is_told_from_voc(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    voc = tmp_path / "a.xml"
    voc.write_text("<annotation><filename>a.png</filename></annotation>")
    assert convert(voc, tmp_path / "o.jsonl").kind == "voc"
    voc.write_text("<annotationses/>")
    with pytest.raises(InputError, match="expected a VOC <annotation>, got <annotationses>"):
        convert(voc, tmp_path / "p.jsonl")
