"""Results and references written for a test."""

import json
import random

TEXT = "the cat sat on a mat while it rained in May and nobody saw old ships sail by at noon"
WORDS = TEXT.split()


def write(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def in_openai_form(line):
    """A line of `batch`'s own results as OpenAI's batch output has it."""
    if "error" in line:
        body, status = {"error": {"message": line["error"], "type": "x", "param": None, "code": None}}, 400
    else:
        message = {"role": "assistant", "content": line["text"], "refusal": None}
        body, status = {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}, 200
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": line["id"], "response": response, "error": None}


def sentences(seed, count, low=5, high=15):
    """Texts without punctuation or white space at their ends."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(low, high))) for _ in range(count)]


def spoiled(seed, texts, share):
    """Each word is lost, doubled or another with the probability `share`; at least two words stay."""
    draw = random.Random(seed)
    found = []
    for text in texts:
        words = []
        for word in text.split():
            wrong = draw.choice([[], [word, word], [draw.choice(WORDS)]])
            words += wrong if draw.random() < share else [word]
        found.append(" ".join(words) if len(words) > 1 else text)
    return found


def rows(texts, **more):
    return [{"id": f"r{place}", "text": text, **more} for place, text in enumerate(texts)]
