#!/usr/bin/env python3
"""A skopeo that reads the OCI layout beside it, and whose image proxy can be told to misbehave.

`fake.json` beside it: `layout`; `version` of the protocol; `fault`; `docker` (the manifest is Docker's) and `unpacked` (the layers are
stored as plain tars) are what it reads. `fake.log` has a line for each thing that it was asked for, with the bytes that it sent.
"""
import gzip, hashlib, itertools, json, os, pathlib, socket, sys, threading, time

here = pathlib.Path(__file__).parent
told = json.loads((here / "fake.json").read_text())
layout, fault = pathlib.Path(told["layout"]), told.get("fault")


def log(*words):
    with open(here / "fake.log", "a") as file:
        print(*words, file=file)


def blob(digest):
    return (layout / "blobs/sha256" / digest.split(":")[1]).read_bytes()


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


own = blob(told["manifest"])
manifest = json.loads(own)
plain = {digest_of(tar): tar for tar in (gzip.decompress(blob(layer["digest"])) for layer in manifest["layers"])}

if "experimental-image-proxy" not in sys.argv:
    log(*[word for word in sys.argv[1:] if word in ("inspect", "copy")])
    if "inspect" in sys.argv:
        if fault == "other manifest":
            own = b'{"schemaVersion": 2, "manifests": []}'
        sys.stdout.buffer.write(own)
        sys.exit()
    # As skopeo copies: a directory with every blob, and what is stored unpacked has another manifest there.
    to = pathlib.Path(sys.argv[-1].removeprefix("dir:"))
    (to / "version").write_text("Directory Transport Version: 1.1\n")
    if told.get("unpacked"):
        media_type = "application/vnd.oci.image.layer.v1.tar"
        manifest["layers"] = [{"mediaType": media_type, "digest": d, "size": len(tar)} for d, tar in plain.items()]
        own = json.dumps(manifest).encode()
    (to / "manifest.json").write_bytes(own)
    for entry in [manifest["config"], *manifest["layers"]]:
        data = plain.get(entry["digest"]) or blob(entry["digest"])
        log("copied", len(data))
        (to / entry["digest"].split(":")[1]).write_bytes(data)
    sys.exit()

if fault == "no proxy":
    sys.exit('Error: unknown command "experimental-image-proxy" for "skopeo"')
server = socket.socket(fileno=0)
pipes = {}


def pieces(data, slow):
    for at in range(0, len(data), 1 if slow else 1 << 16):
        yield data[at : at + (1 if slow else 1 << 16)]
        time.sleep(0.05 if slow else 0)


def pipe(data, slow=False):
    """A pipe's end for reading; `FinishPipe` waits until everything is in it."""
    return pipe_of(pieces(data, slow))


def endless():
    """A pipe that is never empty and never at its end."""
    return pipe_of(itertools.repeat(bytes(1 << 16)))


def pipe_of(chunks):
    reader, writer = os.pipe()

    def write():
        try:
            for chunk in chunks:
                os.write(writer, chunk)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    pipes[reader] = (thread, writer)
    return reader


def ask(method, args):
    """The value, and the pipe if there is one."""
    if fault == "hangs at " + method:
        time.sleep(1000)
    if fault == "dies at " + method:
        sys.exit("fake: it dies")
    if method == "Initialize":
        return told["version"], None
    if method == "OpenImage":
        if fault == "policy":
            raise ValueError(f"Running image {args[0]} is rejected by policy.")
        return 1, None
    if method == "GetManifest":
        form = own
        if told.get("docker"):
            form = json.dumps({**manifest, "mediaType": "application/vnd.oci.image.manifest.v1+json"}).encode()
        if fault == "wrong manifest":
            form = form.replace(b"schemaVersion", b"schemaversion")
        return digest_of(own), pipe(form)
    if method in ("GetLayerInfo", "GetLayerInfoPiped"):
        media_type = "application/vnd.oci.image.layer.v1.tar"
        stored = [{"digest": d, "size": len(tar), "media_type": media_type} for d, tar in plain.items()]
        named = [{"digest": e["digest"], "size": e["size"], "media_type": e["mediaType"]} for e in manifest["layers"]]
        found = stored if told.get("unpacked") else named
        if fault == "one layer less":
            found = found[1:]
        return (None, pipe(json.dumps(found).encode())) if method.endswith("Piped") else (found, None)
    if method in ("GetBlob", "GetRawBlob"):
        data = plain.get(args[1]) or blob(args[1])
        is_layer = args[1] != manifest["config"]["digest"]
        log("layer" if is_layer else "config", len(data))
        if is_layer and fault == "short":
            data = data[:-1]
        if is_layer and fault == "long":
            data = data + b"x"
        if is_layer and fault == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if is_layer and fault == "endless":
            return len(data), endless()
        return len(data), pipe(data, slow=is_layer and fault == "slow")
    if method == "FinishPipe":
        thread, writer = pipes.pop(args[0])
        thread.join()
        os.close(writer)
        return None, None
    return None, None


while data := server.recv(32 << 10):
    request = json.loads(data)
    try:
        value, reader = ask(request["method"], request["args"])
        reply = {"success": True, "error": "", "value": value, "pipeid": reader or 0}
    except ValueError as error:
        reader, reply = None, {"success": False, "error": str(error), "value": None, "pipeid": 0}
    ends = [reader] if reader is not None else []
    if reader is not None and request["method"] == "GetRawBlob":
        # This one has no FinishPipe: its end is the data's, and a second pipe says what went wrong.
        errors, no_errors = os.pipe()
        os.close(no_errors)
        ends, reply["pipeid"] = [reader, errors], 0

        def end(reader=reader):
            thread, writer = pipes.pop(reader)
            thread.join()
            os.close(writer)

        threading.Thread(target=end, daemon=True).start()
    socket.send_fds(server, [json.dumps(reply).encode()], ends)
    if request["method"] == "Shutdown":
        break
