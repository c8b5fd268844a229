"""GDAL's /vsis3/, by Debian's command line tools."""

import json
import subprocess
from pathlib import Path

import pytest

TOWN = Path(__file__).parents[2] / "examples" / "data"


@pytest.fixture
def gdal(server):
    def run(*command: str) -> str:
        environment = server.environment(
            AWS_S3_ENDPOINT=server.host, AWS_VIRTUAL_HOSTING="FALSE", AWS_HTTPS="YES" if server.tls else "NO",
            CPL_VSIL_USE_TEMP_FILE_FOR_RANDOM_WRITE="YES",
        )
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert "ERROR" not in done.stderr, done.stderr
        return done.stdout

    return run


@pytest.fixture
def town(s3, bucket):
    for name in ("buildings.geojson", "hydrants.fgb", "network.gpkg", "parcels.zip", "elevation.tif"):
        s3.upload_file(str(TOWN / name), bucket, f"town/{name}")
    return f"/vsis3/{bucket}/town"


def count(gdal, path: str, *more: str) -> int:
    layers = gdal("ogrinfo", "-ro", "-so", "-al", path, *more).split("Feature Count: ")
    return sum(int(layer.split()[0]) for layer in layers[1:])


@pytest.mark.parametrize("name", ["buildings.geojson", "hydrants.fgb", "network.gpkg"])
def test_vector_files_are_read_in_place(gdal, town, name):
    assert count(gdal, f"{town}/{name}") == count(gdal, str(TOWN / name)) > 0


def test_a_zipped_shapefile_is_read_through_two_file_systems(gdal, town):
    there = town.removeprefix("/")
    assert count(gdal, f"/vsizip//{there}/parcels.zip") == count(gdal, f"/vsizip/{TOWN / 'parcels.zip'}") > 0


def test_a_raster_is_read_by_ranges(gdal, town):
    here, there = (json.loads(gdal("gdalinfo", "-json", "-checksum", f"{root}/elevation.tif")) for root in (TOWN, town))
    assert there["size"] == here["size"]
    assert [b["checksum"] for b in there["bands"]] == [b["checksum"] for b in here["bands"]]


@pytest.mark.parametrize("driver,name", [("GeoJSON", "out.geojson"), ("FlatGeobuf", "out.fgb"), ("GPKG", "out.gpkg")])
def test_ogr2ogr_writes_what_it_then_reads(gdal, town, bucket, driver, name):
    target = f"/vsis3/{bucket}/made/{name}"
    gdal("ogr2ogr", "-f", driver, target, f"{town}/hydrants.fgb")
    assert count(gdal, target) == count(gdal, str(TOWN / "hydrants.fgb"))


def test_a_raster_is_written_as_a_cog(gdal, town, bucket):
    target = f"/vsis3/{bucket}/made/elevation.tif"
    gdal("gdal_translate", "-q", "-of", "COG", f"{town}/elevation.tif", target)
    assert json.loads(gdal("gdalinfo", "-json", target))["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
