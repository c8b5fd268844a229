"""The way of a file, as its uploader and its reader see it."""
import hashlib
import json

from installation import TOWN, wait_for

LAYERS = [
    ("parcels", "parcels.zip", {}),
    ("buildings", "buildings.geojson", {}),
    ("roads", "network.gpkg", {"layer": "roads"}),
    ("addresses", "network.gpkg", {"layer": "addresses"}),
    ("hydrants", "hydrants.fgb", {}),
]


def test_the_town_comes_into_the_lake_with_its_counts_and_both_ends_linked(home):
    for dataset, file, entry in LAYERS:
        home.put_batch(f"town-{dataset}", TOWN / file, dataset=dataset, **entry)
    for dataset, _, _ in LAYERS:
        record = home.ended(f"town-{dataset}")
        assert record["manifest"]["status"] == "success", record
        version = home.versions(dataset)[-1]
        assert version["version"] == 1 and version["format"] == "geoparquet" and version["crs"] == "EPSG:4326"
        head = home.s3().head_object(Bucket="data-lake", Key=version["s3_key"].removeprefix("s3://data-lake/"))
        assert head["Metadata"]["mongodb_doc_id"] == version["_id"]
        assert head["Metadata"]["run_id"] == version["dagster_run_id"]
        assert head["Metadata"]["content_hash"] == version["content_hash"]
        bounds = version["bounds"]
        assert 5.9 < bounds["minx"] < bounds["maxx"] < 10.5 and 45.8 < bounds["miny"] < bounds["maxy"] < 47.9
    assert home.cli("lake", "verify")["clean"] is True


def test_a_dataset_gets_its_next_version_and_a_batch_is_processed_once(home):
    home.put_batch("one", TOWN / "hydrants.fgb", dataset="hydrants")
    home.ended("one")
    home.put_batch("two", TOWN / "hydrants.fgb", dataset="hydrants")
    home.ended("two")
    assert [v["version"] for v in home.versions("hydrants")] == [1, 2]
    home.put_batch("two", TOWN / "hydrants.fgb", dataset="hydrants")
    wait_for(lambda: [r for r in home.get("/api/v1/rejected-manifests")["rejected"] if "two" in json.dumps(r)],
             saying="the second `two` was not refused")
    home.put_batch("two", TOWN / "hydrants.fgb", dataset="other")
    wait_for(lambda: len(home.get("/api/v1/rejected-manifests")["rejected"]) == 2, saying="`two` again was not refused")
    assert [v["version"] for v in home.versions("hydrants")] == [1, 2]
    assert home.versions("other") == []
    assert len(home.get("/api/v1/runs")["runs"]) == 2


def test_ingest_shows_and_download_bring_a_file_there_and_back(home):
    summary = home.cli("ingest", TOWN / "buildings.geojson", "--dataset", "buildings")
    assert summary["batches"][0]["status"] == "success", summary
    shown = home.cli("dataset", "show", "buildings")
    out = home.home / "buildings.parquet"
    home.cli("dataset", "download", "buildings", "-o", out)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert shown["latest"]["content_hash"] == f"sha256:{digest}"


def test_the_manifest_is_archived_and_its_putter_is_in_the_ledger(home):
    home.put_batch("kept", TOWN / "hydrants.fgb", dataset="hydrants")
    record = home.ended("kept")
    assert record["manifest"]["principal"] == "admin" and record["manifest"]["uploader"] == "e2e"

    def archived():
        keys = [o["Key"] for o in home.s3().list_objects_v2(Bucket="landing-zone").get("Contents", [])]
        return "archive/manifests/kept.json" in keys and "manifests/kept.json" not in keys
    wait_for(archived, saying="the manifest was not archived")


def test_generalize_vector_simplifies_only_because_it_was_asked_to(home):
    home.put_batch("full", TOWN / "buildings.geojson", dataset="full")
    home.put_batch("thin", TOWN / "buildings.geojson", dataset="thin", intent="generalize_vector",
                   tags={"tolerance": 0.001})
    home.ended("full"), home.ended("thin")
    full, thin = home.versions("full")[0], home.versions("thin")[0]
    assert thin["metadata"]["feature_count"] == full["metadata"]["feature_count"]
    assert thin["provenance"]["recipe"]["fingerprint"] != full["provenance"]["recipe"]["fingerprint"]
    size = {v["dataset_id"]: home.s3().head_object(Bucket="data-lake", Key=v["s3_key"].removeprefix("s3://data-lake/"))
            ["ContentLength"] for v in (full, thin)}
    assert size["thin"] < size["full"]


def test_an_uploader_writes_the_landing_zone_and_only_reads_the_lake(home):
    key = home.cli("s3", "key", "add", "anna", "--role", "uploader")
    anna = home.s3(key["access_key"], key["secret_key"])
    anna.put_object(Bucket="landing-zone", Key="anna/a.txt", Body=b"a")
    anna.list_objects_v2(Bucket="data-lake")
    manifest = {"batch_id": "annas", "uploader": "somebody", "intent": "ingest_vector", "metadata": {},
                "files": [{"path": "s3://landing-zone/anna/h.fgb", "type": "vector", "format": "FlatGeobuf"}]}
    anna.upload_file(str(TOWN / "hydrants.fgb"), "landing-zone", "anna/h.fgb")
    anna.put_object(Bucket="landing-zone", Key="manifests/annas.json", Body=json.dumps(manifest))
    record = home.ended("annas")["manifest"]
    assert (record["status"], record["principal"], record["uploader"]) == ("success", "anna", "somebody")
    commits = [a for a in home.get("/api/v1/activity")["activity"] if a["action"] == "asset.commit"]
    assert [a["user"] for a in commits] == ["anna"]
    try:
        anna.put_object(Bucket="data-lake", Key="anna/a.txt", Body=b"a")
    except anna.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "AccessDenied"
    else:
        raise AssertionError("an uploader wrote to the lake")
    home.cli("s3", "key", "revoke", "anna")
    try:
        anna.list_objects_v2(Bucket="landing-zone")
    except anna.exceptions.ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    else:
        raise AssertionError("a revoked key still works")
