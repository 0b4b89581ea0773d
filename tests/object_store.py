"""A server that speaks S3, of this process, for whoever keeps files in an object store."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "interlock"


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an empty bucket; the server ends with it."""
    if importlib.util.find_spec("moto") is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have moto: without it nobody has tried an object store")
        pytest.skip("not tried on S3, there is no moto")
    from moto.server import ThreadedMotoServer
    from pyarrow.fs import FileSystem

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "of the tests")
        make, _ = FileSystem.from_uri(f"s3://{BUCKET}?{options}&allow_bucket_creation=true")
        make.create_dir(BUCKET)
        try:
            yield f"s3://{BUCKET}/log?{options}"
        finally:
            server.stop()
