#!/usr/bin/env python3
"""Mutated regression requests of CRS, id for id against libmodsecurity.

    differential.py SHARED COUNT SEED OURS... -- ORACLE...

SHARED holds crs4/ (tests and crs_runner.py); OURS and ORACLE are commands that speak the
framing of crs_runner.py: `crs_stdio all.conf` and crs4/oracle.c with the same rules. Prints
how many requests differ and by which rules, with an example of each in ./differences/.
"""
import collections, json, os, random, subprocess, sys

TOKENS = [b"%00", b"'", b'"', b"<", b">", b"%27", b"%3c", b"+", b"\\", b"/*", b"*/", b"--", b";", b"&#x3c;", b"%u003c",
          b"\xc3\xa9", b"\xff", b"..", b"/", b"%", b"%2", b"=", b"&", b"(", b")", b"|", b"`", b"$", b"{", b"}", b"\r\n", b"\t"]


def mutate(rng, raw):
    """One to four changes; the head keeps its form, the framing headers keep their values."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    for _ in range(rng.randint(1, 4)):
        where = rng.random()
        if where < 0.4:
            method, _, rest = lines[0].partition(b" ")
            target, _, version = rest.rpartition(b" ")
            lines[0] = method + b" " + change(rng, target).replace(b" ", b"%20").replace(b"\r\n", b"") + b" " + version
        elif where < 0.6 and len(lines) > 1:
            i = rng.randrange(1, len(lines))
            name, _, value = lines[i].partition(b":")
            if name.lower() not in (b"content-length", b"transfer-encoding"):
                lines[i] = name + b":" + change(rng, value).replace(b"\r\n", b"").replace(b"\n", b"")
        elif body:
            body = change(rng, body)
    lines = [b"Content-Length: %d" % len(body) if l.lower().startswith(b"content-length:") and b"chunked" not in head else l for l in lines]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def change(rng, b):
    i = rng.randrange(len(b) + 1)
    j = min(len(b), i + rng.randint(0, 6))
    kind = rng.randrange(5)
    if kind == 0:
        return b[:i] + rng.choice(TOKENS) + b[i:]
    if kind == 1:
        return b[:i] + b[j:]
    if kind == 2:
        return b[:i] + b[i:j].swapcase() + b[j:]
    if kind == 3:
        return b[:i] + b"".join(b"%%%02x" % c for c in b[i:j]) + b[j:]
    return b[:i] + b[i:j] * 2 + b[j:]


class Engine:
    def __init__(self, command):
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ids(self, raw, response):
        self.p.stdin.write(b"%d %d\n" % (len(raw), len(response)) + raw + response)
        self.p.stdin.flush()
        return set(json.loads(self.p.stdout.readline())["ids"])


def main():
    shared, count, seed, *rest = sys.argv[1:]
    cut = rest.index("--")
    sys.path.insert(0, os.path.join(shared, "crs4"))
    import crs_runner
    rng = random.Random(int(seed))
    raws = [crs_runner.build(t[3]) for t in crs_runner.load(os.path.join(shared, "crs4", "tests"), None)]
    ours, oracle = Engine(rest[:cut]), Engine(rest[cut + 1:])
    more, less = collections.Counter(), collections.Counter()
    differ = 0
    os.makedirs("differences", exist_ok=True)
    for n in range(int(count)):
        raw = mutate(rng, rng.choice(raws))
        response = crs_runner.reflect(raw)
        a, b = ours.ids(raw, response) - {980170, 949110}, oracle.ids(raw, response) - {980170, 949110}
        differ += a != b
        for counter, sign, ids in ((more, "+", a - b), (less, "-", b - a)):
            for i in ids:
                if counter[i] < 3:
                    open(f"differences/{sign}{i}.{counter[i]}", "wb").write(raw)
                counter[i] += 1
    print(f"{count} requests, {differ} differ")
    print("only ours:", more.most_common())
    print("only the oracle's:", less.most_common())
    for line in open(f"/proc/{ours.p.pid}/status"):
        if line.startswith("VmRSS"):
            print("ours,", line.strip())


main()
