"""The `aws` command line."""

import filecmp
import os
import random
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def aws(server):
    def run(*arguments: str) -> str:
        done = subprocess.run(
            ["aws", "--endpoint-url", server.endpoint, *arguments],
            env=server.environment(), capture_output=True, text=True, timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def tree(tmp_path) -> Path:
    """Files of many shapes: nested, empty, spaces, umlauts, and one that is uploaded in parts."""
    root = tmp_path / "tree"
    bytes_of = random.Random(3).randbytes
    for name, size in {
        "a.txt": 5, "empty": 0, "dir/with space.bin": 1000, "dir/deeper/ü&+.bin": 70_000, "big.bin": 20_000_000,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes_of(size))
    return root


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_sync_brings_a_tree_there_and_back(aws, bucket, tree, tmp_path):
    back = tmp_path / "back"
    aws("s3", "sync", str(tree), f"s3://{bucket}/tree")
    aws("s3", "sync", f"s3://{bucket}/tree", str(back))
    assert files(back) == files(tree)
    assert filecmp.cmpfiles(tree, back, files(tree), shallow=False)[0] == files(tree)


def test_sync_moves_only_what_changed_and_deletes_what_is_gone(aws, bucket, tree):
    target = f"s3://{bucket}/tree"
    aws("s3", "sync", str(tree), target)
    assert aws("s3", "sync", str(tree), target) == ""
    (tree / "a.txt").write_text("changed content")
    (tree / "empty").unlink()
    os.utime(tree / "a.txt")
    out = aws("s3", "sync", "--delete", "--no-progress", str(tree), target)
    assert sorted(line.split(":")[0] for line in out.splitlines()) == ["delete", "upload"]


def test_cp_mv_ls_and_rm(aws, bucket, tree):
    aws("s3", "cp", str(tree / "big.bin"), f"s3://{bucket}/big.bin")
    aws("s3", "cp", f"s3://{bucket}/big.bin", f"s3://{bucket}/copy/big.bin")
    aws("s3", "mv", f"s3://{bucket}/copy/big.bin", f"s3://{bucket}/moved.bin")
    listed = aws("s3", "ls", f"s3://{bucket}", "--recursive")
    assert [line.split()[2:] for line in listed.splitlines()] == [["20000000", "big.bin"], ["20000000", "moved.bin"]]
    aws("s3", "rm", f"s3://{bucket}", "--recursive")
    assert aws("s3", "ls", f"s3://{bucket}/", "--summarize").split() == ["Total", "Objects:", "0", "Total", "Size:", "0"]


def test_s3api_put_and_head(aws, bucket, tree):
    aws("s3api", "put-object", "--bucket", bucket, "--key", "k", "--body", str(tree / "a.txt"), "--metadata", "a=b")
    assert '"a": "b"' in aws("s3api", "head-object", "--bucket", bucket, "--key", "k")
