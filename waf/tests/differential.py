#!/usr/bin/env python3
"""Mutated regression requests of CRS, id for id against libmodsecurity.

    differential.py SHARED COUNT SEED OURS ORACLE

SHARED holds crs4/ (rules, tests and crs_runner.py); OURS is the example crs_stdio, ORACLE is
crs4/oracle.c, built. Both load the stock modsecurity.conf and the same rules.

A difference is explained if it is gone once its cause is taken out of the request (a class below
tells the cause and how), or if ours gives the oracle's ids with REQUEST_BODY as it has it.
Prints how many requests differ by which cause, and shows those that nothing explains; any of
them makes it exit with 1. docs/decisions/0004 says why each cause is as it is.
"""
import collections, glob, html, itertools, json, os, random, re, subprocess, sys, tempfile, urllib.parse

STOCK = "/etc/nginx/modsecurity.conf"
# They sum up the scores of all others.
SUMS = {949110, 959100, 980170}
SHOWN = 20

TOKENS = [b"%00", b"'", b'"', b"<", b">", b"%27", b"%3c", b"+", b"\\", b"/*", b"*/", b"--", b";", b"&#x3c;", b"%u003c",
          b"\xc3\xa9", b"\xff", b"..", b"/", b"%", b"%2", b"=", b"&", b"(", b")", b"|", b"`", b"$", b"{", b"}", b"\r\n", b"\t"]


# --- Requests ---------------------------------------------------------------------------------

class Request:
    """A raw request, taken apart."""

    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *self.headers = head.split(b"\r\n")
        self.method, _, rest = line.partition(b" ")
        self.target, _, self.version = rest.rpartition(b" ")

    def raw(self):
        length = b"Content-Length: %d" % len(self.body)
        is_length = lambda line: line.lower().startswith(b"content-length:") and not self.chunked()
        headers = [length if is_length(line) else line for line in self.headers]
        return b"\r\n".join([b" ".join([self.method, self.target, self.version]), *headers]) + b"\r\n\r\n" + self.body

    def values(self, name):
        pairs = (line.partition(b":") for line in self.headers)
        return [value.strip() for n, _, value in pairs if n.lower() == name]

    def chunked(self):
        return any(b"chunked" in value for value in self.values(b"transfer-encoding"))

    def kind(self):
        """What takes the body apart."""
        kind = (self.values(b"content-type") or [b""])[-1].lower()
        if kind.startswith(b"multipart/form-data"):
            return "multipart"
        # As its media type says, or as the stock configuration guesses.
        if re.match(rb"(application|text)/([^;]*\+)?xml *(;|$)|application/(soap\+)?xml|text/xml", kind):
            return "xml"
        return None


def mutate(rng, raw):
    """One to four changes; the head keeps its form, framing keeps its values."""
    request = Request(raw)
    for _ in range(rng.randint(1, 4)):
        where = rng.random()
        if where < 0.4:
            target = change(rng, request.target).replace(b" ", b"%20").replace(b"\r\n", b"")
            request.target = target or b"/"
        elif where < 0.6 and request.headers:
            i = rng.randrange(len(request.headers))
            name, _, value = request.headers[i].partition(b":")
            if name.lower() not in (b"content-length", b"transfer-encoding"):
                request.headers[i] = name + b":" + change(rng, value).replace(b"\r\n", b"").replace(b"\n", b"")
        elif request.body and not request.chunked():
            request.body = change(rng, request.body)
    return request.raw()


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


# --- Causes -----------------------------------------------------------------------------------

# Each is a function of the request and both sets of ids (of ours also what it finds in the whole
# body) that takes its cause out of the request and returns True, or returns False because it is
# not there.

def fragment(request, ours, theirs):
    """`#` and what follows is part of the target here, dropped there"""
    request.target, found, _ = request.target.partition(b"#")
    return bool(found)


def escaped_question_mark(request, ours, theirs):
    """the decoded path ends at `%3f` there"""
    path, mark, query = request.target.partition(b"?")
    request.target = re.sub(rb"(?i)%3f", b"_", path) + mark + query
    return path + mark + query != request.target


def no_body(request, ours, theirs):
    """an XML or multipart body that is not there is malformed there, nothing here"""
    request.headers = [line for line in request.headers if not line.lower().startswith(b"content-type:")]
    return not request.body and request.kind() is None


def malformed_body(request, ours, theirs):
    """of a body that both find malformed, the parts before the fault are looked at here only"""
    kind = request.kind()
    request.body = {"xml": b"<", "multipart": b"--"}.get(kind, request.body)
    return kind is not None and 200002 in ours & theirs and theirs <= ours


def open_quote(request, ours, theirs):
    """a quote that nothing closes is a fault of a part here, read on behind the header there"""
    whole, request.body = request.body, re.sub(rb'(name="[^"\r\n]*)(?=\r?\n)', rb'\1"', request.body)
    return request.kind() == "multipart" and whole != request.body


def ambiguous_parts(request, ours, theirs):
    """a multipart body that back ends cut otherwise is malformed here, flagged there"""
    if request.kind() != "multipart" or 200002 not in ours - theirs or not theirs <= ours:
        return False
    request.body = b"--"
    return True


def bare_cr(request, ours, theirs):
    """a bare CR in a part's header is a fault here, a part of its value there"""
    whole, request.body = request.body, re.sub(rb"\r(?!\n)", b"", request.body)
    return request.kind() == "multipart" and whole != request.body


def line_endings(request, ours, theirs):
    """two kinds of line endings in multipart are malformed here, flagged there"""
    whole, request.body = request.body, re.sub(rb"\r?\n", b"\r\n", request.body)
    return request.kind() == "multipart" and whole != request.body


def line_breaks(request, ours, theirs):
    """the line breaks of a multipart value are lost there"""
    boundary = re.search(rb"(?i)boundary=\"?([^\";\s]+)", b"\n".join(request.values(b"content-type")))
    if request.kind() != "multipart" or not boundary:
        return False
    line = b"\r\n--" + boundary[1]
    heads = (part.partition(b"\r\n\r\n") for part in request.body.split(line))
    # The last part ends with a line break that is no value's.
    whole, request.body = request.body, line.join(
        head + gap + re.sub(rb"\r\n(?!$)", b"", value) for head, gap, value in heads)
    return whole != request.body


def encoding(request, ours, theirs):
    """an encoding that is not known is malformed here, passed over there"""
    known = rb"(?:utf-8|utf-16|us-ascii|iso-8859-1|windows-1252)[\"']"
    whole, request.body = request.body, re.sub(
        rb"(?i)(<\?xml[^>]*? encoding=[\"'])(?!%s)[A-Za-z][\w.-]*" % known, rb"\1UTF-8", request.body, count=1)
    return request.kind() == "xml" and whole != request.body


def document_type(request, ours, theirs):
    """a document type that says more than a name is malformed here, skipped there"""
    whole, request.body = request.body, re.sub(rb"<!DOCTYPE\s*([^\s>\[]+)[^>\[]*(?:\[[^\]]*\]\s*)?>", rb"<!DOCTYPE \1>", request.body, count=1)
    return request.kind() == "xml" and whole != request.body


def nul(request, ours, theirs):
    """a NUL that an escape stands for ends the value in some transformations there"""
    whole = request.raw()
    without = lambda text: re.sub(rb"%00|\\0+(?![0-9a-fA-F])", b"", text)
    request.target, request.body = without(request.target), without(request.body)
    request.headers = [without(line) for line in request.headers]
    return whole != request.raw()


CAUSES = [fragment, escaped_question_mark, no_body, malformed_body, ambiguous_parts, bare_cr, line_endings, open_quote, line_breaks, encoding, document_type, nul]

# Causes that cannot be taken out of a request are recognised by what differs and why it must.

WHOLE_BODY = "REQUEST_BODY is set for XML and multipart there"
REPEATED_CHAIN = "the chain of 942131 is tried again there, behind multiMatch, with captures emptied"
STALE_MATCHES = "MATCHED_VARS keeps what a rule before matched there"
MISSED_PHRASE = "a phrase that begins within the beginning of another is missed there"


def decoded(request):
    """As arguments are, and then by `t:urlDecodeUni`; or as XML is."""
    text = request.target + b"\n" + request.body
    for _ in range(2):
        text = re.sub(rb"(?i)%u00([0-9a-f]{2})", rb"%\1", text.replace(b"+", b" "))
        text = urllib.parse.unquote_to_bytes(text)
    return html.unescape(text.decode("latin-1")).encode("latin-1", "replace")


def is_repeated_chain(request, less):
    """942131 compares two words with an operator between and is chained to their being different."""
    same = rb"(?i)\b(\w+)\b[\s\x0b\"'-)`]*(?:![<->]|[<>]=?|<>|\^|is\s+not|not\s+(?:like|r(?:like|egexp)))[\s\x0b\"'-)`]*\b\1\b"
    return less == {942131} and re.search(same, decoded(request)) is not None


def phrases(crs):
    """The phrases of each rule that has them in a file, in lower case."""
    found = {}
    for path in glob.glob(os.path.join(crs, "rules", "*.conf")):
        rules = open(path, encoding="utf-8").read()
        for name, rule in re.findall(r'"@pmFromFile ([^"\s]+)" *\\\n *"id:(\d+)', rules):
            lines = open(os.path.join(crs, "rules", name), "rb").read().lower().splitlines()
            found[int(rule)] = [line.strip() for line in lines if line.strip() and line[:1] != b"#"]
    return found


def is_missed_phrase(request, more, phrases):
    """Rules of phrases alone, each with one in the request that another's beginning leads into."""
    plain = decoded(request).lower()
    # Some rules look at paths as Windows reads them.
    texts = plain, plain.replace(b"\\", b"/")

    def is_led_into(phrase, others):
        for text in texts:
            at = text.find(phrase)
            if at > 0 and any(
                text[at - k:at + 1] == other[:k + 1] for other in others for k in range(1, min(at, len(other) - 1) + 1)):
                return True
        return False

    return all(any(is_led_into(p, phrases[rule]) for p in phrases.get(rule, [])) for rule in more)


def forgetting(crs, folder):
    """A copy of the rules that forgets what matched before each rule that is chained to MATCHED_VARS."""
    count = 700000
    for path in glob.glob(os.path.join(crs, "rules", "*")):
        name = os.path.join(folder, os.path.basename(path))
        if not path.endswith(".conf"):
            os.symlink(path, name)
            continue
        lines, first = [], 0
        for line in open(path, encoding="utf-8"):
            if line.startswith("SecRule "):
                first = len(lines)
            if re.match(r"\s+SecRule MATCHED_VARS", line):
                count += 1
                lines.insert(first, f'SecRule REQUEST_METHOD "@unconditionalMatch" "id:{count},phase:2,nolog,pass,t:none,chain"\nSecRule REQUEST_METHOD "@noMatch" "t:none"\n')
            lines.append(line)
        open(name, "w", encoding="utf-8").writelines(lines)


# --- Engines ----------------------------------------------------------------------------------

class Engine:
    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ids(self, raw, response):
        self.process.stdin.write(b"%d %d\n" % (len(raw), len(response)) + raw + response)
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"an engine ended with {self.process.wait()} on {raw!r}")
        return set(json.loads(line)["ids"]) - SUMS


class Engines:
    def __init__(self, ours, oracle, crs, folder, reflect):
        files = [STOCK, f"{crs}/crs-setup.conf.example", f"{crs}/regression.conf", f"{crs}/rules/*.conf"]
        includes = [f"Include {file}\n" for file in files if file != STOCK or os.path.exists(STOCK)]
        force = 'SecAction "id:900004,phase:1,nolog,pass,ctl:forceRequestBodyVariable=On"\n'
        self.reflect, self.phrases = reflect, phrases(crs)
        forgetting(os.path.abspath(crs), folder)
        rules = []
        for name, lines in (
            ("plain", includes), ("forced", includes[:-1] + [force] + includes[-1:]),
            ("forgetting", includes[:-1] + [f"Include {folder}/R*.conf\n"]),
        ):
            rules.append(os.path.join(folder, name + ".rules"))
            with open(rules[-1], "w") as file:
                file.writelines(lines)
        self.ours, self.forced = Engine(ours, rules[0]), Engine(ours, rules[1])
        self.oracle, self.forgetting = Engine(oracle, rules[0]), Engine(oracle, rules[2])

    def compare(self, request):
        """Both sets of ids, and what explains their difference without a change; None if nothing."""
        raw = request.raw()
        response = self.reflect(raw)
        ours, theirs = self.ours.ids(raw, response), self.oracle.ids(raw, response)
        why, shown = [], ours
        if ours != theirs and request.kind():
            forced = self.forced.ids(raw, response)
            if forced != ours and len(forced ^ theirs) < len(ours ^ theirs):
                why, shown = [WHOLE_BODY], forced
        if shown < theirs and self.forgetting.ids(raw, response) == shown:
            why, shown = why + [STALE_MATCHES], theirs
        if shown < theirs and is_repeated_chain(request, theirs - shown):
            why, shown = why + [REPEATED_CHAIN], theirs
        if theirs < shown and is_missed_phrase(request, shown - theirs, self.phrases):
            why, shown = why + [MISSED_PHRASE], theirs
        return ours, theirs, why if shown == theirs else None

    def explain(self, raw):
        ours, theirs, why = self.compare(Request(raw))
        if ours == theirs or why is not None:
            return ours, theirs, why or []
        found = ours | self.forced.ids(raw, self.reflect(raw))
        for count in range(1, len(CAUSES) + 1):
            for causes in itertools.combinations(CAUSES, count):
                request = Request(raw)
                if all(cause(request, found, theirs) for cause in causes):
                    more = self.compare(request)[2]
                    if more is not None:
                        return ours, theirs, [cause.__doc__ for cause in causes] + more
        return ours, theirs, None


def main():
    shared, count, seed, ours, oracle = sys.argv[1:]
    crs = os.path.join(shared, "crs4")
    sys.dont_write_bytecode = True
    sys.path.insert(0, crs)
    import crs_runner
    rng = random.Random(int(seed))
    raws = [crs_runner.build(test[3]) for test in crs_runner.load(os.path.join(crs, "tests"), None)]
    classes, differ, unexplained = collections.Counter(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        engines = Engines(ours, oracle, crs, folder, crs_runner.reflect)
        for _ in range(int(count)):
            raw = mutate(rng, rng.choice(raws))
            ours, theirs, why = engines.explain(raw)
            differ += ours != theirs
            if why is None:
                unexplained.append((raw, ours - theirs, theirs - ours))
            elif ours != theirs:
                classes["; ".join(why)] += 1
    print(f"seed {seed}: {count} requests, {differ} differ, {len(unexplained)} of them unexplained")
    for name, times in classes.most_common():
        print(f"{times:6} {name}")
    for raw, more, less in unexplained[:SHOWN]:
        print(f"\nonly ours {sorted(more)}, only the oracle's {sorted(less)}:\n{raw!r}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
