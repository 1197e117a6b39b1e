"""/v1/audio: recordings written down and translated, by OpenAI's own client and by clients that send what it would not."""

import io

import numpy as np
import openai
import pytest
import soundfile
from ms_omni.inputs.audio import read_audio
from ms_omni.inputs.speech_prompts import speech_conversation

MEDIA = "tests/tiny/media/"
RATE = 16_000


@pytest.fixture(scope="session")
def client(server):
    with openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=300) as client:
        yield client


def test_try(client, trained):
    with open(MEDIA + "transcript_82_1.wav", "rb") as file:
        for kind in ("json", "text", "verbose_json", "srt", "vtt"):
            file.seek(0)
            print(kind, repr(client.audio.transcriptions.create(model="ms-omni", file=file, response_format=kind)))
        file.seek(0)
        for event in client.audio.transcriptions.create(model="ms-omni", file=file, stream=True): print(event)
        file.seek(0)
        print(client.audio.translations.create(model="ms-omni", file=file))
        file.seek(0)
        print(client.audio.translations.create(model="ms-omni", file=file, response_format="verbose_json"))
    with pytest.raises(openai.APIStatusError) as e:
        client.audio.speech.create(model="ms-omni", input="hi", voice="Ethan")
    print(e.value.status_code, e.value.body)
    x=read_audio(MEDIA+"audio_20_s_0_1.wav")
    import time
    parts=[]
    for name in ("transcript_82_1","transcript_30_1","audio_799_s_0_1","word_41_1","transcript_23_1","audio_8_s_0_1","audio_20_s_0_1"):
        parts += [read_audio(MEDIA+name+".wav"), np.zeros(RATE*3,np.float32)]
    f=io.BytesIO(); soundfile.write(f,np.concatenate(parts),RATE,format="FLAC")
    t=time.time()
    r=client.audio.transcriptions.create(model="ms-omni", file=("long.flac",f.getvalue()), response_format="verbose_json", timestamp_granularities=["segment"])
    print(time.time()-t); print(r.to_json())
    for event in client.audio.transcriptions.create(model="ms-omni", file=("l.flac",f.getvalue()), stream=True): print(time.time()-t,event)
