"""The page: its parts, that it needs nothing else, and that a browser draws its charts."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from specctl.bench.charts import Axis
from specctl.bench.page import page, write_page
from tests.bench.fakes import Fake, FakeTimer, bench

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
PROBE = """<script>
document.documentElement.dataset.charts = JSON.stringify(
  [...document.querySelectorAll("figure")].map(figure => {
    const svg = figure.querySelector("svg.chart"), box = svg.getBoundingClientRect();
    const inside = [...svg.querySelectorAll("circle")].every(dot => {
      const place = dot.getBoundingClientRect();
      return place.width > 0 && place.left >= box.left && place.right <= box.right
        && place.top >= box.top && place.bottom <= box.bottom;
    });
    return {caption: figure.querySelector("figcaption").innerText, width: box.width,
            height: box.height, dots: svg.querySelectorAll("circle").length,
            lines: svg.querySelectorAll("polyline").length, inside};
  }));
</script>"""
VOID = {"meta", "circle", "line", "polyline"}


@pytest.fixture(scope="module")
def report():
    timer = FakeTimer()
    found = bench(
        timer,
        Fake("specctl-fft", timer, lambda call: 0.1),
        Fake("torch.stft", timer, lambda call: 0.4),
        Fake("nnAudio", timer, lambda call: 0.8),
        Fake("a <wrong> & odd name", timer, off_db=0.3),
        sweep="n_fft",
        n_fft=None,
        hop_length=None,
        rounds=2,
    )
    found.doubts = ["fewer than <6> samples"]
    return found


class Tags(HTMLParser):
    """Counts tags and sees that they are closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.counts, self.links = [], {}, []

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_is_whole_and_needs_nothing_else(report):
    text = page(report)
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.links == []
    assert not re.search(r"https?:|@import|url\(", text)


def test_has_charts_and_a_table_for_each_workload(report):
    tags = Tags()
    tags.feed(page(report))
    # n_fft was swept through six values: cost, memory, and error beside speed
    assert (tags.counts["svg"], tags.counts["table"]) == (3, 6)
    # three contenders in two charts with lines
    assert tags.counts["polyline"] == 6
    # six dots each in three charts, and one for each in three legends
    assert tags.counts["circle"] == 3 * 3 * 6 + 3 * 3


def test_names_are_escaped(report):
    text = page(report)
    assert "a &lt;wrong&gt; &amp; odd name" in text
    assert "<wrong>" not in text
    assert "fewer than &lt;6&gt; samples" in text


def test_holds_the_whole_report_as_data(report):
    text = page(report)
    (data,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', text)
    assert json.loads(data) == json.loads(json.dumps(report.to_dict()))


def test_a_wrong_contender_has_no_dot_and_no_time(report):
    rows = re.findall(r'<tr class="failed">.*?</tr>', page(report))
    assert len(rows) == 6
    assert all("<td>-</td>" * 6 in row and "breaks the contract" in row for row in rows)


def test_is_written_whole_or_not_at_all(report, tmp_path):
    write_page(tmp_path / "out.html")(report)
    assert [path.name for path in tmp_path.iterdir()] == ["out.html"]
    assert (tmp_path / "out.html").read_text(encoding="utf-8") == page(report)


def test_a_run_without_times_is_a_page_without_charts():
    timer = FakeTimer()
    tags = Tags()
    tags.feed(page(bench(timer, Fake("specctl-fft", timer), verify=True)))
    assert "svg" not in tags.counts
    # mel, complex, magnitude and train
    assert tags.counts["table"] == 4


def test_equal_factors_are_equally_far_apart():
    axis = Axis.over("Hz", [100.0, 10_000.0])
    assert [axis.share(value) for value in (100, 1000, 10_000)] == pytest.approx([0, 0.5, 1])


@pytest.mark.skipif(BROWSER is None, reason="no chromium here: apt install chromium")
def test_a_browser_draws_the_charts(report, tmp_path):
    path = tmp_path / "out.html"
    path.write_text(page(report).replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [BROWSER, *flags, profile, "--window-size=1300,900", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (found,) = re.findall(r'data-charts="(.*?)"', done.stdout)
    charts = json.loads(found.replace("&quot;", '"'))
    captions = [chart["caption"] for chart in charts]
    assert captions == ["Cost", "Peak memory", "Error beside speed"]
    assert [chart["lines"] for chart in charts] == [3, 3, 0]
    for chart in charts:
        assert chart["width"] > 300 and chart["height"] > 150
        assert chart["dots"] == 21 and chart["inside"]
