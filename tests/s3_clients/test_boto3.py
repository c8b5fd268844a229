"""boto3, the client that most Python programs use."""

import base64
import hashlib
import io
import random
import urllib.error
import urllib.request
import zlib
from datetime import datetime, timedelta, timezone

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

MIB = 1 << 20


def code(error) -> tuple[str, int]:
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_an_object_is_answered_as_it_was_put(s3, bucket):
    put = s3.put_object(
        Bucket=bucket, Key="a/ä b.json", Body=b"{}", ContentType="application/json", CacheControl="no-cache",
        ContentDisposition="inline", ContentLanguage="de", ContentEncoding="identity", Metadata={"colour": "blue"},
    )
    assert put["ETag"] == f'"{hashlib.md5(b"{}").hexdigest()}"'
    for got in (s3.get_object(Bucket=bucket, Key="a/ä b.json"), s3.head_object(Bucket=bucket, Key="a/ä b.json")):
        assert got["ContentType"] == "application/json"
        assert got["CacheControl"] == "no-cache"
        assert got["ContentDisposition"] == "inline"
        assert got["ContentLanguage"] == "de"
        assert got["ContentEncoding"] == "identity"
        assert got["Metadata"]["colour"] == "blue"
        assert got["ContentLength"] == 2
        assert got["ETag"] == put["ETag"]
        assert abs(got["LastModified"] - datetime.now(timezone.utc)) < timedelta(minutes=5)


def test_a_missing_object_and_a_missing_bucket_have_their_codes(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="nothing")
    assert code(error) == ("NoSuchKey", 404)
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key="nothing")
    assert code(error) == ("404", 404)
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket="no-such-bucket-here", Key="x")
    assert code(error) == ("NoSuchBucket", 404)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="k" * 1025, Body=b"")
    assert code(error) == ("KeyTooLongError", 400)


def test_buckets_are_made_listed_located_and_refused_while_full(s3, bucket):
    assert bucket in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    s3.head_bucket(Bucket=bucket)
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] in (None, "us-east-1")
    s3.put_object(Bucket=bucket, Key="x", Body=b"")
    with pytest.raises(ClientError) as error:
        s3.delete_bucket(Bucket=bucket)
    assert code(error) == ("BucketNotEmpty", 409)


def test_the_transfer_manager_moves_30_mb_in_parts_both_ways(s3, bucket):
    body = random.Random(1).randbytes(30 * MIB + 12345)
    config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", Config=config, ExtraArgs={"Metadata": {"a": "b"}})
    head = s3.head_object(Bucket=bucket, Key="big")
    assert head["ContentLength"] == len(body)
    assert head["ETag"].endswith('-4"')
    assert head["Metadata"]["a"] == "b"
    back = io.BytesIO()
    s3.download_fileobj(bucket, "big", back, Config=config)
    assert hashlib.sha256(back.getvalue()).digest() == hashlib.sha256(body).digest()
    part = s3.get_object(Bucket=bucket, Key="big", PartNumber=2)
    assert part["PartsCount"] == 4
    assert part["Body"].read() == body[8 * MIB : 16 * MIB]
    middle = s3.get_object(Bucket=bucket, Key="big", Range=f"bytes={8 * MIB - 5}-{8 * MIB + 4}")
    assert middle["Body"].read() == body[8 * MIB - 5 : 8 * MIB + 5]


def test_ranges(s3, bucket):
    s3.put_object(Bucket=bucket, Key="x", Body=b"0123456789")
    for asked, expected in (("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-3", b"789"), ("bytes=5-99", b"56789")):
        got = s3.get_object(Bucket=bucket, Key="x", Range=asked)
        assert got["Body"].read() == expected
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert got["ContentRange"].endswith("/10")
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=bucket, Key="x", Range="bytes=10-")
    assert code(error) == ("InvalidRange", 416)


def test_parts_may_come_out_of_order_be_listed_replaced_copied_and_aborted(s3, bucket):
    key = "parts"
    s3.put_object(Bucket=bucket, Key="source", Body=b"s" * (6 * MIB))
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key, ContentType="text/x")["UploadId"]
    place = {"Bucket": bucket, "Key": key, "UploadId": upload}
    last = s3.upload_part(**place, PartNumber=9, Body=b"end")["ETag"]
    s3.upload_part(**place, PartNumber=1, Body=b"wrong")
    first = s3.upload_part(**place, PartNumber=1, Body=b"a" * (5 * MIB))["ETag"]
    copied = s3.upload_part_copy(
        **place, PartNumber=4, CopySource={"Bucket": bucket, "Key": "source"}, CopySourceRange=f"bytes=1-{5 * MIB}"
    )["CopyPartResult"]["ETag"]
    listed = s3.list_parts(**place)
    assert [(p["PartNumber"], p["Size"]) for p in listed["Parts"]] == [(1, 5 * MIB), (4, 5 * MIB), (9, 3)]
    page = s3.list_parts(**place, MaxParts=1)
    assert page["IsTruncated"] and page["NextPartNumberMarker"] == 1
    assert [u["Key"] for u in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == [key]
    named = [{"PartNumber": 1, "ETag": first}, {"PartNumber": 4, "ETag": copied}, {"PartNumber": 9, "ETag": last}]

    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**place, MultipartUpload={"Parts": named[::-1]})
    assert code(error) == ("InvalidPartOrder", 400)
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [{"PartNumber": 2, "ETag": first}]})
    assert code(error) == ("InvalidPart", 400)
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key=key)
    assert code(error)[1] == 404

    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": named})
    s3.delete_object(Bucket=bucket, Key="source")
    got = s3.get_object(Bucket=bucket, Key=key)
    assert got["ContentType"] == "text/x"
    assert got["Body"].read() == b"a" * (5 * MIB) + b"s" * (5 * MIB) + b"end"
    with pytest.raises(ClientError) as error:
        s3.list_parts(**place)
    assert code(error) == ("NoSuchUpload", 404)

    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    place = {"Bucket": bucket, "Key": key, "UploadId": upload}
    small = [{"PartNumber": n, "ETag": s3.upload_part(**place, PartNumber=n, Body=b"x")["ETag"]} for n in (1, 2)]
    with pytest.raises(ClientError) as error:
        s3.complete_multipart_upload(**place, MultipartUpload={"Parts": small})
    assert code(error) == ("EntityTooSmall", 400)
    s3.abort_multipart_upload(**place)
    with pytest.raises(ClientError) as error:
        s3.upload_part(**place, PartNumber=1, Body=b"x")
    assert code(error) == ("NoSuchUpload", 404)


def test_listing_in_pages_with_prefix_and_delimiter(s3, bucket):
    keys = [f"a/{i:03}" for i in range(25)] + [f"b/{i}/x" for i in range(5)] + ["c", "c+ d&<é>", "z"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    for version, token in (("list_objects_v2", "ContinuationToken"), ("list_objects", "Marker")):
        pages = list(s3.get_paginator(version).paginate(Bucket=bucket, PaginationConfig={"PageSize": 7}))
        assert len(pages) == 5
        assert [o["Key"] for page in pages for o in page["Contents"]] == sorted(keys, key=str.encode)
        pages = list(s3.get_paginator(version).paginate(Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 2}))
        assert [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])] == ["a/", "b/"]
        assert [o["Key"] for page in pages for o in page.get("Contents", [])] == ["c", "c+ d&<é>", "z"]
        below = getattr(s3, version)(Bucket=bucket, Prefix="b/", Delimiter="/")
        assert [p["Prefix"] for p in below["CommonPrefixes"]] == [f"b/{i}/" for i in range(5)]
    after = s3.list_objects_v2(Bucket=bucket, StartAfter="c")
    assert [o["Key"] for o in after["Contents"]] == ["c+ d&<é>", "z"]
    assert after["KeyCount"] == 2
    with pytest.raises(ClientError) as error:
        s3.list_objects_v2(Bucket=bucket, ContinuationToken="nonsense")
    assert code(error) == ("InvalidArgument", 400)


def test_presigned_urls_put_and_get_and_expire(s3, bucket):
    place = {"Bucket": bucket, "Key": "signed ü+&.txt"}
    url = s3.generate_presigned_url("put_object", Params=place, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT")) as answer:
        assert answer.status == 200
    url = s3.generate_presigned_url("get_object", Params=place | {"ResponseContentType": "text/x"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"by url"
        assert answer.headers["Content-Type"] == "text/x"
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"))
    assert error.value.code == 403


def test_conditional_reads(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="x", Body=b"1")
    modified = s3.head_object(Bucket=bucket, Key="x")["LastModified"]
    place = {"Bucket": bucket, "Key": "x"}
    assert s3.get_object(**place, IfMatch=put["ETag"])["Body"].read() == b"1"
    assert s3.get_object(**place, IfNoneMatch='"other"')["Body"].read() == b"1"
    for condition in ({"IfNoneMatch": put["ETag"]}, {"IfModifiedSince": modified}):
        with pytest.raises(ClientError) as error:
            s3.get_object(**place, **condition)
        assert code(error)[1] == 304
    for condition in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": modified - timedelta(hours=1)}):
        with pytest.raises(ClientError) as error:
            s3.get_object(**place, **condition)
        assert code(error) == ("PreconditionFailed", 412)


def test_conditional_writes_and_deletes(s3, bucket):
    place = {"Bucket": bucket, "Key": "x"}
    first = s3.put_object(**place, Body=b"1", IfNoneMatch="*")["ETag"]
    with pytest.raises(ClientError) as error:
        s3.put_object(**place, Body=b"2", IfNoneMatch="*")
    assert code(error) == ("PreconditionFailed", 412)
    second = s3.put_object(**place, Body=b"2", IfMatch=first)["ETag"]
    with pytest.raises(ClientError) as error:
        s3.put_object(**place, Body=b"3", IfMatch=first)
    assert code(error) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as error:
        s3.delete_object(**place, IfMatch=first)
    assert code(error) == ("PreconditionFailed", 412)
    s3.delete_object(**place, IfMatch=second)
    s3.delete_object(**place)


def test_many_objects_are_deleted_at_once(s3, bucket):
    keys = [f"k/{i} é&" for i in range(50)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": k} for k in keys + ["never"]]})
    assert [d["Key"] for d in answer["Deleted"]] == keys + ["never"]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_copies_take_or_replace_metadata_and_outlive_their_source(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="from ü", Body=b"body", ContentType="a/b", Metadata={"m": "1"})
    source = {"Bucket": bucket, "Key": "from ü"}
    copied = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == put["ETag"]
    s3.copy_object(
        Bucket=bucket, Key="other", CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"}, ContentType="c/d"
    )
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=bucket, Key="no", CopySource=source, CopySourceIfMatch='"other"')
    assert code(error) == ("PreconditionFailed", 412)
    with pytest.raises(ClientError) as error:
        s3.copy_object(Bucket=bucket, Key="from ü", CopySource=source)
    assert code(error) == ("InvalidRequest", 400)
    s3.delete_object(Bucket=bucket, Key="from ü")
    to, other = s3.get_object(Bucket=bucket, Key="to"), s3.get_object(Bucket=bucket, Key="other")
    assert (to["ContentType"], to["Metadata"]["m"], to["Body"].read()) == ("a/b", "1", b"body")
    assert (other["ContentType"], other["Metadata"]["n"], other["Body"].read()) == ("c/d", "2", b"body")
    assert "m" not in other["Metadata"]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_verified_kept_and_shown(s3, bucket, algorithm):
    body = b"checked " * 1000
    expected = {
        "CRC32": zlib.crc32(body).to_bytes(4, "big"),
        "SHA1": hashlib.sha1(body).digest(),
        "SHA256": hashlib.sha256(body).digest(),
    }[algorithm]
    field = f"Checksum{algorithm}"
    s3.put_object(Bucket=bucket, Key="x", Body=body, ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=bucket, Key="x", ChecksumMode="ENABLED")
    assert head[field] == base64.b64encode(expected).decode()
    shown = s3.get_object_attributes(Bucket=bucket, Key="x", ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
    assert shown["Checksum"][field] == head[field]
    assert shown["ObjectSize"] == len(body)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="y", Body=body + b"!", **{field: head[field]})
    assert code(error)[0] in ("BadDigest", "InvalidRequest")
    with pytest.raises(ClientError) as error:
        s3.head_object(Bucket=bucket, Key="y")
    assert code(error)[1] == 404


def test_an_upload_of_unknown_length_streams_in_signed_chunks(server, bucket):
    s3 = server.boto3(request_checksum_calculation="when_supported")
    body = random.Random(2).randbytes(3 * MIB)
    s3.put_object(Bucket=bucket, Key="stream", Body=io.BytesIO(body), ChecksumAlgorithm="CRC32")
    assert s3.get_object(Bucket=bucket, Key="stream")["Body"].read() == body


def test_an_empty_object_does_not_spoil_the_connection_for_the_next(server, bucket):
    s3 = server.boto3(max_pool_connections=1, read_timeout=10, retries={"max_attempts": 0})
    for round in range(3):
        s3.put_object(Bucket=bucket, Key=f"empty {round}", Body=io.BytesIO(b""))
        s3.put_object(Bucket=bucket, Key=f"full {round}", Body=io.BytesIO(b"x" * 2 * MIB))
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket=bucket, Key=f"full {round}", Body=io.BytesIO(b"y" * 2 * MIB), IfNoneMatch="*")
        assert code(error) == ("PreconditionFailed", 412)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 6


def test_what_is_not_there_says_so(s3, bucket):
    with pytest.raises(ClientError) as error:
        s3.put_bucket_policy(Bucket=bucket, Policy="{}")
    assert code(error) == ("NotImplemented", 501)
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket=bucket, Key="x", Body=b"", Tagging="a=b")
    assert code(error) == ("NotImplemented", 501)


def test_a_wrong_key_is_refused(server, bucket):
    import dataclasses

    stranger = dataclasses.replace(server, access_key="AKSTRANGER").boto3()
    with pytest.raises(ClientError) as error:
        stranger.list_objects_v2(Bucket=bucket)
    assert code(error) == ("InvalidAccessKeyId", 403)
    forger = dataclasses.replace(server, secret_key="wrong").boto3()
    with pytest.raises(ClientError) as error:
        forger.list_objects_v2(Bucket=bucket)
    assert code(error) == ("SignatureDoesNotMatch", 403)
