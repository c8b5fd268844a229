"""Two daemons on one PostgreSQL: one leads, the other takes over, and nothing is lost or doubled while they are killed in turn.

CATCHMENT_LEADER_ROUNDS says how often the leader is killed (default 3).
"""
import os
import pathlib
import shutil
import subprocess
import time

import pytest
from installation import BIN, Installation, wait_for
from postgres import free_port
from state import State

ROUNDS = int(os.environ.get("CATCHMENT_LEADER_ROUNDS", "3"))
TAKES_OVER_WITHIN = 10
PARTS = list("abcdefgh")


class Home(Installation):
    """A home of which only the daemon (and, where it is asked for, the web server) runs."""

    def start_process(self, name, *arguments, **environment):
        """Starts it and answers its process once it says that it is ready."""
        with open(self.home / f"{name}.out", "ab+") as out, open(self.home / f"{name}.err", "ab") as err:
            begin = out.seek(0, os.SEEK_END)
            process = subprocess.Popen([BIN / "catchment", name, *arguments], env=self.environment(**environment),
                                       stdout=out, stderr=err, cwd=self.home)
        said = lambda: (self.home / f"{name}.out").read_bytes()[begin:]  # noqa: E731
        wait_for(lambda: b'"ready":true' in said().replace(b" ", b"") or process.poll(), 30, saying=f"{name} is not ready")
        assert process.poll() is None, (self.home / f"{name}.err").read_text()
        return process

    def start_daemon(self, **environment):
        self.daemon = self.start_process("daemon", **environment)

    def start_web(self, port, **environment):
        self.web = f"http://127.0.0.1:{port}"
        self.start_process("webserver", "--listen", f"127.0.0.1:{port}", **environment)


@pytest.fixture
def homes():
    made = []
    for name in "ab":
        path = pathlib.Path("/tmp") / f"cm-{os.getpid()}-{name}"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        made.append(Home(path).with_location("bench", "catchment-bench-location"))
    yield made
    for home in made:
        home.kill("catchment")
        shutil.rmtree(home.home, ignore_errors=True)


@pytest.fixture
def state(homes):
    state = State(homes[0], in_postgres=True)
    yield state
    for home in homes:
        home.kill("catchment")
    state.stop()


def leader(state):
    """The epoch, and the pid of the daemon that leads."""
    rows = state.rows("SELECT epoch, holder FROM leadership WHERE holder IS NOT NULL")
    return (int(rows[0][0]), int(rows[0][1].rsplit("#", 1)[1].split(":")[0])) if rows else None


def test_the_other_takes_over_and_no_tick_run_or_backfill_step_is_lost_or_doubled(homes, state):
    first, second = homes
    first.start_daemon(**state.environment)
    first.start_web(free_port(), **state.environment)
    second.start_daemon(**state.environment)
    first.set_running("sensor", "counting_sensor", True)
    took = []
    for number in range(ROUNDS):
        first.post("/api/v1/backfills", job="parts", partitions=PARTS, id=f"backfill-{number}")
        before = len(state.counted("counting_sensor"))
        wait_for(lambda: len(state.counted("counting_sensor")) > before + 1, 30, saying="the sensor does not tick")
        epoch, pid = leader(state)
        leading = next(home for home in homes if home.daemon.pid == pid)
        began = time.monotonic()
        leading.daemon.kill()
        leading.daemon.wait()
        now = wait_for(lambda: (found := leader(state)) and found[0] > epoch and found, 30, saying="nobody took over")
        took.append(time.monotonic() - began)
        assert now[1] != pid
        wait_for(lambda: len(state.counted("counting_sensor")) > before + 3, 30, saying="the sensor does not tick again")
        leading.start_daemon(**state.environment)
    print("taken over after", [round(t, 1) for t in took], "s")
    assert max(took) < TAKES_OVER_WITHIN

    first.set_running("sensor", "counting_sensor", False)
    state.settled(120)
    assert state.consistent() == []
    counted = state.counted("counting_sensor")
    assert counted == list(range(1, len(counted) + 1))
    assert state.runs_of_backfills() == {f"backfill-{number}": sorted(PARTS) for number in range(ROUNDS)}
    assert state.rows("SELECT id, instigator FROM ticks WHERE status = 'STARTED' AND ended_at IS NULL") == []


def test_what_is_asked_for_at_one_host_starts_at_once_on_the_host_that_leads(homes, state):
    first, second = homes
    first.start_daemon(**state.environment)
    # The web server of the other home wakes no daemon but that home's own, which does not lead.
    second.start_daemon(**state.environment)
    second.start_web(free_port(), **state.environment)
    wait_for(lambda: state.rows("SELECT 1 FROM locations WHERE name = 'bench' AND problem IS NULL"), 30,
             saying="the location was not loaded")
    for _ in range(5):
        second.run_ended(second.launch("one_op"))
    waited = [int(row[0]) for row in state.rows("SELECT launched_at - created_at FROM runs")]
    assert len(waited) == 5
    assert max(waited) < 1_000_000, f"microseconds in the queue: {waited}"
