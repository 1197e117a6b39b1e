"""The HTML page: self-contained, safe for any name, with every plot that the profile has figures for."""

import re
from html.parser import HTMLParser

import pytest
from sample_profiles import batches_profile, case_of, npu_profile, profile_of, run_of

from ms_omni.profiling.document import OTHER, STAGES
from ms_omni.profiling.report import html, plots, render

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Nesting(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags = [], [], set()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page():
    return render(npu_profile(), "html")


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    nesting = Nesting()
    nesting.feed(page)
    assert nesting.open == []
    assert len(nesting.ids) == len(set(nesting.ids))


def test_the_page_requests_nothing_and_runs_nothing(page):
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", page)
    assert all(address.startswith("#") for address in addresses)
    assert "<script" not in page and "@import" not in page
    assert set(re.findall(r"https?://[^\"\s]+", page)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_every_colour_of_a_plot_is_the_pages_own(page):
    svgs = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert set(re.findall(r"#[0-9a-f]{6}\b", svgs)) <= {"#ffffff", "#000000"}
    used = set(re.findall(r"var\((--[\w-]+)", page)) - {"--c", "--value"}
    styles = page[: page.index("</style>")]
    assert all(f"{name}:" in styles for name in used)
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert "var(--stage-code2wav)" in drawn[0] and "var(--side-" not in drawn[0]
    assert {"var(--side-0)", "var(--side-1)"} <= set(re.findall(r"var\(--[\w-]+\)", drawn[-1]))
    assert "var(--stage-" not in drawn[-1]
    assert {f"--stage-{name.replace('_', '-')}" for name in (*STAGES, OTHER)} <= set(re.findall(r"--[\w-]+", styles))


def test_names_are_text_and_never_markup():
    text = render(profile_of([case_of("<script>alert(1)</script> $x$ & <b>")]), "html")
    assert "<script" not in text and "&lt;script&gt;" in text


def test_every_plot_of_the_profile_is_there(page):
    for heading in (
        "Where the time goes",
        "When each stage works",
        "Speed against length",
        "Memory",
        "bandwidth roofline",
    ):
        assert heading in page
    assert page.count("<svg") == 2 * 3 + 1
    assert "audio 30 min" in page and "needs 70.1 GB" in page


def test_speed_is_drawn_against_conversations_at_once():
    text = render(batches_profile(), "html")
    titles = re.findall(r'aria-label="([^"]+)"', text)
    assert "Thinker tokens, Talker frames and answers a second against conversations at once" in titles
    plot = next(svg for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if "answers a second" in svg)
    assert all(f">{title}<" in plot for title in ("Thinker, tokens/s", "Talker, frames/s", "answers/s"))
    assert "Conversations at once" in text and "against conversations at once" not in render(profile_of(), "html")


def test_without_figures_a_plot_is_left_out():
    run = run_of(walls=(1.0,))
    bare = run.model_copy(
        update={"figures": {}, "repeats": [run.repeats[0].model_copy(update={"spans": [], "marks": {}})]}
    )
    text = render(profile_of([case_of(runs=[bare])]), "html")
    assert "<svg" not in text and "roofline" not in text and "Memory" not in text
    assert "not measured" in text and "Where the time goes" in text


def test_the_parts_of_a_bar_are_the_whole_answer_that_is_the_median():
    runs = [run_of("mindone", (30.0, 36.0, 33.0)), run_of("fused", (3.0, 1.0, 2.0))]
    stacks = html._stacks(case_of(runs=runs))
    assert [bar["seconds"] for bar in stacks["bars"]] == ["33.0", "2.00"]
    assert [bar["width"] for bar in stacks["bars"]] == pytest.approx([100, 100 * 2 / 33])
    for bar in stacks["bars"]:
        assert sum(part["share"] for part in bar["parts"]) == pytest.approx(100)
    assert stacks["uneven"]


def test_the_limit_is_the_speed_over_its_share_of_the_bandwidth():
    assert plots.bandwidth_limit(run_of()) == pytest.approx(50.0 / 0.42)
    assert plots.bandwidth_limit(run_of(walls=())) is None


def test_close_spans_are_one_bar():
    repeat = run_of(walls=(1.0,)).repeats[0]
    span = repeat.spans[0].model_copy(update={"stage": "compile"})
    spans = [span.model_copy(update={"start_s": s, "end_s": e}) for s, e in ((0.5, 0.6), (0.1, 0.2), (0.2005, 0.3))]
    assert plots._stretches(repeat.model_copy(update={"spans": spans}), "compile") == [(0.1, 0.3), (0.5, 0.6)]


def test_a_stage_too_short_to_be_seen_has_no_row():
    run = run_of(walls=(1.0,))
    (repeat,) = run.repeats
    spans = [repeat.spans[0].model_copy(update={"end_s": repeat.spans[0].start_s + 0.0005}), *repeat.spans[1:]]
    case = case_of(runs=[run])
    short = run.model_copy(update={"repeats": [repeat.model_copy(update={"spans": spans})]})
    assert ">media<" in plots.timeline(case, run) and ">media<" not in plots.timeline(case, short)
    assert ">processor<" in plots.timeline(case, short)
