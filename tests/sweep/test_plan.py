from dataclasses import asdict

import pytest
from exercise import settings_of

from backproof.sweep.plan import Member, SweepError, make_plan
from backproof.training.settings import Settings, SettingsError


def options(**changes: str) -> dict[str, str]:
    return {name: str(value) for name, value in asdict(Settings()).items()} | changes


def test_without_lists_it_is_the_published_run():
    plan = make_plan(options(), runs=1)
    assert plan.members == (Member("run-1", Settings()),)
    assert plan.varied == ()
    assert plan.title(plan.members[0]) == "run-1"


def test_a_grid_is_the_cross_product_in_the_order_of_the_lists():
    plan = make_plan(options(lr="0.05,0.1", hidden="100,200"), runs=1)
    assert [(settings_of(m).hidden, settings_of(m).lr) for m in plan.members] == [
        (100, 0.05), (100, 0.1), (200, 0.05), (200, 0.1),
    ]  # fmt: skip
    assert plan.varied == ("hidden", "lr")
    assert plan.title(plan.members[1]) == "run-2 (hidden 100, lr 0.1)"
    assert len(plan.configurations()) == 4


def test_runs_count_both_seeds_up_and_leave_the_split():
    plan = make_plan(options(lr="0.1,0.2", seed="7", affine_seed="30", split_seed="5"), runs=3)
    seeds = [(settings_of(m).seed, settings_of(m).affine_seed) for m in plan.members]
    assert seeds == [(7, 30), (8, 31), (9, 32)] * 2
    assert {m.settings.split_seed for m in plan.members} == {5}
    assert plan.varied == ("lr", "seed", "affine_seed")
    assert plan.shown == ("lr", "seed")  # the other seed only follows
    assert [len(members) for members in plan.configurations().values()] == [3, 3]
    assert list(plan.configurations()) == [(("lr", 0.1),), (("lr", 0.2),)]


def test_a_list_of_seeds_makes_repeats_of_one_configuration():
    plan = make_plan(options(seed="3,1", affine_seed="1,2"), runs=1)
    assert len(plan.configurations()) == 1
    assert plan.shown == plan.varied == ("seed", "affine_seed")


def test_names_sort_as_the_runs_do():
    names = [member.name for member in make_plan(options(), runs=12).members]
    assert names == sorted(names)
    assert names[0] == "run-01"


@pytest.mark.parametrize(
    ("changes", "runs", "message"),
    [
        ({"lr": "0.1,fast"}, 1, r"^--lr holds 'fast', which is not a number; give one, or several with commas"),
        ({"lr": "0.1,"}, 1, r"^--lr holds '', which is not a number"),
        ({"batch_size": "8,1.5"}, 1, r"^--batch-size holds '1.5', which is not a whole number"),
        ({"lr": "0.1,0.10"}, 1, r"^--lr names 0.1 twice; name every value once"),
        ({"seed": "1,2"}, 2, r"^--seed is a list and --runs is 2, which counts seeds up by itself; give one"),
        ({}, 0, r"^--runs is 0; it has to be at least 1.$"),
        ({"hidden": "1,2"}, 5001, r"^This grid has 10,002 runs; at most 10,000 are done in one sweep.$"),
    ],
)
def test_bad_grids(changes: dict[str, str], runs: int, message: str):
    with pytest.raises(SweepError, match=message):
        make_plan(options(**changes), runs)


@pytest.mark.parametrize("changes", [{"hidden": "5,0"}, {"lr": "0.1,nan"}, {"correction": "0,1,2"}])
def test_every_point_has_to_make_sense(changes: dict[str, str]):
    with pytest.raises(SettingsError, match="it has to be"):
        make_plan(options(**changes), 1)


def test_seeds_may_not_be_counted_beyond_their_end():
    with pytest.raises(SettingsError, match="--seed is 9223372036854775808"):
        make_plan(options(seed=str(2**63 - 1)), 2)
