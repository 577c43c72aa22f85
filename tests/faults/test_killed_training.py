"""A training that is killed twenty times, each time in a new process, ends with the weights of an undisturbed one."""

import multiprocessing
import random
import time
from pathlib import Path

import psutil
from safetensors.numpy import load_file

from tests.faults.tally import Tally
from tests.test_training import start_training

PART = "SIGKILL of training"
KILLS = 20
SEED = 7
SAVED_EVERY = 2  # steps


def train(models: Path, checkpoints: Path, out: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sentidistill.student import training
    from sentidistill.student.rows import tokenise
    from tests.test_training import PARAMS, rows_of_several_lengths, runtime

    model, tokenizer = (kind.from_pretrained(models / "student") for kind in (AutoModelForCausalLM, AutoTokenizer))
    data = tokenise(rows_of_several_lengths(42), tokenizer, "transcript", 512)
    machine = runtime(train_rows_per_step=2, save_steps=SAVED_EVERY)
    params = PARAMS.model_copy(update={"epochs": 36, "learning_rate": 1e-3})  # a fast machine does not reach its end
    training.train(model, tokenizer, data, params, machine, max_length=512, checkpoints=checkpoints)
    model.save_pretrained(out)


def test_twenty_kills_change_no_weight(tiny_models, tmp_path, tally: Tally):
    """Kills fall within epochs and while checkpoints are written, as one is written every other step."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["torch", "transformers", "trl", "sentidistill.student.training"])

    def started(name: str):
        one = processes.Process(target=train, args=(tiny_models, tmp_path / name, tmp_path / f"{name}_out"))
        one.start()
        return one

    undisturbed = started("undisturbed")
    undisturbed.join()
    moments = random.Random(SEED)
    for number in range(KILLS):
        before = checkpoints_of(tmp_path / "killed")
        one = started("killed")
        while one.is_alive() and len(checkpoints_of(tmp_path / "killed") - before) < 1:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        if not one.is_alive():
            tally.faults.append(f"it came to its end before kill {number + 1}")
        one.kill()
        one.join()
        tally.add("tried")
    last = started("killed")
    last.join()
    expected = load_file(tmp_path / "undisturbed_out/model.safetensors")
    found = load_file(tmp_path / "killed_out/model.safetensors") if last.exitcode == 0 else {}
    largest = max(float(abs(found.get(name, float("inf")) - value).max()) for name, value in expected.items())
    print(f"largest difference of a weight after {KILLS} kills: {largest}")
    tally.add("files that differ", f"the weights, by {largest} at most", number=largest > 0)
    tally.check()


def test_a_stage_that_is_killed_leaves_none_of_the_processes_that_train_for_it(tiny_models, tmp_path):
    stage = start_training(tmp_path, tiny_models, {"processes": 2}, epochs=500)
    below: list[psutil.Process] = []
    while not list(tmp_path.glob(".cache/train/*/*")) or len(below) < 3:  # the launcher and two that train
        assert stage.poll() is None, stage.communicate()[1]
        time.sleep(0.1)
        below = psutil.Process(stage.pid).children(recursive=True)
    stage.kill()
    _, left = psutil.wait_procs(below, timeout=60)
    for one in left:
        one.kill()
    assert not left


def checkpoints_of(folder: Path) -> set[Path]:
    """Checkpoints that were begun, of the last of which a kill may leave a part."""
    return set(folder.glob("checkpoint-*"))
