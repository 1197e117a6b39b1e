"""The table of launches that `plan` reads: complete, shown as it is, and what MindSpore does for another number of
layers than those that it was made from."""

import copy
import itertools

import pytest
from count_launches import (
    FEW,
    GAUGES,
    MORE,
    MORE_PREDICTOR,
    PAGE,
    RANKS,
    ROWS,
    SEVERAL_ROWS,
    count,
    differences,
    fitted,
)
from count_page import as_markdown
from counted_units import COUNTED_QUANTIZE, RELEASED_LAYERS, UNITS, gauge_of

from ms_omni.config import QUANTIZATIONS
from ms_omni.limits import TOKENS_PER_CALL
from ms_omni.planning.counted import (
    LAUNCHES,
    LaunchCounts,
    launch_counts,
    talker_frame,
    thinker_token,
)
from ms_omni.planning.model import plan_config

# Layers that none of the runs had from which the table comes
OTHER = {"thinker": 3, "talker": 2, "predictor": 3, "code2wav": 3, "vision": 5, "audio": 2}


def made_up(layers):
    """Counts that follow a formula, as a run reports them."""
    unit = {
        part: {"aclnn aclnnAdd": 7 * layers[part] + 2, "aclop Fill": 3, "malloc": layers[part]}
        for part in ("thinker", "code2wav", "audio", "vision")
    }
    frame = {"internal Gather": 5 * layers["talker"] + 11 * layers["predictor"], "hccl AllReduce": 1}
    counts = {name: unit[parts[0]] for name, parts in UNITS.items() if parts and parts[0] in unit}
    counts |= {name: frame for name in UNITS if name not in counts}
    return {"mode": "none", "quantize": "none", "layers": layers, "counts": counts}


def test_a_formula_is_found_and_foretells_other_layers():
    runs = [made_up(layers) for layers in (FEW, MORE, MORE_PREDICTOR)]
    table = fitted(runs)
    assert table["thinker_call_sampled"]["aclnn"] == {"fixed": 2, "thinker": 7}
    assert table["talker_frame_greedy"]["internal"] == {"fixed": 0, "talker": 5, "predictor": 11}
    assert "synchronisations" not in table["thinker_chunk_first"]
    counts = LaunchCounts({"ways": {"none": {"units": table}}})
    other = made_up(RELEASED_LAYERS)
    del other["counts"]["talker_chunk_first"], other["counts"]["talker_chunk_later"]
    assert differences(counts, other) == []
    shared = [{**run, "counts": {k: v for k, v in run["counts"].items() if "sampled" not in k}} for run in runs]
    table["thinker_call_sampled"]["aclop"]["fixed"] += 4  # sampling on one card
    assert fitted(shared, table)["thinker_call_sampled"]["aclop"] == {"fixed": 3 + 4, "thinker": 0}
    table["thinker_call_sampled"]["aclop"]["fixed"] -= 4
    other["counts"]["vision_encoder_picture"] = {"aclnn aclnnAdd": 1, "aclop Fill": 3}
    assert differences(counts, other) == [f"none vision_encoder_picture aclnn: 1 counted, {7 * 27 + 2} by the table"]


@pytest.mark.parametrize(
    ("name", "gauge"),
    [
        ("aclnn aclnnAdd", "aclnn"),
        ("aclop Cast", "aclop"),
        ("copy host to device", "copies_to_card"),
        ("synchronize event", "synchronisations"),
        ("hccl AllGather", "collectives"),
        ("bytes copy host to device", None),
        ("malloc", None),
        ("replayed aclnn aclnnAdd", None),
    ],
)
def test_gauges_of_the_emulators_names(name, gauge):
    assert gauge_of(name) == gauge


@pytest.mark.parametrize("quantize", COUNTED_QUANTIZE)
def test_the_table_has_every_way_and_unit(quantize):
    ways = launch_counts().ways(quantize)
    assert set(ways) == set(RANKS)
    for mode, way in ways.items():
        assert set(way["units"]) == set(UNITS)
        for unit, parts in UNITS.items():
            for gauge, row in way["units"][unit].items():
                assert gauge in GAUGES and set(row) == {"fixed", *parts}, (mode, unit, gauge)
                assert all(each >= 0 for part, each in row.items() if part != "fixed"), (mode, unit, gauge)
    for mode in ("ep", "tp", "zero3"):
        assert launch_counts().gauge(mode, "thinker_call_greedy", "collectives", RELEASED_LAYERS, quantize) > 0
    assert launch_counts().gauge("none", "thinker_call_greedy", "collectives", RELEASED_LAYERS, quantize) == 0


def test_every_precision_is_counted():
    assert set(COUNTED_QUANTIZE) == set(QUANTIZATIONS) - {"auto"} == {"none", *launch_counts().document["quantized"]}


def test_rows_launch_as_much_as_one_and_nothing_legacy():
    """By the table; test_ascend_launches counts anew."""
    document = launch_counts().document
    for name, steps in document["ways"]["none"]["rows"].items():
        assert set(steps) == set(map(str, ROWS))
        launches = [tuple(step[kind] for kind in LAUNCHES) for step in steps.values()]
        assert len(set(launches)) == 1 and launches[0][LAUNCHES.index("aclop")] == 0, (name, launches)
    steps = [unit for unit in UNITS if unit.startswith(("thinker_call", "thinker_rows", "talker_frame"))]
    for quantize, unit in itertools.product(COUNTED_QUANTIZE, steps):
        for mode, way in launch_counts().ways(quantize).items():
            assert not way["units"][unit].get("aclop"), (quantize, mode, unit)
    units = document["ways"]["none"]["units"]
    assert sum(units["thinker_rows_greedy"].get(kind, {}).get("thinker", 0) for kind in LAUNCHES) <= 22


def test_the_page_shows_the_table():
    assert PAGE.read_text(encoding="utf-8") == as_markdown(launch_counts().document)


def test_a_token_and_a_frame_of_the_released_model():
    config = plan_config("instruct")
    text, talker = config.thinker_config.text_config, config.talker_config
    layers = [part.num_hidden_layers for part in (text, talker.text_config, talker.code_predictor_config)]
    assert layers == [RELEASED_LAYERS[part] for part in ("thinker", "talker", "predictor")]
    kinds = ("aclnn", "internal", "aclop")
    for mode in RANKS:
        token = thinker_token(text, mode)
        call = [launch_counts().gauge(mode, "thinker_call_greedy", kind, RELEASED_LAYERS) for kind in kinds]
        assert token.launches * TOKENS_PER_CALL == sum(call) and token.legacy * TOKENS_PER_CALL == call[2]
        step = [launch_counts().gauge(mode, "thinker_rows_greedy", kind, RELEASED_LAYERS) for kind in kinds]
        assert thinker_token(text, mode, 16).launches == sum(step)
        half = copy.deepcopy(text)
        half.num_hidden_layers = 24
        assert token.launches / 2 < thinker_token(half, mode).launches < token.launches
        frame = [launch_counts().gauge(mode, "talker_frame_sampled", kind, RELEASED_LAYERS) for kind in kinds]
        assert talker_frame(talker, mode).launches == sum(frame)


@pytest.mark.parametrize("quantize", COUNTED_QUANTIZE[1:])
def test_8_bit_weights_have_their_own_counts(quantize):
    config = plan_config("instruct")
    text, talker = config.thinker_config.text_config, config.talker_config
    for mode in RANKS:
        for batch, unit, pieces in ((1, "thinker_call_greedy", TOKENS_PER_CALL), (8, "thinker_rows_greedy", 1)):
            said = thinker_token(text, mode, batch, quantize=quantize)
            counted = [launch_counts().gauge(mode, unit, kind, RELEASED_LAYERS, quantize) for kind in LAUNCHES]
            assert said.launches * pieces == sum(counted)
            assert said.launches > thinker_token(text, mode, batch).launches
            captured = thinker_token(text, mode, batch, True, quantize)
            assert captured.replayed > thinker_token(text, mode, batch, True).replayed
        counted = [
            launch_counts().gauge(mode, "talker_frame_sampled", kind, RELEASED_LAYERS, quantize) for kind in LAUNCHES
        ]
        assert talker_frame(talker, mode, quantize=quantize).launches == sum(counted)
        assert sum(counted) > talker_frame(talker, mode).launches


@pytest.mark.long
@pytest.mark.parametrize("quantize", COUNTED_QUANTIZE)
@pytest.mark.parametrize("mode", RANKS)
def test_the_backend_does_what_the_table_says(mode, quantize):
    run = {"mode": mode, "quantize": quantize, "layers": OTHER, "ways": ["greedy", "sampled"], "rows": SEVERAL_ROWS}
    (run,) = count([run], RANKS[mode])
    assert set(run["counts"]) == set(UNITS)
    assert differences(launch_counts(), run) == []
