"""Projected speed: hand-computed terms, counted launches, and mindone's published figures."""

import math
from dataclasses import replace

import pytest

from ms_omni.errors import OmniError
from ms_omni.planning.choose import choose_parallel
from ms_omni.planning.counted import LAUNCHES, eager_thinker, launch_counts
from ms_omni.planning.hardware import find_hardware
from ms_omni.planning.memory import Planned
from ms_omni.planning.model import plan_config
from ms_omni.planning.published import MINDONE_TALKER, MINDONE_THINKER
from ms_omni.planning.speed import busiest_share, distinct_experts, mindone_zero3, plan_speed, thinker_read_bytes
from ms_omni.planning.workload import Workload

LAYERS = {"thinker": 48, "talker": 20, "predictor": 5}  # of the released model


@pytest.fixture(scope="module")
def config():
    return plan_config("instruct")


@pytest.fixture(scope="module")
def instruct(config):
    return Planned(config, find_hardware("910b2"), "bfloat16", speak=True)


def test_the_cost_of_a_launch_that_fits_mindones_thinker_foretells_its_talker(instruct):
    """From the launches and gathers counted in its source. That cost is nowhere measured: of the two published figures
    one gives it, the other one checks the counts."""

    def of_mindone(launch_s):
        hardware = replace(instruct.hardware, eager_launch_s=launch_s)
        return mindone_zero3(replace(instruct, hardware=hardware), 2)

    nothing, thinker = (of_mindone(launch_s)[0] for launch_s in (0.0, 1.0))
    assert thinker.collectives == 48 * (4 + 1 + 24) + 1 == 1393
    launch_s = (1 / MINDONE_THINKER - nothing.total_s) / (thinker.total_s - nothing.total_s)
    assert launch_s == pytest.approx(instruct.hardware.eager_launch_s, rel=0.02)
    assert of_mindone(launch_s)[1].per_second == pytest.approx(MINDONE_TALKER, rel=0.2)


def test_eager_launches_by_hand(config):
    # 48 * (norms 32, projections 4, rotary 10, cache 2, attention 5, sums 2, routing 12, experts 8 * 12) + 58
    assert eager_thinker(config.thinker_config.text_config).launches == 48 * (55 + 12 + 96) + 58


def test_active_weights(instruct):
    # 3.04 billion parameters: experts 1.81, attention 0.91, head 0.31, routers 0.01.
    assert thinker_read_bytes(instruct, 0, "none", 1) / 2 == pytest.approx(3.04e9, rel=0.005)
    grown = thinker_read_bytes(instruct, 1000, "none", 1) - thinker_read_bytes(instruct, 0, "none", 1)
    assert grown == 1000 * 98_304


def test_the_limit_of_one_die(instruct):
    # 6.1 GB / 1.6 TB/s = 3.8 ms
    assert 1e3 / plan_speed(instruct, 0, "none", 1).limit == pytest.approx(3.8, abs=0.05)


def counted(mode, unit, *gauges):
    return sum(launch_counts().gauge(mode, unit, gauge, LAYERS) for gauge in gauges)


def test_terms_add_up(instruct):
    step = plan_speed(instruct, 1000, "ep", 2).thinker
    assert step.collective_bytes == 48 * 2048 * 2
    # A call makes four tokens.
    launches = counted("ep", "thinker_call_greedy", *LAUNCHES) / 4
    waits = counted("ep", "thinker_call_greedy", "synchronisations") / 4
    collectives = counted("ep", "thinker_call_greedy", "collectives") / 4
    assert (step.launches, step.synchronisations, step.collectives) == (launches, waits, collectives)
    assert step.collective_s == pytest.approx(collectives * 50e-6 + 48 * 4096 / 38e9)
    assert step.launch_s == pytest.approx(launches * 25e-6 + waits * 100e-6)
    assert step.total_s == step.read_s + step.launch_s + step.collective_s == 1 / step.per_second
    zero3 = plan_speed(instruct, 0, "zero3", 2).thinker
    # Half of a quarter of the attention, 18.9 million values a layer, and of 8 experts of 4.7 million.
    assert zero3.collective_bytes == 48 * (2 * 2048 * 128 * 36 + 8 * 3 * 2048 * 768) * 2 / 2


def test_terms_of_captured_launches(instruct):
    """The attention of each layer and the collectives are launched, and a replay stands before and after each."""
    step = plan_speed(instruct, 0, "tp", 2, batch=8).captured_thinker
    launches = counted("tp", "thinker_rows_sampled", *LAUNCHES)
    collectives = counted("tp", "thinker_rows_sampled", "collectives")
    assert (step.launches, step.replays, step.collectives) == (48, 48 + collectives + 1, collectives)
    assert step.launch_s == pytest.approx(48 * 25e-6 + step.replays * 50e-6 + (launches - 48) * 5e-6 + 100e-6)
    assert plan_speed(instruct, 0, "zero3", 2).captured_thinker is None


def test_a_frames_gathers_bring_the_code_predictor_once(instruct):
    """Counted: three for each of 20 layers, one for each of the predictor's 5, and those of ids and codes."""
    frame = plan_speed(instruct, 0, "zero3", 2).talker
    talker_layer = 2 * 1024 * 128 * 18 + 6 * 3 * 1024 * 384 + 3 * 1024 * 768
    predictor_layer = 2 * 1024 * 128 * 24 + 3 * 1024 * 3072
    assert frame.collective_bytes == (20 * talker_layer + 5 * predictor_layer) * 2 / 2
    assert 3 * 20 + 5 < frame.collectives < 3 * 20 + 16 * 5


def test_collectives_are_those_of_the_code(instruct):
    """ep: one a layer. tp: two, the embedding and the logits. zero3: attention, choices and experts of
    every layer, the states behind them. Then the token."""
    found = {mode: plan_speed(instruct, 0, mode, 2) for mode in ("ep", "tp", "zero3")}
    assert found["ep"].thinker.collectives == 48 + 1
    assert 2 * 48 + 2 <= found["tp"].thinker.collectives <= 2 * 48 + 4
    assert found["zero3"].thinker.collectives == 3 * 48 + 4
    assert plan_speed(instruct, 0, "none", 1).thinker.collectives == 0
    assert found["tp"].talker.collectives > found["ep"].talker.collectives > 20


def test_a_frame_is_sampled_and_a_talker_that_is_not_shared_launches_as_on_one_card(instruct):
    frame = plan_speed(instruct, 0, "none", 1).talker
    assert frame.launches == counted("none", "talker_frame_sampled", *LAUNCHES)
    assert frame.launches > counted("none", "talker_frame_greedy", *LAUNCHES)
    whole = plan_speed(instruct, 0, "tp", 32).talker  # 16 heads are not shared by 32 ranks
    assert (whole.launches, whole.collectives) == (frame.launches, 0)


def test_the_busiest_card():
    assert busiest_share(8, 1) == 8
    # Two balls in two boxes: together half of the time, apart the other half.
    assert busiest_share(2, 2) == pytest.approx(1.5)
    heads = [math.comb(8, k) / 2**8 for k in range(9)]
    assert busiest_share(8, 2) == pytest.approx(sum(max(k, 8 - k) * p for k, p in enumerate(heads)))
    assert 1 < busiest_share(8, 64) < busiest_share(8, 8) < busiest_share(8, 4)


def test_less_memory_traffic_is_faster(instruct):
    slow = Planned(instruct.config, find_hardware("910b4"), "bfloat16", speak=True)
    assert plan_speed(slow, 0, "ep", 4).thinker.total_s > plan_speed(instruct, 0, "ep", 4).thinker.total_s
    assert plan_speed(instruct, 0, "ep", 2).thinker.per_second > 10 * MINDONE_THINKER
    silent = Planned(instruct.config, instruct.hardware, "bfloat16", speak=False)
    assert plan_speed(silent, 0, "ep", 2).talker is None


@pytest.mark.parametrize(("cards", "hardware", "modes"), [(2, "910b2", ("ep", "tp")), (8, "910b4", ("ep", "tp"))])
def test_the_choice_shares_experts_or_heads(config, cards, hardware, modes):
    mode, reason = choose_parallel(config, cards, hardware)
    assert mode in modes
    assert "GB a card" in reason and "projected" in reason and "do not fit: none" in reason


def test_the_choice_is_the_only_one_left(config):
    mode, reason = choose_parallel(config, 3, "910b2")  # 32 heads are not shared by 3 ranks
    assert mode == "ep" and "zero3" in reason and "tp" not in reason
    mode, _ = choose_parallel(config, 256, "910b2")  # more ranks than experts, and heads
    assert mode == "zero3"


def test_a_model_that_fits_is_not_shared(tiny_dir):
    mode, reason = choose_parallel(plan_config(str(tiny_dir)), 2, "cpu")
    assert mode == "none" and "GB a card" in reason


@pytest.mark.parametrize(
    ("cards", "hardware", "parts"),
    [
        (1, "910b2", ["--cards 1", "--hardware 910b2", "--cards 2 --parallel zero3 or ep or tp"]),
        (2, "910b4", ["--cards 2", "28.8 GB", "--cards 4"]),
    ],
)
def test_what_does_not_fit_says_what_would_work(config, cards, hardware, parts):
    with pytest.raises(OmniError) as error:
        choose_parallel(config, cards, hardware)
    assert all(words in str(error.value) for words in parts), error.value


def test_what_works_may_be_silence_or_nothing(tiny_dir, config):
    tiny, cpu = plan_config(str(tiny_dir)), find_hardware("cpu")
    narrow = replace(cpu, memory_bytes=395 * 2**20 / cpu.usable)  # 343 MiB without speech, 415 with it
    with pytest.raises(OmniError, match=r"it fits without the Talker \(no --audio-out\)"):
        choose_parallel(tiny, 1, narrow, workload=Workload(prompt_tokens=32, max_new_tokens=8))
    with pytest.raises(OmniError, match="no usual number of cards"):
        choose_parallel(config, 1, replace(find_hardware("910b2"), memory_bytes=3e9))


def test_several_conversations_share_what_is_read_and_launched(instruct):
    one, many = (plan_speed(instruct, 1000, "tp", 2, batch) for batch in (1, 16))
    assert many.thinker.launches == one.thinker.launches - 1 / 4  # four tokens of one conversation are joined
    assert many.thinker.collectives == one.thinker.collectives
    assert many.thinker.collective_bytes == 16 * one.thinker.collective_bytes
    # Tokens of several conversations are read by the host one by one
    assert many.thinker.synchronisations == 4 * one.thinker.synchronisations
    assert (
        many.thinker.per_second == pytest.approx(16 / many.thinker.total_s)
        and many.thinker.per_second > 8 * one.thinker.per_second
    )
    assert many.talker.per_second > 8 * one.talker.per_second
    caches = [thinker_read_bytes(instruct, n, "none", 1, 16) for n in (0, 1000)]
    assert caches[1] - caches[0] == 16 * 1000 * 98_304
    # 16 times 8 of 128 experts, some of them the same: 82.4; all else is read once
    experts = (thinker_read_bytes(instruct, 0, "none", 1, 16) - thinker_read_bytes(instruct, 0, "none", 1)) / 2
    assert experts == pytest.approx(48 * (82.4 - 8) * 3 * 2048 * 768, rel=1e-3)


def test_rows_that_are_dealt_out_are_read_and_travel_where_they_are_computed(instruct):
    """zero3: of 15 conversations eight are one card's."""
    assert thinker_read_bytes(instruct, 900, "zero3", 2, 15) == thinker_read_bytes(instruct, 900, "zero3", 2, 16)
    caches = [thinker_read_bytes(instruct, n, "zero3", 2, 16) for n in (0, 1000)]
    assert caches[1] - caches[0] == 8 * 1000 * 98_304
    sent = [plan_speed(instruct, 0, "zero3", 4, batch).thinker.collective_bytes for batch in (4, 5, 8)]
    assert sent[1] == sent[2] and sent[1] - sent[0] == 48 * 8 * 3 * 2048 * 768 * 2 * 3 / 4
    sent = [plan_speed(instruct, 0, "zero3", 2, batch).talker.collective_bytes for batch in (2, 4)]
    assert sent[1] - sent[0] == 20 * 6 * 3 * 1024 * 384 * 2 / 2


def test_distinct_experts():
    assert distinct_experts(8, 128, 1) == 8
    assert distinct_experts(1, 2, 2) == pytest.approx(1.5)  # the same one half of the time
    assert distinct_experts(8, 128, 1000) == pytest.approx(128)
