"""Plans with 8-bit weights: bytes by the shard table and by hand, what fits on which cards, what decoding reads."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ms_omni.checkpoint.int8_reader import Int8Reader
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.errors import OmniError
from ms_omni.parallel.table import MODES, padded_shape, shard_slices
from ms_omni.planning.choose import choose, choose_parallel
from ms_omni.planning.counted import talker_frame, thinker_token
from ms_omni.planning.hardware import GB, find_hardware
from ms_omni.planning.memory import Planned, layer_bytes, most_at_once, most_prompt_tokens, plan_memory
from ms_omni.planning.model import RELEASED_DIR, plan_config
from ms_omni.planning.speed import mindone_zero3, plan_speed, thinker_read_bytes
from ms_omni.planning.workload import Workload

# 32,768 tokens with their answer
LONG = Workload(prompt_tokens=31_744, max_new_tokens=1024, talker_max_new_tokens=1024)


@pytest.fixture(scope="module")
def instruct():
    return Planned(plan_config("instruct"), find_hardware("910b2"), "bfloat16", speak=True, quantize="int8")


def quantized_values(config):
    """(values, rows) of all matrices of the decoder layers, from the configuration alone."""
    text, talker = config.thinker_config.text_config, config.talker_config
    values = rows = 0
    for part, shared in ((text, 0), (talker.text_config, talker.text_config.shared_expert_intermediate_size)):
        hidden, inner, heads = part.hidden_size, part.moe_intermediate_size, part.num_attention_heads * part.head_dim
        kv, layers, experts = part.num_key_value_heads * part.head_dim, part.num_hidden_layers, part.num_experts
        values += layers * (2 * hidden * (heads + kv) + 3 * hidden * (experts * inner + shared))
        rows += layers * (heads + 2 * kv + hidden + (2 * shared + hidden if shared else 0))
        rows += layers * experts * (2 * inner + hidden)
    part = talker.code_predictor_config
    hidden, inner, heads = part.hidden_size, part.intermediate_size, part.num_attention_heads * part.head_dim
    kv, layers = part.num_key_value_heads * part.head_dim, part.num_hidden_layers
    values += layers * (2 * hidden * (heads + kv) + 3 * hidden * inner)
    rows += layers * (heads + 2 * kv + hidden + 2 * inner + hidden)
    return values, rows


@pytest.mark.parametrize(
    ("quantize", "dtype", "scale"),
    [("int8", "bfloat16", 2), ("int8-dynamic", "bfloat16", 2), ("int8", "float16", 2), ("int8-dynamic", "float16", 4)],
)
def test_released_weights_by_hand(instruct, quantize, dtype, scale):
    planned = replace(instruct, dtype=dtype, quantize=quantize)
    floats = replace(planned, quantize="none")
    values, rows = quantized_values(instruct.config)
    before, after = (plan_memory(one, Workload(), "none", 1).weight_bytes for one in (floats, planned))
    kept = values + rows * scale
    assert after == before - 2 * values + kept
    assert kept <= 0.53 * 2 * values
    assert after == pytest.approx(37.44 * GB, rel=0.002)  # 70.5 GB without


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("quantize", ["int8", "int8-dynamic"])
def test_bytes_of_rank_0_are_those_of_the_shard_table(tiny_dir, mode, quantize):
    """The scales whole under zero3, and of columns that tp splits."""
    planned = Planned(plan_config(str(tiny_dir)), find_hardware("cpu"), "float32", True, quantize)
    cards = 1 if mode == "none" else 2
    reader = Int8Reader(CheckpointReader(tiny_dir))
    expected, scales = 0, 0
    for name in reader.names():
        if shard_slices(name, reader.shape(name), mode, 0, cards, planned.sizes) is not None:
            values = int(np.prod(padded_shape(name, reader.shape(name), mode, cards, planned.sizes)))
            expected += values * reader.dtype(name).itemsize
            scales += values if name.endswith("_scale") else 0
    assert scales > 0 and plan_memory(planned, Workload(), mode, cards).weight_bytes == expected


def test_one_card_of_64_gb_holds_the_released_model_with_a_long_prompt(instruct):
    assert plan_memory(instruct, replace(LONG, batch=4), "none", 1).fits
    assert not plan_memory(replace(instruct, quantize="none"), Workload(), "none", 1).fits
    assert most_at_once(instruct, LONG, "none", 1) >= 4
    assert choose(instruct, LONG, 1)[0] == "none"


def test_two_cards_of_32_gb_hold_the_released_model(instruct):
    small = replace(instruct, hardware=find_hardware("910b4"))
    fitting = {mode: plan_memory(small, LONG, mode, 2).fits for mode in ("zero3", "ep", "tp")}
    assert fitting == {"zero3": True, "ep": False, "tp": True}
    assert most_prompt_tokens(small, Workload(), "tp", 2) == 65_536
    assert most_at_once(small, LONG, "tp", 2) == 2
    assert most_at_once(replace(small, speak=False), LONG, "tp", 2) == 4
    assert plan_memory(small, replace(LONG, prompt_tokens=20_000, batch=4), "tp", 2).fits
    floats = replace(small, quantize="none")
    assert not any(plan_memory(floats, Workload(), mode, 2).fits for mode in ("zero3", "ep", "tp"))


def test_what_does_not_fit_is_told_of_8_bit_weights(instruct):
    config = instruct.config
    with pytest.raises(OmniError, match=r"--cards 1 --hardware 910b2: .*or with --quantize int8"):
        choose_parallel(config, 1, "910b2")
    assert choose_parallel(config, 1, "910b2", quantize="int8")[0] == "none"
    with pytest.raises(OmniError, match="--hardware 910b4 --quantize int8: ") as error:
        choose_parallel(config, 1, "910b4", quantize="int8")
    assert "with --quantize" not in str(error.value)


def test_what_a_token_reads_by_hand(instruct):
    heads, hidden, inner = (32 + 2 * 4) * 128, 2048, 768
    attention = heads * (hidden + 2) + hidden * (32 * 128 + 2)
    expert = 2 * inner * (hidden + 2) + hidden * (inner + 2)
    router, head = 128 * hidden * 2, 152_064 * hidden * 2
    expected = 48 * (attention + 8 * expert + router) + head
    assert thinker_read_bytes(instruct, 0, "none", 1) == expected
    grown = thinker_read_bytes(instruct, 1000, "none", 1) - expected
    assert grown == 1000 * 98_304  # caches stay bfloat16
    floats = replace(instruct, quantize="none")
    assert plan_speed(instruct, 0, "none", 1).talker.read_s < 0.6 * plan_speed(floats, 0, "none", 1).talker.read_s


@pytest.mark.parametrize("mode", MODES)
def test_launches_are_those_of_the_precision(instruct, mode):
    """A layer of the Thinker launches one operator more with int8, and four with int8-dynamic; of 48."""
    cards = 1 if mode == "none" else 2
    found = {}
    for quantize in ("none", "int8", "int8-dynamic"):
        planned = replace(instruct, quantize=quantize)
        speed, text = plan_speed(planned, 0, mode, cards), planned.text_config
        assert speed.thinker.launches == thinker_token(text, mode, quantize=quantize).launches
        assert speed.talker.launches == talker_frame(planned.config.talker_config, mode, quantize=quantize).launches
        found[quantize] = speed
    floats = found["none"]
    if mode == "none":
        more = {name: each.thinker.launches - floats.thinker.launches for name, each in found.items()}
        assert more == {"none": 0, "int8": 48, "int8-dynamic": 4 * 48}
        more = {name: each.talker.launches - floats.talker.launches for name, each in found.items()}
        assert more == {"none": 0, "int8": 20 + 5 * 16, "int8-dynamic": 20 * 6 + 5 * (16 * 5) - 3}
    for what in ("thinker", "talker", "captured_thinker", "captured_talker"):
        seconds = [getattr(found[quantize], what) for quantize in ("none", "int8", "int8-dynamic")]
        assert seconds[0] is None or seconds[0].launch_s < seconds[1].launch_s < seconds[2].launch_s


def test_zero3_gathers_8_bits_and_no_scales(instruct):
    floats = replace(instruct, quantize="none")
    for what in ("thinker", "talker"):
        half, whole = (getattr(plan_speed(one, 0, "zero3", 2), what).collective_bytes for one in (instruct, floats))
        assert half == whole / 2
    assert layer_bytes(instruct) < 0.53 * layer_bytes(floats)
    buffers = [plan_memory(one, Workload(), "zero3", 2).buffers for one in (instruct, floats)]
    assert buffers[1] - buffers[0] == pytest.approx(3 * (layer_bytes(floats) - layer_bytes(instruct)))


def test_hidden_states_in_8_bits_need_copies(instruct):
    """Of a chunk of 2048 tokens: what goes into 8 experts each, and what is between."""
    dynamic = replace(instruct, quantize="int8-dynamic")
    one, other = (plan_memory(p, LONG, "none", 1).stages["thinker prefill"] for p in (instruct, dynamic))
    assert other - one == pytest.approx(1.45 * 2048 * 8 * (2048 + 768))
    on_cpu = [replace(p, hardware=find_hardware("cpu"), dtype="float32") for p in (instruct, dynamic)]
    one, other = (plan_memory(p, LONG, "none", 1).stages["thinker prefill"] for p in on_cpu)
    assert one == other


def test_mindone_keeps_its_own_weights(instruct):
    assert mindone_zero3(instruct, 2) == mindone_zero3(replace(instruct, quantize="none"), 2)


def quantized_config(tmp_path, **settings):
    content = json.loads((RELEASED_DIR / "instruct.json").read_text())
    weights = {"num_bits": 8, "type": "int", "strategy": "channel"}
    content["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "int-quantized",
        "config_groups": {"group_0": {"weights": weights, "targets": ["Linear"]}},
        **settings,
    }
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_checkpoint_of_8_bits_is_planned_as_such(tmp_path, capsys):
    from ms_omni.cli.main import main

    def planned(**settings):
        code = main(["plan", "--cards", "1", "--model", quantized_config(tmp_path, **settings), "--format", "json"])
        told = capsys.readouterr()
        return json.loads(told.out)["quantize"] if code == 0 else told.err

    assert planned() == "int8"
    assert "quantization_config in config.json has quant_method 'gptq'" in planned(quant_method="gptq")


def test_the_command_says_which(capsys, tmp_path):
    from ms_omni.cli.main import main

    def plan(*flags):
        assert main(["plan", "--cards", "1", *flags]) == 0
        return capsys.readouterr().out

    out = plan("--quantize", "int8")
    assert out.startswith(
        "projected: instruct on Atlas A2, 910B2, bfloat16 with decoder layers' weights in 8 bits (int8),"
    )
    assert "(by the shard table; 8 bits and their scales)" in out and "1 card: --parallel none: " in out
    counted, assumed = out.split("\nCounted:\n")[1].split("\nAssumed:\n")
    launches = thinker_token(plan_config("instruct").thinker_config.text_config, "none", quantize="int8").launches
    assert f"none, a greedy Thinker token: {launches:.0f} launches" in counted
    assert "8-bit weights are read at the same share of the bandwidth" in assumed
    out = plan("--quantize", "int8-dynamic", "--format", "markdown")
    assert out.startswith("# Projected: instruct") and "weights and hidden states in 8 bits (int8-dynamic)" in out
    found = {name: json.loads(plan("--format", "json", *flags)) for name, flags in (
        ("none", ()), ("auto", ("--quantize", "auto")), ("int8", ("--quantize", "int8")),
        ("as it is", ("--model", quantized_config(tmp_path))),
    )}  # fmt: skip
    said = {name: document["quantize"] for name, document in found.items()}
    assert said == {"none": "none", "auto": "none", "int8": "int8", "as it is": "int8"}
    assert found["as it is"]["plans"] == found["int8"]["plans"] and found["auto"]["plans"] == found["none"]["plans"]


def test_the_command_refuses_what_loading_does(capsys, tmp_path):
    from ms_omni.cli.main import main

    def refused(*flags):
        assert main(["plan", "--cards", "1", *flags]) == 2
        return capsys.readouterr().err

    assert "--quantize: 'int4'" in refused("--quantize", "int4")
    stored = refused("--model", quantized_config(tmp_path), "--quantize", "none")
    assert "--quantize none: the weights of --model " in stored and "are int8 already" in stored
    words = "--quantize int8 with --dtype float32: a card's 8-bit products take bfloat16 or float16"
    assert words in refused("--quantize", "int8", "--dtype", "float32")
    assert main(["plan", "--cards", "1", "--quantize", "int8", "--hardware", "cpu", "--format", "json"]) == 0


def test_a_card_is_not_told_of_8_bit_weights_in_float32(instruct):
    floats = replace(instruct, quantize="none", dtype="float32")
    with pytest.raises(OmniError, match="does not fit") as error:
        choose(floats, LONG, 1)
    assert "with --quantize" not in str(error.value)
