"""The page of a verdict, as Markdown and as one self-contained HTML file."""

from html.parser import HTMLParser

from matplotlib.figure import Figure

from lightning_modules.experiments.page import Heading, Items, Paragraph, Picture, Table, write_page

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Text, and what the page refers to; fails on tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_page(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2])
    blocks = [
        Heading("Title"), Paragraph("a < b & c", lead=True), Items(["one", "two"]), Table(["row", "LE"], [["x|y", "0.5"]]),
        Picture(figure, "picture.png", "what it shows"), Heading("Second"),
    ]  # fmt: skip
    files = write_page(blocks, tmp_path)
    assert sorted(path.name for path in files) == ["picture.png", "report.html", "report.md"] and all(
        f.is_file() for f in files
    )
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Title\n\n**a < b & c**\n\n- one\n- two\n\n| row | LE |\n| --- | ---: |\n| x\\|y | 0.5 |")
    assert "![what it shows](picture.png)" in text and "\n## Second\n" in text
    reader = Reader()
    reader.feed((tmp_path / "report.html").read_text())
    assert reader.open == [] and "a < b & c" in reader.text and "x|y" in reader.text
    assert len(reader.links) == 1 and reader.links[0].startswith("data:image/png;base64,")
