"""Words that want to be more than words, and what a page makes of them."""

from html.parser import HTMLParser

from typing_extensions import override

# What a browser, a template engine or a formatter would act on.
EVIL = (
    "<script>document.title = 'run'</script> "
    "</script></style></title></textarea><img src=x onerror=\"document.title = 'run'\"> "
    "\" onmouseover=\"document.title = 'run'\" '><svg onload=x> "
    "{{ 7 * 7 }} {% raise %} {# gone #} ${7 * 7} %s {0} "
    "javascript:document.title='run' <!-- --> <![CDATA[ ]]> &lt;b&gt; &amp;"
)
NAME = "'\"><img src=x onerror=\"document.title='run'\">{{ 7 * 7 }}&amp;.png"
"""The same as a name of a file."""
LONG = 90 * "w"
"""A word wider than a phone."""


class PageReader(HTMLParser):
    """Collects the text of a page, and its elements with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[tuple[str, dict[str, str]]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    @override
    def handle_data(self, data: str) -> None:
        self.text += data


def check_words_stay_words(page: str, *expected: str, times: int = 1) -> None:
    """Check that a page shows some words as they are and does nothing because of them.

    Args:
        page: The whole document.
        expected: What it must show.
        times: How often at least.
    """
    reader = PageReader()
    reader.feed(page)
    reader.close()
    for words in expected:
        assert reader.text.count(words) >= times, words
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("script") == tags.count("style") == 1
    assert not {"iframe", "object", "embed", "form", "base", "textarea"} & set(tags)
    for tag, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        for name in {"src", "href", "xlink:href", "action"} & set(attributes):
            assert attributes[name].startswith(("#s", "data:image/", "data:,")), (tag, attributes)
