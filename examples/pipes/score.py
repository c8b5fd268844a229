"""Scores parcels: a program that Catchment launches, and that runs by itself as well."""

from dagster_pipes import open_dagster_pipes

PARCELS = {"south 1": 412.0, "south 2": 388.5, "north 1": 1203.75}


def main():
    # Outside of Catchment this warns, and what is reported goes nowhere.
    with open_dagster_pipes() as pipes:
        threshold = pipes.get_extra("threshold")
        pipes.log.info(f"scoring {len(PARCELS)} parcels for run {pipes.run_id}")
        large = [name for name, area in PARCELS.items() if area > threshold]
        pipes.report_asset_check("some_are_large", passed=bool(large), severity="WARN")
        pipes.report_asset_materialization(
            data_version="2026-11",
            metadata={
                "large": len(large),
                "names": {"raw_value": large, "type": "json"},
                "method": {"raw_value": "an area above **the threshold**", "type": "md"},
            },
        )


if __name__ == "__main__":
    main()
