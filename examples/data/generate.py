#!/usr/bin/env python3
"""Makes the sample town's files: `python3 generate.py [FOLDER]` (default: beside this script).

Needs the packages of requirements.txt. The same town gives the same bytes.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = ["parcels.zip", "buildings.geojson", "network.gpkg", "hydrants.fgb", "owners.csv",
         "elevation.tif", "orthophoto.tif"]


def generate(folder: Path) -> dict:
    """Writes FILES into `folder`; gives back how much of everything there is."""
    from town import buildings, cadastre, layout, people, photo, registers, terrain, writers

    ways = layout.ways()
    ground = cadastre.build(ways)
    houses = buildings.build(ground)
    parcels = registers.number(ground)
    addresses = registers.addresses(houses, ways)
    shares = people.assign(parcels, addresses)
    rows, flaws = people.register(shares)
    roads, hydrants = registers.roads(ways), registers.hydrants(ways)

    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        writers.parcels(folder / "parcels.zip", parcels, Path(scratch))
    writers.buildings(folder / "buildings.geojson", houses)
    writers.network(folder / "network.gpkg", roads, addresses)
    writers.hydrants(folder / "hydrants.fgb", hydrants)
    writers.owners(folder / "owners.csv", people.HEADER, rows)
    writers.elevation(folder / "elevation.tif", terrain.raster(ways), terrain.NODATA)
    writers.orthophoto(folder / "orthophoto.tif", photo.paint(ground, houses, ways))
    return {"parcels": len(parcels), "buildings": len(houses),
            "bow ties": sum(b.bow_tie for b in houses), "roads": len(roads),
            "addresses": len(addresses), "hydrants": len(hydrants), "owners": len(rows), **flaws}


def main() -> int:
    """Generates, and says what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE)
    folder = parser.parse_args().folder
    for what, n in generate(folder).items():
        print(f"{n:8} {what}")
    for name in FILES:
        print(f"{(folder / name).stat().st_size:8} bytes {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
