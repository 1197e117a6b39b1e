"""mindone's example of the same name, ported: docs/python.md compares the two line by line.

    python launch/omni_understanding.py
    msrun --worker_num=2 --local_worker_num=2 --master_port=8118 --log_dir=msrun_log --join=True \
        --cluster_time_out=300 launch/omni_understanding.py

With flags it is `ms-omni understand`: python launch/omni_understanding.py --text "Hello" --parallel zero3
"""

import sys
from pathlib import Path

import soundfile as sf

import ms_omni
from ms_omni import cast_inputs, load_model, load_processor, process_mm_info

MODEL_PATH = "built-in"  # the tiny model of this package; "Qwen/Qwen3-Omni-30B-A3B-Instruct" is the released one
PARALLEL = "auto"  # how the processes of msrun share the model: zero3, ep, tp, or the fastest of them
MEDIA = Path(ms_omni.__file__).parent / "assets"
USE_AUDIO_IN_VIDEO = True

if len(sys.argv) > 1:
    from ms_omni.cli.main import main

    raise SystemExit(main(["understand", *sys.argv[1:]]))

model = load_model(MODEL_PATH, engine="fused", parallel=PARALLEL)
processor = load_processor(MODEL_PATH, min_pixels=56 * 56, max_pixels=14 * 14 * 768)

conversation = [
    {
        "role": "user",
        "content": [
            {"type": "image", "image": str(MEDIA / "tiny_shapes.png")},
            {"type": "audio", "audio": str(MEDIA / "tiny_words.wav")},
            {"type": "text", "text": "What do you see and hear?"},
        ],
    },
]
text = processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
audios, images, videos = process_mm_info(conversation, use_audio_in_video=USE_AUDIO_IN_VIDEO)
inputs = processor(
    text=text, audio=audios, images=images, videos=videos, return_tensors="np", use_audio_in_video=USE_AUDIO_IN_VIDEO
)
inputs = cast_inputs(inputs, model.dtype)

text_ids, audio = model.generate(
    **inputs, speaker="Ethan", use_audio_in_video=USE_AUDIO_IN_VIDEO, return_audio=True, talker_do_sample=False
)
new_ids = text_ids.sequences[:, inputs["input_ids"].shape[1] :].asnumpy()
text = processor.batch_decode(new_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
if model.is_writer:  # one process of msrun's
    print(text)
    if audio is not None:
        sf.write("output.wav", audio.reshape(-1).asnumpy(), samplerate=24000)
