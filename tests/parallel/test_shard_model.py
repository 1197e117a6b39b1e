"""A model cut to one rank's share: shapes, values, and the same answers as the whole one."""

import json
import logging
import shutil

import numpy as np
import pytest
from fake_group import run_as_group
from ranks import run_ranks

from ms_omni import OmniError, SamplingParams, shard_model
from ms_omni.checkpoint.load import named_parameters, numpy_dtype
from ms_omni.checkpoint.reader import CheckpointReader
from ms_omni.models.load import load_network
from ms_omni.parallel.gathered import Gathering
from ms_omni.parallel.shards import ShardedReader
from ms_omni.parallel.sizes import ModelSizes
from ms_omni.parallel.world import World

pytestmark = pytest.mark.usefixtures("cpu")

EXACT = np.testing.assert_array_equal


def rank_of(rank, size):
    return World(rank, size, size)


@pytest.fixture(scope="module")
def sizes(tiny_dir):
    from ms_omni.checkpoint.config import read_config

    return ModelSizes.from_config(read_config(tiny_dir))


def values(model):
    return {name: parameter.asnumpy() for name, parameter in named_parameters(model).items()}


def reader_of(tiny_dir, mode, world, sizes):
    return ShardedReader(CheckpointReader(tiny_dir), mode, world, sizes)


@pytest.mark.parametrize(("rank", "size"), [(1, 2), (2, 3), (0, 4)])
def test_a_rank_loads_its_slices_and_no_more(tiny_dir, sizes, rank, size):
    model = load_network(tiny_dir, parallel="zero3", world=rank_of(rank, size))
    reader, loaded = reader_of(tiny_dir, "zero3", rank_of(rank, size), sizes), values(model)
    assert set(loaded) == set(reader.names())
    for name, array in loaded.items():
        EXACT(array, reader.read(name), err_msg=name)
    whole = CheckpointReader(tiny_dir).nbytes
    assert sum(array.nbytes for array in loaded.values()) <= whole * (1 / size + 0.05)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_loaded_model_is_cut(tiny_dir, sizes, dtype):
    """As the seed's script does it: whole first, then shared out."""
    import mindspore as ms

    model = load_network(tiny_dir, with_talker=False, dtype=getattr(ms, dtype))
    assert shard_model(model, "zero3", rank_of(2, 3)) is model
    reader, wanted = reader_of(tiny_dir, "zero3", rank_of(2, 3), sizes), numpy_dtype(getattr(ms, dtype))
    for name, parameter in named_parameters(model).items():
        assert parameter.dtype == getattr(ms, dtype)
        expected = reader.read(name).astype(wanted).astype(np.float32)
        EXACT(parameter.astype(ms.float32).asnumpy(), expected, err_msg=name)


@pytest.mark.parametrize(("mode", "split"), [("ep", ()), ("tp", ("thinker.lm_head", "thinker.model.embed_tokens"))])
def test_a_shell_shares_its_vocabulary_under_tp(tiny_dir, sizes, mode, split):
    model = load_network(tiny_dir, with_decoders=False, parallel=mode, world=rank_of(1, 2))
    reader, whole = reader_of(tiny_dir, mode, rank_of(1, 2), sizes), CheckpointReader(tiny_dir)
    loaded = values(model)
    for name, array in loaded.items():
        EXACT(array, reader.read(name), err_msg=name)
    assert {name for name, array in loaded.items() if array.shape != whole.shape(name)} == {
        n + ".weight" for n in split
    }


def test_tied_embeddings_stay_tied(tiny_dir, tmp_path):
    content = json.loads((tiny_dir / "config.json").read_text())
    content["thinker_config"]["text_config"]["tie_word_embeddings"] = True
    directory = copy_without(tiny_dir, tmp_path, "thinker.lm_head.weight")
    (directory / "config.json").write_text(json.dumps(content))
    whole = CheckpointReader(tiny_dir).read("thinker.model.embed_tokens.weight")
    thinker = load_network(directory, with_talker=False, parallel="zero3", world=rank_of(1, 2)).thinker
    assert thinker.lm_head.weight is thinker.model.embed_tokens.weight
    EXACT(thinker.lm_head.weight.asnumpy(), whole[len(whole) // 2 :])
    cut = shard_model(load_network(directory, with_talker=False), "zero3", rank_of(1, 2)).thinker
    assert cut.lm_head.weight is cut.model.embed_tokens.weight
    EXACT(cut.lm_head.weight.asnumpy(), whole[len(whole) // 2 :])


def copy_without(tiny_dir, tmp_path, *names):
    """A checkpoint in one file that lacks some weights."""
    from safetensors.numpy import save_file

    directory, reader = tmp_path / "checkpoint", CheckpointReader(tiny_dir)
    shutil.copytree(tiny_dir, directory, ignore=shutil.ignore_patterns("*.safetensors*"))
    kept = {name: np.array(reader.read(name)) for name in reader.names() if name not in names}
    save_file(kept, directory / "model.safetensors")
    return directory


def test_a_missing_weight_is_named(tiny_dir, tmp_path):
    directory = copy_without(tiny_dir, tmp_path, "thinker.visual.blocks.0.attn.qkv.weight")
    with pytest.raises(OmniError, match=r"1 weight has no value in the checkpoint: thinker\.visual\.blocks\.0\.attn"):
        load_network(directory, with_talker=False, parallel="zero3", world=rank_of(0, 2))


def test_an_unread_weight_is_named(tiny_dir, tmp_path, caplog):
    from safetensors.numpy import load_file, save_file

    directory = copy_without(tiny_dir, tmp_path)
    file = directory / "model.safetensors"
    save_file({**load_file(file), "thinker.extra.weight": np.zeros((4, 4), np.float32)}, file)
    with caplog.at_level(logging.WARNING):
        load_network(directory, with_talker=False, parallel="zero3", world=rank_of(0, 2))
    assert "1 weight has no place in the model: thinker.extra.weight" in caplog.text


def test_what_cannot_be_shared_says_what_can(tiny_dir):
    model = load_network(tiny_dir, with_talker=False)
    for mode in ("ep", "tp"):
        with pytest.raises(
            OmniError, match=rf"--parallel {mode} with --engine mindone: .*--engine fused, or --parallel z"
        ):
            shard_model(model, mode, rank_of(0, 2))
    with pytest.raises(OmniError, match="--parallel zero2: expected one of none, zero3, ep, tp"):
        shard_model(model, "zero2", rank_of(0, 2))
    with pytest.raises(OmniError, match="more ranks than the .* experts"):
        shard_model(model, "ep", rank_of(0, 1000))


def test_alone_nothing_changes(tiny_dir):
    model = load_network(tiny_dir, with_talker=False, parallel="zero3", world=World())
    for name, cell in model.cells_and_names():
        assert not isinstance(cell, Gathering) and "construct" not in vars(cell), name
    assert shard_model(model, "none", rank_of(0, 2)) is model
    assert sum(p.nbytes for p in model.get_parameters()) == sum(
        CheckpointReader(tiny_dir).read(name).nbytes for name in named_parameters(model)
    )


# Small cells on every rank of a group in turn; two ranks share their rows evenly, three do not


def make_cells():
    from mindspore import mint, nn

    return nn.CellList([mint.nn.Linear(64, 20), mint.nn.Conv1d(8, 20, 5), mint.nn.Embedding(100, 8)])


def run_cells(cells):
    import mindspore as ms

    line = ms.Tensor(np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 64))
    ids = ms.Tensor(np.array([0, 99, 50], np.int32))
    return [cell(x).asnumpy() for cell, x in zip(cells, (line, line.reshape(1, 8, 8), ids), strict=True)]


@pytest.mark.parametrize("size", [2, 3])
def test_weights_are_gathered_at_use(size, sizes):
    whole = make_cells()
    expected, arrays = run_cells(whole), values(whole)

    def program(world):
        cells = with_values(make_cells(), arrays)
        shard_model(cells, "zero3", world, sizes)
        return run_cells(cells), cells[0].weight.asnumpy()

    outputs, calls = run_as_group(size, program)
    for ours, weight in outputs:
        for mine, theirs in zip(ours, expected, strict=True):
            EXACT(mine, theirs)
        EXACT(weight, arrays["0.weight"])
    rows = -(-20 // size)
    assert calls == [
        ("all_gather", (rows, 64)),
        ("all_gather", (rows, 8, 5)),
        ("all_gather", (-(-100 // size), 8)),
        ("all_gather", (rows, 64)),
    ]


def test_a_part_is_never_taken_for_the_whole(sizes):
    cells = shard_model(make_cells(), "zero3", rank_of(0, 2), sizes)
    with pytest.raises(RuntimeError, match="weight could not be gathered"):
        run_cells(cells)


def with_values(cell, arrays):
    import mindspore as ms

    for name, parameter in named_parameters(cell).items():
        parameter.set_data(ms.Tensor(arrays[name]))
    return cell


@pytest.mark.parametrize("part", ["thinker", "talker"])
def test_ranks_with_other_tokens_visit_the_same_experts(baseline, sizes, part):
    """Each rank gets what mindone's own block gives for its tokens, though the experts that these chose differ."""
    import mindspore as ms

    whole = getattr(baseline.model, part)
    config, block = whole.config.text_config, whole.model.layers[1].mlp
    inputs = [
        np.random.default_rng(r).standard_normal((1, 1 + r, config.hidden_size)).astype(np.float32) for r in (0, 1)
    ]
    expected = [[y.asnumpy() for y in block(ms.Tensor(x))] for x in inputs]
    arrays = values(block)

    def program(world):
        mine = with_values(type(block)(config), arrays)
        shard_model(mine, "zero3", world, sizes)
        return [y.asnumpy() for y in mine(ms.Tensor(inputs[world.rank]))]

    outputs, calls = run_as_group(2, program)
    for ours, theirs in zip(outputs, expected, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6)
    choices = [np.argsort(-logits, axis=1)[:, : config.num_experts_per_tok] for _, logits in expected]
    assert set(choices[0].ravel()) != set(choices[1].ravel()), "this test needs tokens that choose differently"
    num_visited = len(set(np.concatenate(choices).ravel()))
    assert calls.count(("all_reduce", (config.num_experts,))) == 1
    gathered = [shape for kind, shape in calls if kind == "all_gather"]
    assert gathered.count((config.hidden_size // 2, config.moe_intermediate_size)) == num_visited


# Two processes


@pytest.fixture(scope="module")
def conversation():
    import ms_omni

    assets = f"{next(iter(ms_omni.__path__))}/assets"
    parts = [
        {"type": "image", "image": f"{assets}/shapes.png"},
        {"type": "audio", "audio": f"{assets}/question.wav"},
        {"type": "text", "text": "What is this?"},
    ]
    return [{"role": "user", "content": parts}]


@pytest.mark.slow
def test_two_processes_answer_as_one(baseline, tiny_dir, tmp_path, conversation):
    (tmp_path / "conversation.json").write_text(json.dumps(conversation))
    reports = run_ranks("rank_sharded.py", tmp_path, tiny_dir, tmp_path / "conversation.json")
    greedy = {"thinker_temperature": 0.0, "talker_temperature": 0.0}
    alone = baseline.generate(
        conversation, sampling=SamplingParams(thinker_max_new_tokens=3, talker_max_new_tokens=3, **greedy)
    )
    whole_bytes = sum(parameter.nbytes for parameter in baseline.model.get_parameters())
    for report in reports:
        assert report["token_ids"] == list(alone.token_ids)
        EXACT(report["codes"], alone.audio.codes)
        np.testing.assert_allclose(report["samples"], alone.audio.samples, atol=1e-5)
        assert report["parameter_bytes"] <= 0.55 * whole_bytes
    assert reports[0]["calls"] == reports[1]["calls"] and reports[0]["calls"]["all_gather"] > 0


@pytest.mark.parametrize(
    ("engine", "mode", "most"),
    [
        pytest.param("mindone", "zero3", 0.55, marks=pytest.mark.slow),
        pytest.param("fused", "zero3", 0.55, marks=pytest.mark.long),
        pytest.param("fused", "ep", 0.85, marks=pytest.mark.long),
    ],
)
def test_loading_takes_little_more_than_the_share(tmp_path, engine, mode, most):
    from ms_omni.checkpoint.tiny import write_tiny

    bench = write_tiny(tmp_path / "bench", preset="bench")
    for report in run_ranks("rank_loading.py", tmp_path, bench, engine, mode):
        share, whole = report["parameter_bytes"], report["checkpoint_bytes"]
        assert share <= most * whole
        assert report["grown_bytes"] <= share + report["largest_bytes"] + 300 * 2**20
        # On this checkpoint that alone would allow reading all of it
        assert report["grown_bytes"] <= share + report["largest_bytes"] + 0.25 * whole
