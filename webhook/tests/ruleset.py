"""A pod with its rules and a world beside it: who reaches whom. Run as root in a network namespace of its own.

Prints one line per attempt, `NAME: RESULT`."""

import ctypes, errno, os, signal, socket, subprocess, sys, time

SIDECAR, AGENT, POD, WORLD = 41337, 1000, "10.9.0.2", "10.9.0.1"


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000  # sched.h


def must(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "namespaces")


def enter(namespace):
    must(LIBC.setns(namespace, CLONE_NEWNET))


def run(*words, **options):
    subprocess.run(words, check=True, **options)


def as_uid(uid, attempt):
    """What an attempt returns or raises under a uid of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        try:
            said = attempt()
        except socket.timeout:
            said = "timeout"
        except OSError as error:
            said = errno.errorcode[error.errno]
        except BaseException as error:
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        return answer.read()


def serve(uid, port, word, address="0.0.0.0"):
    """A server under a uid that says a word to whoever connects."""
    child = os.fork()
    if child == 0:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        listener = socket.create_server((address, port), reuse_port=True)
        signal.alarm(20)
        while True:
            connection, _ = listener.accept()
            connection.sendall(word.encode())
            connection.close()
    for _ in range(200):
        if f":{port:04X} 00000000:0000 0A" in open(f"/proc/{child}/net/tcp").read():
            return child
        time.sleep(0.01)
    raise SystemExit(f"nothing listens on {port}")


def dial(address, port):
    def attempt():
        with socket.socket() as connection:
            connection.settimeout(1)
            connection.connect((address, port))
            return connection.recv(64).decode() or "closed"
    return attempt


def send(port):
    def attempt():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            datagram.sendto(b"x", (WORLD, port))
            return "sent"
    return attempt


def in_world(attempt):
    """An attempt from the other side."""
    enter(world)
    try:
        return as_uid(0, attempt)
    finally:
        enter(pod)


pod = os.open("/proc/self/ns/net", os.O_RDONLY)
must(LIBC.unshare(CLONE_NEWNET))
world = os.open("/proc/self/ns/net", os.O_RDONLY)
run("ip", "link", "set", "lo", "up")
run("ip", "link", "add", "w0", "type", "veth", "peer", "name", "eth0")
run("ip", "addr", "add", f"{WORLD}/24", "dev", "w0")
run("ip", "link", "set", "w0", "up")
servers = [serve(0, 443, "world")]
mover = os.fork()
if mover == 0:
    enter(pod)
    time.sleep(20)
    os._exit(0)
for _ in range(200):
    if os.readlink(f"/proc/{mover}/ns/net") != os.readlink("/proc/self/ns/net"):
        break
    time.sleep(0.01)
run("ip", "link", "set", "eth0", "netns", str(mover))
enter(pod)
run("ip", "link", "set", "lo", "up")
run("ip", "addr", "add", f"{POD}/24", "dev", "eth0")
run("ip", "link", "set", "eth0", "up")
run("ip", "route", "add", "default", "via", WORLD)
run("nft", "-f", "-", input=sys.stdin.buffer.read())

try:
    results = [
        ("agent to the world, no sidecar", as_uid(AGENT, dial(WORLD, 443))),
        ("sidecar to the world", as_uid(SIDECAR, dial(WORLD, 443))),
        ("agent by UDP", as_uid(AGENT, send(9))),
        ("sidecar by UDP", as_uid(SIDECAR, send(9))),
    ]
    squatter = serve(AGENT, 15090, "squatter")
    results.append(("world to the metrics, squatted", in_world(dial(POD, 15090))))
    os.kill(squatter, signal.SIGKILL)
    os.waitpid(squatter, 0)
    servers += [
        serve(SIDECAR, 15001, "proxy", "127.0.0.1"),
        serve(SIDECAR, 15021, "health"),
        serve(SIDECAR, 15090, "metrics"),
        serve(AGENT, 8080, "declared"),
        serve(AGENT, 8081, "undeclared"),
    ]
    results += [
        ("agent to the world", as_uid(AGENT, dial("203.0.113.9", 443))),
        ("agent to the listener itself", as_uid(AGENT, dial("127.0.0.1", 15001))),
        ("agent to the metrics by loopback", as_uid(AGENT, dial("127.0.0.1", 15090))),
        ("agent to the metrics by the pod's address", as_uid(AGENT, dial(POD, 15090))),
        ("world to the metrics", in_world(dial(POD, 15090))),
        ("world to the health port", in_world(dial(POD, 15021))),
        ("world to the listener", in_world(dial(POD, 15001))),
        ("world to a declared port", in_world(dial(POD, 8080))),
        ("world to another port", in_world(dial(POD, 8081))),
        ("agent to an agent's port", as_uid(AGENT, dial(POD, 8081))),
        ("sidecar to an agent's port", as_uid(SIDECAR, dial("127.0.0.1", 8080))),
    ]
    for name, said in results:
        print(f"{name}: {said}")
finally:
    for child in servers + [mover]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
