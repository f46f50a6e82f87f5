"""A stand-in for the hub: what huggingface_hub asks of it, over HTTP on this machine."""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_of_the_tests"
PAGE = 50  # entries in one answer of a listing
REPO = r"/(?P<repo>[^/]+/[^/]+?)"


@dataclass
class Repo:
    private: bool
    commits: list = field(default_factory=list)  # (hash, message, {path: bytes})

    @property
    def files(self):
        return self.commits[-1][2] if self.commits else {}

    def commit(self, message, files):
        content = repr((len(self.commits), sorted(files.items()))).encode()
        self.commits.append((hashlib.sha1(content).hexdigest(), message, dict(files)))
        return self.commits[-1][0]

    def at(self, revision):
        for commit in self.commits:
            if commit[0] == revision:
                return commit
        return self.commits[-1] if revision == "main" else None


class StandIn(ThreadingHTTPServer):
    """The hub with no more than one user.

    `fault(method, path)` may answer in its place: status, content, bytes to cut it at, headers.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.forget()

    def forget(self):
        self.repos, self.blobs, self.seen = {}, {}, []
        self.fault = lambda method, path: None
        self.extra = []  # entries that listings have besides

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, pattern):
        return sum(bool(re.search(pattern, request)) for request in self.seen)


def is_large(content):
    return b"\0" in content or len(content) > 1 << 20


def git_hash(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each body waits 40 ms behind its headers

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.route(self.command)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815  what the standard library calls

    def route(self, method):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self.read_chunks()
        where = urlsplit(self.path)
        self.query, path = parse_qs(where.query), unquote(where.path)
        with self.server.lock:
            self.server.seen.append(f"{method} {path}")
        if answer := self.server.fault(method, path):
            return self.answer(*answer[:3], **(answer[3] if len(answer) > 3 else {}))
        for wanted, pattern, act in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in wanted.split():
                found = match.groupdict()
                if "repo" not in found:
                    return act(self, **found)
                repo = self.server.repos.get(found["repo"])
                if repo is None or (repo.private and not self.known()):
                    return self.refuse(401 if not self.known() else 404, "RepoNotFound")
                return act(self, **(found | {"repo": repo}))
        return self.answer(404, b"no such route")

    def read_chunks(self):
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def known(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def refuse(self, status, code="", message="", **headers):
        headers |= {"X-Error-Code": code, "X-Error-Message": message}
        return self.answer(status, b"{}", **{name: text for name, text in headers.items() if text})

    def answer(self, status, content=b"", cut=None, **headers):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), str(text))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True

    # What there is to ask

    def whoami(self):
        if not self.known():
            return self.refuse(401, message="Invalid credentials in Authorization header")
        return self.answer(200, {"name": "owner", "type": "user"})

    def create(self):
        wanted = json.loads(self.body)
        name = f"{wanted.get('organization') or 'owner'}/{wanted['name']}"
        assert wanted.get("type", "model") in ("model", "dataset")
        if not self.known():
            return self.refuse(401, message="Invalid credentials in Authorization header")
        if not name.startswith("owner/"):
            return self.refuse(403, message="You don't have the rights")
        with self.server.lock:
            if name in self.server.repos:
                return self.answer(409, {"url": f"{self.server.url}/{name}"})
            repo = self.server.repos[name] = Repo(wanted.get("visibility") == "private")
            repo.commit("initial commit", {".gitattributes": b"*.bin filter=lfs\n"})
        return self.answer(200, {"url": f"{self.server.url}/datasets/{name}"})

    def validate(self):
        text = json.loads(self.body)["content"]
        yaml.safe_load(text.split("---\n")[1])
        return self.answer(200, {"errors": [], "warnings": []})

    def info(self, repo, revision="main"):
        commit = repo.at(revision)
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        card = commit[2].get("README.md", b"").decode()
        data = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---\n") else None
        found = {"id": "owner/x", "sha": commit[0], "private": repo.private, "cardData": data}
        return self.answer(200, found)

    def tree(self, repo, revision):
        files = repo.at(revision)[2]
        folders = {path[: at.start()] for path in files for at in re.finditer("/", path)}
        entries = [{"type": "directory", "oid": "0" * 40, "path": path} for path in folders]
        entries += [entry(path, content) for path, content in files.items()]
        entries += self.server.extra
        start = int(self.query.get("cursor", ["0"])[0])
        more = {}
        if start + PAGE < len(entries):
            here = self.path.partition("?")[0]
            more["Link"] = (
                f'<{self.server.url}{here}?recursive=True&cursor={start + PAGE}>; rel="next"'
            )
        return self.answer(200, entries[start : start + PAGE], **more)

    def preupload(self, repo, revision):
        asked = json.loads(self.body)["files"]
        modes = [
            "lfs" if is_large(base64.b64decode(each["sample"])) else "regular" for each in asked
        ]
        files = [
            {"path": each["path"], "uploadMode": mode, "shouldIgnore": False}
            for each, mode in zip(asked, modes, strict=True)
        ]
        return self.answer(200, {"files": files})

    def batch(self, repo):
        if not self.known():
            return self.refuse(401, message="Invalid credentials in Authorization header")
        objects = []
        for each in json.loads(self.body)["objects"]:
            if each["oid"] not in self.server.blobs:
                place = {"href": f"{self.server.url}/lfs/{each['oid']}"}
                check = {"href": f"{self.server.url}/lfs-verify"}
                each["actions"] = {"upload": place, "verify": check}
            objects.append(each)
        return self.answer(200, {"objects": objects, "transfer": "basic"})

    def put(self, oid):
        assert sha256(self.body) == oid
        self.server.blobs[oid] = self.body
        return self.answer(200)

    def verify(self):
        asked = json.loads(self.body)
        whole = len(self.server.blobs.get(asked["oid"], b"")) == asked["size"]
        return self.answer(200 if whole else 404)

    def commit(self, repo, revision):
        if not self.known():
            return self.refuse(401, message="Invalid credentials in Authorization header")
        head, *lines = [json.loads(line) for line in self.body.splitlines()]
        parent, files = head["value"].get("parentCommit"), dict(repo.files)
        if parent and parent != repo.commits[-1][0]:
            return self.refuse(412)
        for line in lines:
            value = line["value"]
            if line["key"] == "deletedFile":
                del files[value["path"]]
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        made = repo.commit(head["value"]["summary"], files)
        url = f"{self.server.url}/datasets/owner/x/commit/{made}"
        return self.answer(200, {"commitUrl": url, "commitOid": made, "pullRequestUrl": None})

    def resolve(self, repo, revision, path):
        if repo.at(revision) is None:
            return self.refuse(404, "RevisionNotFound")
        commit, _, files = repo.at(revision)
        if path not in files:
            return self.refuse(404, "EntryNotFound", X_Repo_Commit=commit)
        content = files[path]
        if is_large(content):
            found = {"X_Linked_Etag": f'"{sha256(content)}"', "X_Linked_Size": len(content)}
            port = self.server.server_address[1]
            place = f"http://localhost:{port}/cdn/{sha256(content)}"  # of another name, as a CDN is
            self.server.blobs.setdefault(sha256(content), content)
            return self.answer(302, X_Repo_Commit=commit, Location=place, **found)
        etag = f'"{git_hash(content)}"'
        return self.send(content, X_Repo_Commit=commit, ETag=etag)

    def cdn(self, oid):
        return self.send(self.server.blobs[oid])

    def send(self, content, **headers):
        if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, whole = int(found[1]), len(content)
            span = f"bytes {start}-{whole - 1}/{whole}"
            return self.answer(206, content[start:], Content_Range=span, **headers)
        return self.answer(200, content, **headers)


def entry(path, content):
    found = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if is_large(content):
        found["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
    return found


API = f"/api/(?:datasets|models){REPO}"
ROUTES = [
    ("GET", "/api/whoami-v2", Handler.whoami),
    ("POST", "/api/repos/create", Handler.create),
    ("POST", "/api/validate-yaml", Handler.validate),
    ("GET", API, Handler.info),
    ("GET", f"{API}/revision/(?P<revision>.+)", Handler.info),
    ("GET", f"{API}/tree/(?P<revision>[^/]+)", Handler.tree),
    ("POST", f"{API}/preupload/(?P<revision>.+)", Handler.preupload),
    ("POST", f"{API}/commit/(?P<revision>.+)", Handler.commit),
    ("POST", rf"(?:/datasets)?{REPO}\.git/info/lfs/objects/batch", Handler.batch),
    ("PUT", "/lfs/(?P<oid>[0-9a-f]+)", Handler.put),
    ("POST", "/lfs-verify", Handler.verify),
    ("GET", "/cdn/(?P<oid>[0-9a-f]+)", Handler.cdn),
    ("HEAD GET", f"(?:/datasets)?{REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler.resolve),
]
