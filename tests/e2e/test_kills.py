"""Anything is killed at any time, under load: the state ends up consistent, and every run ends, with a reason where it failed.

CATCHMENT_KILL_ROUNDS says how many rounds (default 8), CATCHMENT_KILL_SEED which (default 1): what is killed, and when, follows
from the seed.
"""
import os
import random
import signal
import time

import pytest
from installation import wait_for
from state import State

ROUNDS = int(os.environ.get("CATCHMENT_KILL_ROUNDS", "8"))
SEED = int(os.environ.get("CATCHMENT_KILL_SEED", "1"))
PARTS = list("abcdefgh")
# What a round kills: by the words of its command line, or everything.
VICTIMS = ["daemon", "code-server", "webserver", "execute-run", "catchment dev", "everything"]


@pytest.fixture(params=["sqlite", "postgres"])
def state(request, bare_home):
    """Where the state is: in the home's file, or in a database."""
    state = State(bare_home, request.param == "postgres")
    yield state
    bare_home.kill_all()
    state.stop()


def kill(home, state, victim):
    """Kills it and sees to what nobody else would: that `catchment dev` runs."""
    match victim:
        case "everything":
            home.kill_all()
        case "catchment dev":
            home.dev.send_signal(signal.SIGKILL)
            home.dev.wait(30)
        case "postgres":
            state.server.restart()
        case _:
            home.kill(victim)
    if victim in ("everything", "catchment dev"):
        home.start(**state.environment)


def load(home, number):
    """Asks for work, as a client does that asks again where it got no answer."""
    for job in ("chain", "chain", "one_op", "two_hundred_ops" if number % 5 == 0 else "counted"):
        home.attempt(lambda job=job: home.launch(job))
    if number % 3 == 0:
        home.attempt(lambda: home.post("/api/v1/backfills", job="parts", partitions=PARTS, id=f"backfill-{number}"))


def test_whatever_is_killed_every_run_ends_with_a_reason_and_nothing_is_lost_or_doubled(bare_home, state):
    home = bare_home.with_location("bench", "catchment-bench-location").start(**state.environment)
    home.post("/api/v1/pools/narrow", limit=3)
    home.set_running("sensor", "counting_sensor", True)
    home.set_running("schedule", "each_minute", True)
    luck = random.Random(SEED)
    for number in range(ROUNDS):
        load(home, number)
        time.sleep(luck.uniform(0, 1.2))
        victim = luck.choice(VICTIMS + (["postgres"] if state.server else []))
        print(f"round {number}: {victim}", flush=True)
        kill(home, state, victim)
    wait_for(home.healthy, 60, saying="the installation did not come back")
    for kind, name in (("sensor", "counting_sensor"), ("schedule", "each_minute")):
        home.attempt(lambda kind=kind, name=name: home.set_running(kind, name, False))
    state.settled(120 + ROUNDS)
    assert state.consistent() == []
    counted = state.counted("counting_sensor")
    assert counted == list(range(1, len(counted) + 1))
    asked = state.runs_of_backfills()
    assert asked == {f"backfill-{number}": PARTS for number in range(0, ROUNDS, 3)}
    wait_for(lambda: not home.pids("execute-run"), 30, saying="processes of runs are left over")
    home.stop()
    assert home.pids("catchment") == []
