"""The state of an installation, read beside it: what the tests of survival ask at the end."""
import json
import sqlite3
import time

from postgres import Postgres

FINAL = "('SUCCESS', 'FAILURE', 'CANCELED')"
ENDS = "('PIPELINE_SUCCESS', 'PIPELINE_FAILURE', 'PIPELINE_CANCELED')"
# A daemon that gets no hint learns within this many seconds that a sensor was stopped.
STOPS_WITHIN = 7
BACKFILL_ENDS = "('COMPLETED_SUCCESS', 'COMPLETED_FAILED', 'CANCELED', 'FAILED')"


class State:
    """The home's file, or a database on a server of its own."""

    def __init__(self, home, in_postgres):
        self.home = home
        self.server = Postgres() if in_postgres else None
        self.environment = self.server.database("state") if in_postgres else {}

    def stop(self):
        if self.server:
            self.server.stop()

    def rows(self, query):
        """What a query finds, as lists of texts."""
        if self.server:
            return self.server.rows("state", query)
        database = sqlite3.connect(f"file:{self.home.home}/state/instance.db?mode=ro", uri=True, timeout=30)
        try:
            return [["" if value is None else str(value) for value in row] for row in database.execute(query)]
        finally:
            database.close()

    def live_runs(self):
        return self.rows(f"SELECT run_id, job_name, status FROM runs WHERE status NOT IN {FINAL}")

    def live_backfills(self):
        return self.rows(f"SELECT id, status FROM backfills WHERE status NOT IN {BACKFILL_ENDS}")

    def settled(self, seconds):
        """Waits until nothing has been under way for so long that no sensor or schedule that was stopped still asks for more."""
        quiet_since = None
        until = time.monotonic() + seconds
        while quiet_since is None or time.monotonic() < quiet_since + STOPS_WITHIN:
            live = self.live_runs() + self.live_backfills()
            quiet_since = None if live else quiet_since or time.monotonic()
            assert not live or time.monotonic() < until, f"these did not end: {live}"
            time.sleep(0.2)

    def consistent(self):
        """What is wrong once every run has ended; nothing, as it should be."""
        wrong = {
            "failed without a reason": self._failed_without_reason(),
            "not exactly one end in the log": self._ended_other_than_once(),
            "several runs of one run key": self._keys_with_several_runs(),
            "run keys without their run": self._keys_without_run(),
            "slots of pools that are held": self.rows("SELECT pool, run_id, step_key, held FROM pool_slots"),
            "plans of assets that are left": self.rows("SELECT asset_key, run_id FROM asset_plans"),
            "failed and not run again": self._retries_missing(),
        }
        return [(what, found) for what, found in wrong.items() if found]

    def _failed_without_reason(self):
        failed = self.rows("SELECT run_id, problem FROM runs WHERE status = 'FAILURE'")
        return [run for run, problem in failed if not problem or not json.loads(problem)["what"]]

    def _ended_other_than_once(self):
        return self.rows("SELECT r.run_id, r.status, count(e.id) FROM runs r LEFT JOIN events e ON e.run_id = r.run_id "
                         f"AND e.kind IN {ENDS} GROUP BY r.run_id, r.status HAVING count(e.id) <> 1")

    def _keys_with_several_runs(self):
        """Run again after a loss, a run keeps its key: those have a parent."""
        return self.rows("SELECT t.value, s.value, count(*) FROM run_tags t JOIN run_tags s ON s.seq = t.seq JOIN runs r "
                         "ON r.seq = t.seq WHERE t.key = 'dagster/run_key' AND s.key IN ('dagster/sensor_name', "
                         "'dagster/schedule_name') AND r.parent_run_id IS NULL GROUP BY t.value, s.value HAVING count(*) > 1")

    def _keys_without_run(self):
        return self.rows("SELECT scope, key FROM run_keys WHERE run_id NOT IN (SELECT run_id FROM runs)")

    def _retries_missing(self):
        return self.rows(
            "SELECT r.run_id, r.job_name FROM runs r JOIN run_tags t ON t.seq = r.seq AND t.key = 'dagster/max_retries' "
            "LEFT JOIN run_tags w ON w.seq = r.seq AND w.key = 'dagster/will_retry' WHERE r.status = 'FAILURE' AND "
            "(w.value IS NULL OR w.value = 'true' AND NOT EXISTS (SELECT 1 FROM runs again WHERE again.parent_run_id = "
            "r.run_id))")

    def counted(self, sensor):
        """The numbers that the counting sensor has asked for, in order."""
        keys = self.rows(f"SELECT key FROM run_keys WHERE scope LIKE 'sensor:%{sensor}'")
        return sorted(int(key.removeprefix("n")) for (key,) in keys)

    def runs_of_backfills(self):
        """The partitions that each backfill has asked for, apart from runs that run another again."""
        found = {}
        for backfill, partition in self.rows(
                "SELECT t.value, r.partition_key FROM runs r JOIN run_tags t ON t.seq = r.seq WHERE t.key = 'dagster/backfill' "
                "AND r.parent_run_id IS NULL ORDER BY 1, 2"):
            found.setdefault(backfill, []).append(partition)
        return found
