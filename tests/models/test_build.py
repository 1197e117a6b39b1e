"""The corrections are in the model and nowhere else."""


def test_corrected_classes_stand_in_only_while_building(engine):
    from mindone.transformers.models.qwen3_omni_moe import modeling_qwen3_omni_moe as mindone_model

    from ms_omni.models.build import CORRECTIONS

    built = {type(cell) for _, cell in engine.model.cells_and_names()}
    for name, corrected in CORRECTIONS.items():
        base = getattr(mindone_model, name)
        assert issubclass(corrected, base) and corrected is not base
        assert corrected in built and base not in built, name


def test_every_correction_says_why():
    from ms_omni.models.build import CORRECTIONS

    assert all(corrected.__doc__ for corrected in CORRECTIONS.values())


def test_without_talker_its_weights_are_not_loaded(tiny_dir, cpu):
    from ms_omni.models.load import load_network

    model = load_network(tiny_dir, with_talker=False)
    names = [parameter.name for parameter in model.get_parameters()]
    assert names and not any(name.startswith(("talker.", "code2wav.")) for name in names)
    assert not model.has_talker


def test_code2wav_never_runs_flash_attention(tiny_dir, cpu):
    """mindone's flash attention refuses the sliding window that each of its layers has."""
    import mindspore as ms

    from ms_omni.checkpoint.config import read_config
    from ms_omni.models.build import build_model

    config = read_config(tiny_dir)
    model = build_model(config, with_talker=True, dtype=ms.float32, attn_implementation="flash_attention_2")
    used = {name: cell.config._attn_implementation for name, cell in model.cells_and_names() if hasattr(cell, "config")}
    assert {value for name, value in used.items() if name.startswith("code2wav")} == {"eager"}
    rest = {value for name, value in used.items() if name and not name.startswith("code2wav")}
    assert rest == {"flash_attention_2"}


def test_all_weights_are_floats(tiny_dir, cpu, monkeypatch):
    """mindone makes Code2Wav's layer scales as integers. MindSpore 2.10's `Cell.to`, which comes before mindone's own,
    leaves those alone: a checkpoint's values would be rounded to 0."""
    import mindspore as ms

    from ms_omni.checkpoint.config import read_config
    from ms_omni.models.build import build_model

    monkeypatch.setattr(ms.nn.Cell, "to", lambda cell, dtype: cell, raising=False)
    config = read_config(tiny_dir)
    model = build_model(config, with_talker=True, dtype=ms.float16, attn_implementation="eager")
    assert {parameter.dtype for parameter in model.get_parameters()} == {ms.float16}
