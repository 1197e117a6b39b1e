"""`ms-omni example` writes a conversation that can be asked as it is."""

from ms_omni.inputs.conversation import load_conversation, media_parts


def test_it_writes_a_conversation_with_its_media(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = cli("example")
    written = {file.name for file in (tmp_path / "example").iterdir()}
    assert done.code == 0 and written == {"shapes.png", "words.wav", "ball.mp4", "conversation.json"}
    assert all(name in done.out for name in written)
    conversation = load_conversation(tmp_path / "example" / "conversation.json")
    assert [kind for kind, _, _ in media_parts(conversation)] == ["image", "audio", "video"]
    assert cli("example", tmp_path / "deep" / "er").code == 0
    assert (tmp_path / "deep" / "er" / "shapes.png").is_file()


def test_a_place_that_cannot_be_written(user_error, tmp_path):
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'}: cannot be written" in user_error("example", tmp_path / "file")
