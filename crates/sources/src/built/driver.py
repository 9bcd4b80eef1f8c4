"""Builds one wheel (PEP 517), beside $HOME.

Standard input: a line of JSON, the source as a tar, later a line "go"; its end is the order to die at once. Standard
output: a line of JSON with what the backend wants, then one with the wheel's name and length, then the wheel.
"""
import importlib, io, json, os, queue, signal, sys, tarfile, threading

answers = os.fdopen(os.dup(1), "wb")
orders = os.fdopen(os.dup(0), "rb")
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.dup2(2, 1)  # what backends print is no answer


class Part(io.RawIOBase):
    def __init__(self, left):
        self.left = left

    def readable(self):
        return True

    def readinto(self, buffer):
        data = orders.read(min(len(buffer), self.left))
        self.left -= len(data)
        buffer[: len(data)] = data
        return len(data)


def answer(value):
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


request = json.loads(orders.readline())
place = os.path.dirname(os.environ["HOME"])
source = os.path.join(place, "source")
output = os.path.join(place, "wheel")
for directory in (source, output, os.environ["HOME"]):
    os.makedirs(directory)
part = Part(request["bytes"])
with tarfile.open(fileobj=part, mode="r|gz") as tar:
    tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
    tar.extractall(source)
while part.readinto(bytearray(65536)):
    pass
lines = queue.Queue()
sending = False


def listen():
    for line in orders:
        lines.put(line)
    # Who has the whole wheel closes its end, maybe before this program has ended; it counts the bytes.
    if sending:
        os._exit(0)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with the compilers; without effect on the first process of a container
    os._exit(70)


threading.Thread(target=listen, daemon=True).start()
os.environ.update(request["environment"])
os.chdir(os.path.join(source, request["directory"]))
for path in reversed(request["backendPath"]):
    sys.path.insert(0, os.path.abspath(path))
module, _, attributes = request["backend"].partition(":")
if not request["backendPath"]:
    sys.path[:] = [path for path in sys.path if path]
backend = importlib.import_module(module)
for attribute in filter(None, attributes.split(".")):
    backend = getattr(backend, attribute)
wanted = getattr(backend, "get_requires_for_build_wheel", lambda settings: [])(None)
answer({"requires": list(wanted)})
if lines.get() != b"go\n":
    os._exit(71)
name = backend.build_wheel(output, None)
path = os.path.join(output, name)
sending = True
answer({"wheel": name, "bytes": os.path.getsize(path)})
with open(path, "rb") as wheel:
    while chunk := wheel.read(1 << 20):
        answers.write(chunk)
answers.flush()
os._exit(0)
