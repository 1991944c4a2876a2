"""Several threads make the same bits as one, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from native import _fused
from reference import Sizes, make_parameters, make_stream

NETWORKS = {
    "published": Sizes(27, 10, 3, 200, 32),
    "odd": Sizes(31, 3, 5, 391, 41),
    "many symbols": Sizes(600, 17, 2, 200, 50, 0),
    "large": Sizes(27, 10, 3, 1600, 17),
}
MANY_STEPS = 1000


def make_trainer(sizes: Sizes):
    return _fused.Trainer(
        *make_parameters(sizes), make_stream(sizes, words=500), sizes.block, correction=sizes.correction
    )


def draw(trainer, steps: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    indices = np.random.default_rng(5).integers(0, trainer.examples, (steps, batch))
    return indices, np.full(steps, 0.1, dtype=np.float32)


def bits(trainer) -> list[bytes]:
    return [np.asarray(parameter).tobytes() for parameter in trainer.parameters()]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_by_any_number_of_threads(isa, name: str):
    sizes = NETWORKS[name]
    steps = MANY_STEPS if name == "published" and isa != "baseline" else 40
    one = make_trainer(sizes)
    indices, rates = draw(one, steps, sizes.batch)
    losses = one.run(indices, rates).tobytes()
    for threads in (2, 3, 5, 8):
        several = make_trainer(sizes)
        assert several.run(indices, rates, threads).tobytes() == losses
        assert bits(several) == bits(one), threads


def test_the_number_may_change_from_call_to_call(isa):
    sizes = NETWORKS["large"]
    one, several = make_trainer(sizes), make_trainer(sizes)
    indices, rates = draw(one, 30, sizes.batch)
    one.run(indices, rates)
    for first, threads in enumerate((2, 1, 8, 3, 8, 5)):
        rows = slice(5 * first, 5 * first + 5)
        several.run(indices[rows], rates[rows], threads)
        several.gradients(indices[0])
    assert bits(several) == bits(one)


def test_the_number_that_can_have_a_part_grows_with_the_network():
    most = [make_trainer(Sizes(27, 2, 1, hidden, 4)).most_threads for hidden in (1, 176, 177, 368, 369, 4000, 100_000)]
    assert most == [1, 1, 2, 2, 4, 16, 16]


@pytest.mark.parametrize("threads", [0, -1, 1025])
def test_a_number_that_makes_no_sense_is_refused(threads: int):
    trainer = make_trainer(NETWORKS["published"])
    with pytest.raises(ValueError, match="threads must be between 1 and 1024"):
        trainer.run(*draw(trainer, 1, 4), threads)


def threads_of(process: int) -> int:
    return len(list(Path(f"/proc/{process}/task").iterdir()))


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")


@needs_proc
def test_threads_live_as_long_as_their_trainer_and_sleep_between_its_calls():
    sizes = NETWORKS["large"]
    before = threads_of(os.getpid())
    trainer = make_trainer(sizes)
    indices, rates = draw(trainer, 20, sizes.batch)
    trainer.run(indices, rates, 4)
    assert threads_of(os.getpid()) == before + 3
    trainer.run(indices, rates, 4)
    assert threads_of(os.getpid()) == before + 3
    spent = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - spent < 0.25  # three that spun would have taken a second or more
    del trainer
    assert threads_of(os.getpid()) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_of_fork_has_threads_of_its_own():
    sizes = NETWORKS["large"]
    trainer, other = make_trainer(sizes), make_trainer(sizes)
    indices, rates = draw(trainer, 20, sizes.batch)
    trainer.run(indices[:10], rates[:10], 4)
    other.run(indices, rates)
    child = os.fork()
    if child == 0:
        trainer.run(indices[10:], rates[10:], 4)
        same = bits(trainer) == bits(other)
        del trainer
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    trainer.run(indices[10:], rates[10:], 4)
    assert bits(trainer) == bits(other)


def test_trainers_in_threads_of_python_do_not_disturb_each_other():
    sizes = NETWORKS["large"]
    trainers = [make_trainer(sizes) for _ in range(3)]
    indices, rates = draw(trainers[0], 40, sizes.batch)
    helpers = [threading.Thread(target=trainer.run, args=(indices, rates, 2)) for trainer in trainers[1:]]
    for helper in helpers:
        helper.start()
    trainers[0].run(indices, rates)
    for helper in helpers:
        helper.join()
    assert bits(trainers[1]) == bits(trainers[2]) == bits(trainers[0])


LONG = """
import sys
sys.path.insert(0, {here!r})
from test_fused_threads import NETWORKS, draw, make_trainer
trainer = make_trainer(NETWORKS["large"])
indices, rates = draw(trainer, 50, 17)
print("begun", flush=True)
while True:
    trainer.run(indices, rates, 3)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_as_if_it_had_one_thread(number: signal.Signals):
    source = LONG.format(here=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        time.sleep(0.1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == -number
    assert b"KeyboardInterrupt" in errors or number is not signal.SIGINT


def test_the_interpreter_ends_while_threads_wait():
    source = LONG.format(here=str(Path(__file__).parent)).replace("while True:", "for _ in range(2):")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
