"""What a user's program does with dagster-pipes, one part after the other as the extra `do` says."""

import os
import sys
import time

from dagster_pipes import (
    PipesDefaultMessageWriter,
    PipesUnityCatalogVolumesMessageWriter,
    open_dagster_pipes,
)


def everything(pipes):
    pipes.log.debug("a detail")
    pipes.log.info("größer")
    pipes.log.warning("beware")
    pipes.log.error("wrong")
    pipes.log.critical("very wrong")
    pipes.report_custom_message(
        {
            "asset": pipes.asset_key,
            "code_version": pipes.code_version,
            "provenance": pipes.provenance,
            "partition": pipes.partition_key,
            "range": dict(pipes.partition_key_range),
            "window": pipes.partition_time_window,
            "run": pipes.run_id,
            "job": pipes.job_name,
            "retry": pipes.retry_number,
            "extra": pipes.get_extra("model"),
        }
    )
    columns = [{"name": "id", "type": "int", "description": "a key", "constraints": {"nullable": False}}]
    pipes.report_asset_materialization(
        data_version="v7",
        metadata={
            "inferred_int": 1,
            "inferred_float": 1.5,
            "inferred_text": "a",
            "inferred_bool": True,
            "inferred_list": [1, "a"],
            "inferred_null": None,
            "text": {"raw_value": "t", "type": "text"},
            "url": {"raw_value": "https://example.org", "type": "url"},
            "path": {"raw_value": "/data", "type": "path"},
            "notebook": {"raw_value": "/n.ipynb", "type": "notebook"},
            "json": {"raw_value": {"a": [1]}, "type": "json"},
            "md": {"raw_value": "*m*", "type": "md"},
            "float": {"raw_value": 2, "type": "float"},
            "int": {"raw_value": 2, "type": "int"},
            "bool": {"raw_value": False, "type": "bool"},
            "dagster_run": {"raw_value": pipes.run_id, "type": "dagster_run"},
            "asset": {"raw_value": "other/one", "type": "asset"},
            "null": {"raw_value": None, "type": "null"},
            "table": {"raw_value": {"records": [{"id": 1}], "schema": columns}, "type": "table"},
            "table_schema": {"raw_value": {"columns": columns}, "type": "table_schema"},
            "table_column_lineage": {
                "raw_value": {"deps_by_column": {"id": [{"asset_key": "other/one", "column_name": "key"}]}},
                "type": "table_column_lineage",
            },
            "timestamp": {"raw_value": 1.5, "type": "timestamp"},
        },
    )
    pipes.report_asset_check("holds", passed=True, metadata={"rows": 3})
    pipes.report_asset_check("odd", passed=False, severity="WARN")
    pipes.report_asset_check("bad", passed=False, severity="ERROR")


def wait(pipes):
    with open(pipes.get_extra("up"), "w") as up:
        up.write("up\n")
    try:
        while True:
            time.sleep(0.05)
    except KeyboardInterrupt:
        with open(pipes.get_extra("ended"), "w") as ended:
            ended.write("interrupted\n")
        raise


def main():
    if os.environ.get("CHUNKS"):
        writer = PipesUnityCatalogVolumesMessageWriter(interval=1)
    else:
        writer = PipesDefaultMessageWriter()
    with open_dagster_pipes(message_writer=writer) as pipes:
        print("to standard output")
        print("to standard error", file=sys.stderr)
        do = pipes.get_extra("do")
        if do == "everything":
            everything(pipes)
        elif do == "raise":
            try:
                raise KeyError("the cause")
            except KeyError as cause:
                raise ValueError("this went wrong") from cause
        elif do == "exit":
            sys.exit(7)
        elif do == "print":
            for number in range(20_000):
                print(f"line {number} " + "x" * 80)
        elif do == "wait":
            wait(pipes)


main()
