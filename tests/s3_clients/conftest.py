"""What the client tests share: the server that the environment names, and a bucket for each test."""

import os
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config


@dataclass(frozen=True)
class Server:
    """An S3 server and a key that may do everything there."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).netloc

    @property
    def tls(self) -> bool:
        return self.endpoint.startswith("https:")

    def boto3(self, **config):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", **config),
        )

    def environment(self, **more) -> dict:
        """The environment of a program that reads AWS's variables and must not see this user's settings."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return kept | {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
            "AWS_EC2_METADATA_DISABLED": "true",
            **more,
        }


@pytest.fixture(scope="session")
def server() -> Server:
    return Server(
        os.environ["CATCHMENT_TEST_S3_ENDPOINT"].rstrip("/"),
        os.environ["CATCHMENT_TEST_S3_ACCESS_KEY"],
        os.environ["CATCHMENT_TEST_S3_SECRET_KEY"],
    )


@pytest.fixture
def s3(server):
    return server.boto3()


@pytest.fixture
def bucket(s3):
    """An empty bucket; it goes with all that a test leaves in it."""
    name = f"clients-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    for upload in s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
        if page.get("Contents"):
            s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": o["Key"]} for o in page["Contents"]]})
    s3.delete_bucket(Bucket=name)
