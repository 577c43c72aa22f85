from pathlib import Path

import pytest
import yaml

from sentidistill import config
from sentidistill.errors import SentiDistillError


def changed(tmp_path: Path, change) -> Path:
    values = yaml.safe_load(Path("params.yaml").read_text())
    change(values)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_default_params_are_valid():
    assert config.load("params.yaml").train_student.batch_size > 0


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path):
    path = changed(tmp_path, lambda values: values["train_student"].update(learning_rat=1))
    with pytest.raises(SentiDistillError, match=r"train_student\.learning_rat; did you mean learning_rate\?"):
        config.load(path)


def test_an_unknown_section_is_named(tmp_path):
    path = changed(tmp_path, lambda values: values.update(train_studnet={}))
    with pytest.raises(SentiDistillError, match=r"unknown key train_studnet; did you mean train_student\?"):
        config.load(path)


def test_a_missing_key_is_named(tmp_path):
    path = changed(tmp_path, lambda values: values["select_samples"].pop("rate"))
    with pytest.raises(SentiDistillError, match=r"select_samples\.rate is missing"):
        config.load(path)


def test_a_value_out_of_range_is_named(tmp_path):
    path = changed(tmp_path, lambda values: values["select_samples"].update(rate=2))
    with pytest.raises(SentiDistillError, match=r"select_samples\.rate: .*above 0 and at most 1, found 2"):
        config.load(path)


@pytest.mark.parametrize("text", ["2e-5", "3e-05"])
def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path, text):
    path = changed(tmp_path, lambda values: values["train_student"].update(learning_rate=text))
    assert config.load(path).train_student.learning_rate == float(text)


def test_an_evaluated_task_has_to_be_prepared(tmp_path):
    path = changed(tmp_path, lambda values: values["evaluate"].update(tasks=["tweet", "yelp"]))
    with pytest.raises(SentiDistillError, match="yelp"):
        config.load(path)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [\n"])
def test_a_file_that_is_no_params_file_is_refused(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(SentiDistillError, match=r"params\.yaml"):
        config.load(path)


@pytest.mark.parametrize("path", ["mine.csv", "/tmp/mine.csv", "own/../mine.csv"])
def test_a_file_outside_own_is_refused_with_the_place_to_put_it(path, tmp_path):
    def change(values):
        values["prepare_corpus"]["sources"] = [{"domain": "mine", "path": path}]

    with pytest.raises(SentiDistillError, match=r"does not lie in own/.*put it there"):
        config.load(changed(tmp_path, change))


def test_all_contradictions_of_a_section_are_told_at_once(tmp_path):
    def change(values):
        values["select_samples"] |= {"budget": {"samples": 9, "tokens": 9}, "max_share": {"family": 0.5}}
        values["select_samples"]["stratify"] = False
        values["prepare_benchmark"]["negative_below"] = 3.5

    with pytest.raises(SentiDistillError) as caught:
        config.load(changed(tmp_path, change))
    told = str(caught.value).splitlines()
    assert len(told) == 3
    assert sum("select_samples: " in line for line in told) == 2
    assert sum("prepare_benchmark: " in line for line in told) == 1
