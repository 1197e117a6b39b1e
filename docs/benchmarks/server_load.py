"""Measures what the server costs: 32 clients that ask it, against the engine that is asked as `ms-omni batch` asks it.

    python docs/benchmarks/server_load.py [--model DIR] [--requests 96] [--clients 32] [--rounds 5] [--tokens 32]

Both sides have one and the same engine and answer the same questions, in turns; the ratio is taken within a round. The
clients are another process, streaming. Last line: one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any

import uvicorn
from decode import machine, spread

from ms_omni import OmniEngine, SamplingParams
from ms_omni.cli.batch.in_flight import NUM_AHEAD
from ms_omni.server.app import make_app
from ms_omni.server.listening import listening_socket
from ms_omni.server.service import ServerSettings, Service

LAST_CHUNK = b"0\r\n"
TASKS = {"text": {}, "text and speech": {"modalities": ["text", "audio"]}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="built-in")
    for name, default in (("requests", 96), ("clients", 32), ("rounds", 5), ("tokens", 32), ("frames", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--ask", help=argparse.SUPPRESS)  # the clients' process: where the server is
    args = parser.parse_args()
    if args.ask:
        print(json.dumps(asyncio.run(ask_all(args.ask, args.requests, args.clients, json.loads(sys.stdin.read())))))
        return
    measure(args)


def body(args: argparse.Namespace, task: str) -> dict[str, Any]:
    return {
        "temperature": 0,
        "max_tokens": args.tokens,
        "ignore_eos": True,
        "talker": {"max_new_tokens": args.frames + 1, "temperature": 0},
        "stream": True,
        "stream_options": {"include_usage": True},
        **TASKS[task],
    }


def question(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"Question {number}: what is your name?"}]


def measure(args: argparse.Namespace) -> None:
    with OmniEngine.from_pretrained(args.model, warm_up=True) as engine:
        service = Service(ServerSettings(model_names=("measured",), max_queue=args.clients))
        service.open(engine)
        listener = listening_socket("127.0.0.1", 0)
        config = uvicorn.Config(make_app(service), access_log=False, log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            found = {task: rounds_of(args, engine, url, task) for task in TASKS}
        finally:
            server.should_exit = True
            thread.join()
    print(json.dumps({"machine": machine(), "arguments": vars(args), "tasks": found}))


def rounds_of(args: argparse.Namespace, engine: OmniEngine, url: str, task: str) -> dict[str, Any]:
    served(args, url, task)  # a warm-up of both
    direct(args, engine, task)
    sides: dict[str, list[float]] = {"engine": [], "server": []}
    clients: list[dict[str, float]] = []
    for number in range(args.rounds):
        if number % 2:
            sides["engine"].append(direct(args, engine, task))
        clients.append(served(args, url, task))
        sides["server"].append(clients[-1]["seconds"])
        if not number % 2:
            sides["engine"].append(direct(args, engine, task))
    ratios = [alone / over for alone, over in zip(sides["engine"], sides["server"], strict=True)]
    first, own = ([each[name] for each in clients] for name in ("first_s", "processor_s"))
    rate = {side: [args.requests / seconds for seconds in times] for side, times in sides.items()}
    for side, values in rate.items():
        print(f"{task}: {side} {spread(values)} answers/s")
    print(f"{task}: server / engine {spread(ratios)}; first text, median of the clients: {spread(first)} s")
    print(f"{task}: processor time of the clients {spread(own)} s")
    return {
        "answers_per_s": rate,
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        "first_s": first,
        "clients_processor_s": own,
    }


def direct(args: argparse.Namespace, engine: OmniEngine, task: str) -> float:
    """Seconds for all questions, so many at a time as `ms-omni batch` asks."""
    sampling = SamplingParams(
        thinker_temperature=0, thinker_max_new_tokens=args.tokens, ignore_eos=True,
        talker_max_new_tokens=args.frames + 1, talker_temperature=0,
    )  # fmt: skip
    finished: SimpleQueue[Any] = SimpleQueue()
    start, kept = time.perf_counter(), set()
    todo = iter(range(args.requests))
    speak = "modalities" in TASKS[task]
    while True:
        while len(kept) < engine.max_num_seqs + NUM_AHEAD and (number := next(todo, None)) is not None:
            handle = engine.submit(question(number), sampling=sampling, return_audio=speak)
            handle.add_done_callback(finished.put)
            kept.add(handle)
        if not kept:
            return time.perf_counter() - start
        handle = finished.get()
        kept.remove(handle)
        assert len(handle.result().token_ids) == args.tokens


def served(args: argparse.Namespace, url: str, task: str) -> dict[str, float]:
    """Of the clients: seconds for all, and until the first text, the median of all questions."""
    command = [sys.executable, __file__, "--ask", url]
    command += [f"--{name}={getattr(args, name)}" for name in ("requests", "clients")]
    done = subprocess.run(command, input=json.dumps(body(args, task)), capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def ask_all(url: str, count: int, num_clients: int, common: dict[str, Any]) -> dict[str, float]:
    """Each client has a connection. They are on the server's cores here, as real ones are not, so they read no more of
    an answer than is needed: no HTTP library, JSON of the last event alone."""
    todo, first = iter(range(count)), list[float]()
    host, port = url.removeprefix("http://").split(":")

    async def ask_on() -> None:
        reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 24)
        for number in todo:
            start, is_first, usage = time.perf_counter(), True, None
            asked = json.dumps({"messages": question(number), **common}).encode()
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(asked)}\r\n\r\n".encode() + asked)
            status = await reader.readline()
            assert b" 200 " in status, status
            while (line := await reader.readline()) != LAST_CHUNK:
                if is_first and b'"content":"' in line and b'"content":""' not in line:
                    first.append(time.perf_counter() - start)
                    is_first = False
                if b'"usage":{' in line:
                    usage = json.loads(line.removeprefix(b"data: "))["usage"]
            await reader.readline()
            assert usage and usage["completion_tokens_details"]["text_tokens"] == common["max_tokens"]
        writer.close()

    start, processor_start = time.perf_counter(), time.process_time()
    await asyncio.gather(*[ask_on() for _ in range(num_clients)])
    return {
        "seconds": time.perf_counter() - start,
        "processor_s": time.process_time() - processor_start,
        "first_s": statistics.median(first),
    }


if __name__ == "__main__":
    main()
