"""`ms-omni plan` as a user types it: tables, Markdown, JSON, and one line for what is wrong."""

import json
import re
import subprocess
import sys

import pytest

from ms_omni.cli.main import main


@pytest.fixture
def plan(capsys):
    """plan(*flags) -> (exit code, stdout, stderr)"""

    def call(*flags):
        code = main(["plan", *map(str, flags)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_a_table_for_a_released_model(plan):
    code, out, err = plan("--model", "instruct", "--cards", "1,2", "--hardware", "a3", "--video-seconds", 15)
    assert (code, err) == (0, "")
    assert out.startswith("projected: instruct on Atlas A3")
    for words in ("Memory of a card, GB (projected)", "zero3", "thinker experts", "Decoding of one group, projected"):
        assert words in out
    assert "1393" in out and "0.73" in out
    for published in ("84.7", "141.4"):  # 78.85 and 131.65 GiB
        assert published in out
    assert "it fits with --cards 2 --parallel" in out
    counted, assumed = out.split("\nCounted:\n")[1].split("\nAssumed:\n")
    assert "MindSpore 2.7.1" in counted and "ep, a greedy Thinker token: " in counted and "Talker frame" in counted
    assert "25 us a launch in a graph: assumed" in assumed and "as much as two" in assumed


def test_markdown_is_made_of_tables(plan):
    code, out, _ = plan("--model", "thinking", "--cards", 4, "--parallel", "ep", "--format", "markdown")
    assert code == 0 and out.startswith("# Projected: thinking") and "text only" in out
    tables = [block for block in out.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 6
    for table in tables:
        assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1


def test_json_is_one_document(plan, tiny_dir):
    code, out, _ = plan(
        "--model", tiny_dir, "--cards", "1,2", "--hardware", "cpu", "--format", "json", "--image-pixels", "64x64"
    )
    document = json.loads(out)
    assert code == 0 and document["projected"] is True and document["workload"]["images"] == [[64, 64]]
    assert [(p["cards"], p["parallel"]) for p in document["plans"]] == [(1, "none"), (2, "zero3"), (2, "ep"), (2, "tp")]
    first = document["plans"][0]
    assert first["weight_bytes"] == sum(first["weight_bytes_by_part"].values())
    parts = ("weight_bytes", "kv_cache_bytes", "activation_bytes", "buffer_bytes", "process_bytes")
    assert first["total_bytes"] == pytest.approx(sum(first[part] for part in parts), abs=3)
    assert [c["cards"] for c in document["choices"]] == [1, 2]


def test_groups_of_cards(plan, tiny_dir):
    """8 cards as 4 groups of 2: memory and speed are those of a group, what all of them make is four times that."""
    words = ("--model", "instruct", "--parallel", "ep", "--format", "json")
    eight = json.loads(plan(*words, "--cards", "8", "--group-size", "2,8")[1])
    row, one_group = eight["plans"]
    alone = json.loads(plan(*words, "--cards", "2")[1])["plans"][0]
    assert (row["cards"], row["group_size"], row["replicas"]) == (8, 2, 4)
    assert (one_group["group_size"], one_group["replicas"]) == (8, 1)
    for key in ("total_bytes", "weight_bytes_by_part", "usable_bytes", "most_prompt_tokens", "thinker", "talker"):
        assert row[key] == alone[key], key
    assert row["thinker_tokens_per_s_together_projected"] == pytest.approx(4 * row["thinker"]["per_second_projected"])
    assert row["talker_frames_per_s_together_projected"] == pytest.approx(4 * row["talker"]["per_second_projected"])
    assert [(c["cards"], c["group_size"]) for c in eight["choices"]] == [(8, 2), (8, 8)]


def test_the_best_groups(plan):
    """Too large for one card: pairs answer most, more cards answer one conversation faster."""
    best = json.loads(plan("--model", "instruct", "--cards", "1,8", "--format", "json")[1])["best_groups"]
    assert len(best) == 1  # one card makes no groups
    most, fastest = best[0]["most_together"], best[0]["fastest_answer"]
    assert (most["cards"], most["group_size"], most["replicas"]) == (8, 2, 4)
    assert fastest["group_size"] > 2
    assert fastest["thinker_tokens_per_s_projected"] > most["thinker_tokens_per_s_projected"]
    _, out, _ = plan("--model", "instruct", "--cards", "8", "--group-size", "2")
    assert "All groups together, each with a conversation of its own, projected" in out and "4 of 2" in out
    assert "8 cards, best group size for many conversations: 2 (--group-size 2 --parallel " in out


def test_groups_on_a_cpu_share_it(plan, tiny_dir):
    words = ("--model", tiny_dir, "--hardware", "cpu", "--format", "json")
    four = json.loads(plan(*words, "--cards", "4", "--group-size", "1")[1])["plans"][0]
    one = json.loads(plan(*words, "--cards", "1")[1])["plans"][0]
    assert (four["parallel"], four["replicas"], four["group_size"]) == ("none", 4, 1)
    assert four["usable_bytes"] == pytest.approx(one["usable_bytes"] / 4, abs=1)
    assert four["thinker"]["read_s"] == pytest.approx(4 * one["thinker"]["read_s"])


def test_cards_that_groups_do_not_divide_are_named_beside_the_others(plan):
    code, out, _ = plan("--model", "instruct", "--cards", "3,4", "--group-size", "2")
    assert code == 0 and "--cards 3 --group-size 2: does not divide" in out and "2 of 2" in out


def test_text_only_leaves_the_talker_out(plan):
    _, out, _ = plan("--model", "instruct", "--cards", 2, "--parallel", "ep", "--text-only", "--format", "json")
    document = json.loads(out)
    assert document["plans"][0]["weight_bytes_by_part"]["talker"] == 0 and document["plans"][0]["talker"] is None


def test_a_way_that_is_impossible_for_a_card_count_is_named_beside_the_others(plan):
    code, out, _ = plan("--model", "instruct", "--cards", "3")
    assert code == 0 and "--parallel tp with --cards 3: 32 heads" in out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--model", "gone"], ["--model gone", "instruct, thinking, captioner"]),
        (["--model", "instruct", "--hardware", "h100"], ["--hardware h100", "910b2", "cpu"]),
        (["--model", "instruct", "--cards", "0"], ["--cards: 0", "at least 1"]),
        (["--model", "instruct", "--cards", "2,"], ["--cards: ''", "whole number"]),
        (["--model", "instruct", "--cards", "200", "--parallel", "ep"], ["--cards 200", "128 experts"]),
        (["--model", "instruct", "--video-seconds", "-1"], ["--video-seconds"]),
        (["--model", "instruct", "--video-seconds=-1"], ["--video-seconds -1.0", "at least 0"]),
        (["--model", "instruct", "--fps", "0"], ["--fps 0.0", "above 0"]),
        (["--model", "instruct", "--image-pixels", "640"], ["--image-pixels", "'640'", "WIDTHxHEIGHT"]),
        (["--model", "instruct", "--parallel", "pp"], ["--parallel: 'pp'", "zero3"]),
        (["--model", "instruct", "--hardware", "cpu", "--dtype", "float16"], ["--dtype float16", "float32"]),
        (["--model", "instruct", "--cards", "1", "--parallel", "auto"], ["--cards 1", "it fits with --cards 2"]),
        (["--model", "instruct", "--group-size", "0"], ["--group-size: 0", "at least 1"]),
        (["--model", "instruct", "--cards", "8", "--group-size", "3"], ["--group-size 3", "allowed: 1, 2, 4, 8"]),
        (
            ["--model", "instruct", "--cards", "8", "--group-size", "1", "--parallel", "auto"],
            ["--group-size 1", "it fits with --group-size 2"],
        ),
        (
            ["--model", "instruct", "--cards", "8", "--group-size", "2", "--parallel", "none"],
            ["--group-size 2 with --parallel none", "--group-size 1"],
        ),
    ],
)
def test_wrong_flags(plan, flags, parts):
    code, out, err = plan(*flags)
    assert (code, out) == (2, "") and err.count("\n") == 1, (code, out, err)
    assert all(words in err for words in parts), err


def test_no_speed_without_the_word_projected(plan):
    _, out, _ = plan("--model", "instruct", "--cards", 2)
    for block in re.split(r"\n\n+", out):
        if re.search(r"tokens/s|frames/s", block) and "Assumed:" not in block:
            assert "rojected" in block, block


def test_nothing_heavy_is_imported():
    program = (
        "import sys; from ms_omni.cli.main import main; main(['plan', '--model', 'instruct', '--cards', '2']);"
        "sys.exit(bool({'mindspore', 'mindone', 'torch'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_several_conversations_at_once(plan):
    """Beside one: what they need, and what they make together; marked as projected."""
    words = ("--model", "instruct", "--cards", 2, "--hardware", "910b2")
    code, out, _ = plan(*words, "--batch", "1,16")
    assert code == 0 and "Conversations at once in one group, all of them together, projected, not measured" in out
    assert "several conversations: as many launches as one" in out.split("\nAssumed:\n")[1]
    row = json.loads(plan(*words, "--batch", "16", "--parallel", "tp", "--format", "json")[1])["plans"][0]
    (batch,) = row["batches"]
    assert batch["batch"] == 16 and batch["fits"] is True
    assert batch["thinker"]["per_second_projected"] > 8 * row["thinker"]["per_second_projected"]
    # 9 blocks of 128 tokens for 64 + 1024, each, and one; 48 layers, 2 of 4 key-value heads of 128, bfloat16
    thinker, talker = 2 * 48 * 2 * 128 * 2 * 128, 2 * 20 * 1 * 128 * 2 * 128
    assert batch["kv_cache_bytes"] == (16 * 9 + 1) * thinker + (16 * 33 + 1) * talker
    assert row["most_conversations_at_once"] == 32


def test_more_conversations_than_graphs_are_made_for(plan):
    code, _, err = plan("--batch", "4,64")
    assert code == 2 and "--batch" in err and "at most 32" in err


def test_captured_launches_are_shown_beside_others(plan):
    """On cards, for each way that was counted, and marked as projected."""
    title = "--launch-capture thinker, or talker: one decoder of a process, projected, not measured"
    code, out, _ = plan("--model", "instruct", "--cards", 1, "--batch", 8)
    assert code == 0 and title in out and "none, a captured Thinker token: " in out and "5 us an operator of it" in out
    row = json.loads(plan("--model", "instruct", "--cards", 1, "--batch", 8, "--format", "json")[1])["plans"][0]
    for step in (row, row["batches"][0]):
        for decoder, layers in (("thinker", 48), ("talker", 20)):
            captured = step[f"{decoder}_captured"]
            assert captured["replays"] == layers + 1 and captured["launches"] < layers + 10
            assert captured["per_second_projected"] > step[decoder]["per_second_projected"]
            assert step[decoder]["replays"] == 0
    _, out, _ = plan("--model", "instruct", "--cards", 2, "--parallel", "zero3")
    assert title not in out
    _, out, _ = plan("--model", "instruct", "--cards", 1, "--hardware", "cpu")
    assert title not in out and "replays" not in out
