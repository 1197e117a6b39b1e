"""`ms-omni batch` on two processes that share a model: the first asks, the second follows, a bad line costs itself."""

import json

import pytest
from test_msrun_jobs import launch

from ms_omni import SamplingParams

GREEDY = {"thinker_max_new_tokens": 7, "talker_max_new_tokens": 5, "thinker_temperature": 0, "talker_temperature": 0}


@pytest.mark.slow
def test_a_batch_of_a_group(fused, tiny_dir, tmp_path):
    asked = [{"id": f"line{i}", "text": f"Question {'long ' * i}{i}", "speak": i % 2 == 0} for i in range(4)]
    broken = tmp_path / "broken.png"
    broken.write_text("no picture")
    lines = [*asked[:2], {"id": "broken", "text": "What?", "image": str(broken)}, *asked[2:]]
    (tmp_path / "asked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    flags = [word for name, value in GREEDY.items() for word in (f"--{name.replace('_', '-')}", value)]
    flags += ["--parallel", "ep", "--max-num-seqs", 3, "--ignore-eos"]
    words = ["batch", "--model", tiny_dir, "--manifest", "asked.jsonl", "--out", "out"]
    done = launch("--cards", 2, "--", *words, *flags, cwd=tmp_path)
    found = {line["id"]: line for line in map(json.loads, (tmp_path / "out" / "results.jsonl").open())}
    assert list(found) == [line["id"] for line in lines], done.stderr
    assert done.returncode == 1 and "broken.png" in found["broken"]["error"]
    sampling = SamplingParams(**GREEDY, ignore_eos=True)
    for line in asked:
        expected = fused.generate(line["text"], return_audio=line["speak"], sampling=sampling)
        answer = found[line["id"]]
        assert answer["token_ids"] == list(expected.token_ids) and answer["text"] == expected.text
        assert (answer["audio"] is None) == (expected.audio is None)
        if expected.audio is not None:
            assert answer["audio"]["num_samples"] == expected.audio.num_samples
