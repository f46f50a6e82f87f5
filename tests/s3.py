"""A real S3 server on loopback, and one in front of it that fails as networks do."""

import http.client
import logging
import os
import threading
import urllib.request
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "a secret",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


@contextmanager
def server():
    """The address of moto's S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        yield "http://{}:{}".format(*running.get_host_and_port())
    finally:
        running.stop()


def make_bucket(endpoint):
    """A bucket of its own for a test, whose name is returned."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    urllib.request.urlopen(request).close()
    return name


def objects(endpoint, bucket, prefix=""):
    """{name: bytes} of everything in a bucket, read without lefcache."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
    )
    found = {}
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for each in page.get("Contents", ()):
            content = client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
            found[each["Key"].removeprefix(prefix)] = content
    return found


class Faulty:
    """A proxy before an S3 server; `fault(method, path, number)` names what befalls a request.

    `500`: an answer of the proxy; `drop`: the connection ends without one; `lost`: the server does
    what it was asked, but its answer is lost; `torn`: half of an upload is stored and called a
    success; `half`: the answer ends amid its content. None lets it pass.
    """

    def __init__(self, endpoint):
        self.endpoint, self.fault = endpoint, lambda method, path, number: None
        self.requests = []
        self.happened = []
        self._lock = threading.Lock()

    @contextmanager
    def running(self):

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or each body waits 40 ms behind its headers

            def log_message(self, *arguments):
                pass

        def answer(request):
            self.handle(request)

        for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", answer)

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
            listening.daemon_threads = True
            thread = threading.Thread(target=listening.serve_forever, daemon=True)
            thread.start()
            self.address = f"http://127.0.0.1:{listening.server_address[1]}"
            try:
                yield self
            finally:
                listening.shutdown()
                thread.join()

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._lock:
            number = len(self.requests)
            self.requests.append((request.command, request.path.partition("?")[0]))
            fault = self.fault(request.command, request.path, number)
            if fault:
                self.happened.append((fault, request.command, request.path))
        if fault == "drop":
            return self._hang_up(request)
        if fault == "500":
            return self._answer(request, 500, {}, b"")
        if fault == "torn":
            body = body[: len(body) // 2]
        status, headers, content = self._forward(request, body)
        if fault == "lost":
            return self._hang_up(request)
        if fault == "half":
            content = content[: len(content) // 2]
        return self._answer(request, status, headers, content, whole=fault != "half")

    def _forward(self, request, body):
        host = self.endpoint.removeprefix("http://")
        server = http.client.HTTPConnection(host, timeout=30)
        kept = {k: v for k, v in request.headers.items() if k.lower() != "content-length"}
        kept.pop("Host", None), kept.pop("host", None)
        server.request(request.command, request.path, body, {**kept, "Content-Length": len(body)})
        answer = server.getresponse()
        content = answer.read()
        server.close()
        return answer.status, dict(answer.getheaders()), content

    def _answer(self, request, status, headers, content, whole=True):
        request.send_response(status)
        dropped = {"connection", "date", "server", "transfer-encoding"}
        lengths = {k: v for k, v in headers.items() if k.lower() == "content-length"}
        for name, value in headers.items():
            if name.lower() not in dropped and name not in lengths:
                request.send_header(name, value)
        length = str(len(content))
        if lengths and (request.command == "HEAD" or not whole):
            [length] = lengths.values()
        request.send_header("Content-Length", length)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(content)
        if not whole:
            self._hang_up(request)

    def _hang_up(self, request):
        request.close_connection = True
        request.connection.close()


def use(monkeypatch, endpoint):
    """Let a test speak to this endpoint, as a user would set it up."""
    from lefcache.stores.objects import bucket_at

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    bucket_at.cache_clear()
