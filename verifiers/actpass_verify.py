#!/usr/bin/env python3
"""Verifies exported logs of ActPass as docs/evidence-format.md has it, with no code of ActPass: python3 actpass_verify.py FILE...
[--key FILE] [--anchor FILE]... [--output json]. Exit code: 0 valid, 1 unreadable, 2 incomplete, 3 invalid; of several the largest."""
import argparse, base64, functools, hashlib, json, re, sys
from datetime import datetime, timedelta, timezone
NOT_CHECKED = ["texts, which are encrypted where they are not disclosed, and decisions made again from them", "what bundles say, and limits: that permits are within them",
               "who may vote and whether enough did; facts; time, revocation and repeats of permits; order of pods, passports and bundles"]
WRONG = (ValueError, TypeError, LookupError, AttributeError, RecursionError)
sha256 = lambda *parts: hashlib.sha256(b"".join(parts)).digest()

# Ed25519 (RFC 8032): the equation without cofactor, R compared as bytes, neither key nor R of small order.
P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
def add(a, b):
    m, n, o, q = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0]), 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    return (n - m) * (q - o) % P, (q + o) * (n + m) % P, (q - o) * (q + o) % P, (n - m) * (n + m) % P

small = lambda a: (b := functools.reduce(lambda b, _: add(b, b), range(3), a))[0] == 0 and b[1] == b[2]

def point(data):
    """The point that 32 bytes stand for; none where there is none, or one of small order."""
    y = int.from_bytes(data, "little") % 2**255 % P
    u, v = y * y - 1, D * y * y + 1
    x = u * v**3 * pow(u * v**7, (P - 5) // 8, P) % P
    x = x if (v * x * x - u) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    x = x if x % 2 == (data[31:] or b"\0")[0] >> 7 else -x % P
    a = (x, y, 1, x * y % P)
    return a if len(data) == 32 and (v * x * x - u) % P == 0 and not small(a) else None

BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
@functools.lru_cache(None)
def signed(key, message, signature):
    a, s = point(key), int.from_bytes(signature[32:], "little")
    if not a or len(signature) != 64 or s >= L:
        return False
    k, a = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L, (-a[0] % P, a[1], 1, -a[3] % P)
    table, r = ((0, 1, 1, 0), BASE, a, add(BASE, a)), (0, 1, 1, 0)
    for bit in range(253, -1, -1):
        r = add(add(r, r), table[(s >> bit & 1) + 2 * (k >> bit & 1)])
    z = pow(r[2], -1, P)
    return (r[1] * z % P | r[0] * z % P % 2 << 255).to_bytes(32, "little") == signature[:32] and not small(r)

# Encodings, each in its one spelling.
def refuse(why):
    raise ValueError(why)

def unbase64(text, url=False):
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if url else base64.b64decode(text)
    again = base64.urlsafe_b64encode(data).decode().rstrip("=") if url else base64.b64encode(data).decode()
    return data if again == text else refuse("not base64 in its one spelling")

def parsed(data):
    integer = lambda text: int(text) if len(text) < 18 and abs(int(text)) < 2**53 else refuse("a number beyond 2^53-1")
    return json.loads(data.decode(), parse_float=refuse, parse_constant=refuse, parse_int=integer)

written = lambda value, sort=True: json.dumps(value, ensure_ascii=False, sort_keys=sort, separators=(",", ":")).encode()

def micros(text):
    of = text <= "9999-12-30T22:00:00.999999Z" and re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{6})Z", text)
    return (datetime(*map(int, of.groups()), tzinfo=timezone.utc) - datetime(1970, 1, 1, tzinfo=timezone.utc)) // timedelta(microseconds=1)

# Forms. NAME:KIND, or NAME?:KIND where it is left out if there is none; [KIND] is a list, {KIND} a map, =a,b one of these words.
CURRENCIES = re.findall("...", "USDEURGBPAEDAFNALLAMDAOAARSAUDAWGAZNBAMBBDBDTBMDBNDBOBBRLBSDBTNBWPBYNBZDCADCDFCHFCNYCOPCRCCUPCVECZKDKKDOPDZDEGP"
    "ERNETBFJDFKPGELGHSGIPGMDGTQGYDHKDHNLHTGHUFIDRILSINRIRRJMDKESKGSKHRKPWKYDKZTLAKLBPLKRLRDLSLMADMDLMGAMKDMMKMNTMOPMRUMURMVRMWKMXNMYRMZNNADNGN"
    "NIONOKNPRNZDPABPENPGKPHPPKRPLNQARRONRSDRUBSARSBDSCRSDGSEKSGDSHPSLESOSSRDSSPSTNSVCSYPSZLTHBTJSTMTTOPTRYTTDTWDTZSUAHUYUUZSVEDVESWSTXCDXCGYER"
    "ZARZMWZWGJPYKRWBIFCLPDJFGNFISKKMFPYGRWFUGXVNDVUVXAFXOFXPFBHDIQDJODKWDLYDOMRTND")
LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
TEXTS = {"text": "(?s:.*)", "hash": "[0-9a-f]{64}", "rule": "(?s:.*/.*)", "capability": r"(?=.{1,128}$)[a-z0-9_-]+(\.[a-z0-9_-]+)+",
         "host": rf"(?=.{{1,253}}$)(?:{LABEL}\.)*(?!(?:[0-9]+|0x[0-9a-f]*)$){LABEL}", "minor": "0|-?[1-9][0-9]{0,18}", "salt": "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]",
         "currency": "|".join(CURRENCIES), "unit": "|".join(["Count", *CURRENCIES])}
NUMBERS = {"u16": (0, 2**16), "u32": (0, 2**32), "count": (0, 2**53), "int": (1 - 2**53, 2**53)}
JUDGED = ("action?:action bundle:hash containment:=network_only,pod,cooperative count:count detail?:text enforced?:no reason?:text "
          "refusal?:refusal rules?:[rule] shadow?:[shadow] verdict:text")
FORMS = {name: [part.split(":", 1) for part in form.split()] for name, form in {
    "leaf": "d?:ruling h:header r:entry s?:text v:=actpass.leaf/1", "header": "log:text prev:hash seq:count time:time",
    "record": "body:any kind:text prev:hash seq:count stream:hash time:time v:text", "event": "body:any kind:text v:text",
    "ruling": "verdict:=permit,escalate,deny,recorded reason?:text detail?:text rules?:[rule] shadow?:[shadow] digest?:hash resource?:hash subject?:hash "
    "facts?:facts reservations?:[reservation] limit?:left approval?:approval credential?:credential obligations?:obligations "
    "not_after?:time settles?:settlement late?:yes would?:=permit,escalate,deny,recorded", "shadow": "policy:text would:text rules:[rule]",
    "facts": "used:[int] precedents:int first_seen_resource:bool recent_denies:int", "credential": "name:text version:count",
    "reservation": "limit:count meter:text unit:unit amount:int", "obligations": "max_response_bytes:count|null",
    "left": "meter:text unit:unit max:int used:int asked:int frees_at:time|null window?:window", "sliding": "seconds:u32",
    "approval.asked": "state:text id:text needed:needed asked_by:text expires:time", "approval.pending": "state:text id:text",
    "approval.used": "state:text id:text", "seat": "groups:[text] quorum:u32 expires_after_seconds:u32 hold_seconds:u32",
    "needed": "seats:[seat] because:=required_by_rule,irreversible,limit_exceeded over_limits:[left]", "fault": "fact:text problem:=missing,not_positive,not_exact,wrong_unit",
    "settlement": "result:=ok,failed,not_sent,ambiguous released:bool approval_returned?:text", "refusal": "code:text target:text",
    "record.decision": JUDGED, "record.intent": JUDGED, "record.note": "note:text text:text",
    "record.outcome": "of:count result:=ok,failed,not_sent,ambiguous status?:u16 detail?:text micros:count response_bytes:count",
    "action": "agent:text amount?:money attributes?:{scalar} body_bytes:count capability:capability commitments:{hash} effect:=Read,Write,Irreversible "
    "environment?:text fault?:fault host:host meters?:[meter] method:text passport:text path_template:text port:u16 tenant:text upstream:text",
    "meter": "name:text unit:unit amount:int", "money": "currency:currency minor:minor", "revision": "term:count count:count",
    "event.genesis": "origin:text log_key:text issuer_keys:{text}", "event.keys": "issuer_keys:{text} vote_keys:{text}",
    "event.log_key": "key:text by:text", "event.texts_disclosed": "leaves:[range] by:text", "range": "first:count last:count",
    "event.bundle": "digest:hash revision?:revision", "event.stream_ended": "stream:hash how:=closed,expired_tail_known,expired_tail_unknown",
    "event.stream_opened": "stream:hash key:text passport:text agent:text jti:text expires:time issuer?:text pod_uid?:text",
    "event.sealed": "approval:text stream:hash seq:count blob:hash bytes:count", "event.recovery": "bytes:count", "head": "root:hash size:count",
    "event.gap": "size:count root:hash lost?:[head] limits:=used_up,as_logged by:text why:text",
    "event.erasure": "id:text subject?:hash generation?:count before?:time by:text why:text",
    "event.vote": "approval:text grant:bool user:text groups:[text] signed?:stamped", "stamped": "key_id:text signature:text vote:stamp",
    "stamp": "approval_uid:text digest:text grant:bool groups:[text] time:time user:text", "event.revoked": "passport:text by:text why:text",
    "event.leased": "stream:hash upstream:text credential:text version:count expires:time",
    "event.credential_released": "stream:hash seq:count credential:text", "event.resolved": "stream:hash seq:count happened:bool by:text",
    "event.credential_changed": "credential:text version:count change:text by:text", "disclosed": "openings:{opening} seq:count", "opening": "salt:salt text:text",
}.items()}

def fits(value, kind):
    if kind in ("any", "yes", "no", "bool"):
        return kind == "any" or value is True and kind != "no" or value is False and kind != "yes"
    if kind in TEXTS:
        return isinstance(value, str) and bool(re.fullmatch(TEXTS[kind], value)) and (kind != "minor" or -2**63 <= int(value) < 2**63)
    if kind in NUMBERS:
        return type(value) is int and NUMBERS[kind][0] <= value < NUMBERS[kind][1]
    if kind[0] in "[{":
        names = value if kind[0] == "{" else {}
        return isinstance(value, dict if kind[0] == "{" else list) and all(fits(it, kind[1:-1]) for it in (names or {}).values() or value) and \
            all(re.fullmatch(r"[ !#-\[\]-~]*", name) for name in names)
    match kind:
        case "scalar": return isinstance(value, str | bool) or fits(value, "int")
        case "time": return micros(value) is not None
        case "approval": return (of := f"approval.{value['state']}") in FORMS and fits(value, of)
        case "window": return value in ({"Calendar": "Day"}, {"Calendar": "Month"}) or list(value) == ["Sliding"] and fits(value["Sliding"], "sliding")
        case "entry": return any(value["v"] == f"actpass.{of}/1" and fits(value, of) and (body := f"{of}.{value['kind']}") in FORMS and
                                 fits(value["body"], body) for of in ("record", "event"))
    if kind[0] == "=" or kind.endswith("|null"):
        return isinstance(value, str) and value in kind[1:].split(",") if kind[0] == "=" else value is None or fits(value, kind[:-5])
    names = {name.rstrip("?"): (of, name[-1] == "?") for name, of in FORMS[kind]}
    there = lambda name, of, may_lack: fits(value[name], of) and not (may_lack and value[name] in ([], {})) if name in value else may_lack
    return isinstance(value, dict) and value.keys() <= names.keys() and all(there(name, *of) for name, of in names.items())

def read_leaf(line):
    leaf = parsed(line) if len(line) <= 32768 else refuse("too long")
    kept = all(len(re.sub(rb"\\(.)", rb"\1", it)) <= 1024 for it in re.findall(rb'"((?:[^"\\]|\\.)*)"', line)) and written(leaf) == line and fits(leaf, "leaf") and (leaf["r"]["v"] == "actpass.record/1") == ("d" in leaf) and not ("s" in leaf and "d" not in leaf)
    return leaf if kept else refuse("not the canonical form of one")

# Checkpoints (C2SP signed-note, tlog-checkpoint), and the tree (RFC 6962): its size and its complete subtrees, largest first.
NAME = r"[^\s+\x00-\x1f\x7f-\x9f]+"
key_hash = lambda name, key: sha256(name.encode(), b"\n\1", key)[:4]
def verifier(text):
    name, short, typed = text.split("+", 2)
    key = unbase64(typed)
    sound = re.fullmatch(NAME, name) and key[:1] == b"\1" and point(key[1:]) and key_hash(name, key[1:]).hex() == short
    return (name, key[1:]) if sound else refuse("not a verifier key")

def opened(note, keys):
    """Size and root of a checkpoint that one of these keys signed, once, and which: the last that has a line. Lines by others (witnesses) are passed over."""
    text, _, rest = note.rpartition("\n\n")
    lines = [(name, payload, unbase64(payload)) for name, payload in re.findall(f"\u2014 ({NAME}) ([^ \n]+)\n", rest)]
    if len(note.encode()) > 8192 or re.search(r"[\0-\x09\x0b-\x1f\x7f]", note) or len(lines) > 16 or \
            "".join(f"\u2014 {name} {payload}\n" for name, payload, _ in lines) != rest or any(len(data) < 5 for *_, data in lines):
        refuse("no signed note")
    own = [[data[4:] for name, _, data in lines if (name, data[:4]) == (key[0], key_hash(*key))] for key in keys]
    by = max([by for by, lines in enumerate(own) if lines] or refuse("not signed by the key, or none is known"))
    origin, size, root = text.split("\n") if len(own[by]) == 1 and signed(keys[by][1], (text + "\n").encode(), own[by][0]) else refuse("wrongly signed")
    sound = origin == keys[by][0] and re.fullmatch("0|[1-9][0-9]{0,19}", size) and int(size) < 2**64 and len(unbase64(root)) == 32
    return (int(size), unbase64(root), by) if sound else refuse("no checkpoint of this log")

claimed = lambda note: int(size[1]) if (size := re.match("[^\n]*\n([0-9]{1,99})(\n|$)", note)) and int(size[1]) < 2**64 else 0

def pushed(tree, leaf):
    size, parts = tree
    while size % 2:
        leaf, parts, size = sha256(b"\1", parts[-1], leaf), parts[:-1], size // 2
    return tree[0] + 1, parts + (leaf,)

root = lambda tree: functools.reduce(lambda right, left: sha256(b"\1", left, right), reversed(tree[1])) if tree[1] else sha256()

class Log:
    """A log, leaf by leaf. The first thing found at a leaf stands; the first bad leaf is the lowest that has one."""
    def __init__(self, name, notes, blobs, given):
        self.name, self.notes, self.blobs, self.given, self.origin = name, sorted((claimed(note), of, note) for of, note in notes), blobs, given, None
        self.findings, self.gaps, self.roots, self.streams, self.signed_to, self.opened = {}, {}, {}, {}, 0, 0
        self.tree, self.before, self.keys, self.since, self.lost, self.passed = (0, ()), (0, ()), [given] * bool(given), [0], {}, []
        self.find, self.open, self.used, self.asked, self.votes, self.erased, self.last, self.time, self.suspicion = self.findings.setdefault, {}, {}, {}, {}, {}, None, None, None

    def key(self, seq, log, r, body):
        """The first leaf names the log and its key, and each key signs for the next."""
        named = verifier(body["log_key" if seq == 0 else "key"])
        wrong = not named[0] == log == (body["origin"] if r["kind"] == "genesis" else self.keys[0][0]) or named in self.keys[seq == 0:] or len(self.keys) > 255
        wrong = wrong or seq and not signed(self.keys[-1][1], b"actpass.log_key/1\0" + body["key"].encode(), unbase64(body["by"], url=True))
        self.keys = refuse("names a key of another log, or one that does not follow") if wrong else self.keys * (seq > 0) + [named]
        self.since += [seq + 1] * (seq > 0)

    def heads(self, size=2**64):
        """What was signed over at most so many leaves: each with the key in force then, but with any and at the end what a gap names."""
        while self.notes and self.notes[0][0] <= size:
            _, of, note = self.notes.pop(0)
            try:
                leaf = self.lost.get(tuple(note.split("\n")[1:3])) if of == "anchor" else None
                of_size, found, by = opened(note, self.keys if leaf else self.keys[-1:])
                self.passed.append((max(leaf + 1, self.since[by]), of_size, found)) if leaf else self.roots.setdefault(of_size, []).append(found)
                self.signed_to = max(self.signed_to, of_size if of == "checkpoint" and self.given in [None, *self.keys] else 0)
            except WRONG as why:
                self.find(max(claimed(note) - 1, 0), f"the {of} over it cannot be believed: {why}")

    def leaf(self, line, openings):
        seq, hashed, leaf = self.tree[0], sha256(b"\0", line), None
        try:
            leaf = read_leaf(line)
            self.origin = self.origin if seq else (self.given or [leaf["h"]["log"]])[0]
            seq and leaf["r"]["kind"] != "log_key" or self.key(seq, leaf["h"]["log"], leaf["r"], leaf["r"]["body"])
        except WRONG as why:
            self.find(seq, f"is not a leaf, or names no log and key that can follow: {why}")
            self.suspicion = leaf and self.suspicion
        leaf and self.place(seq, leaf["h"], leaf["r"]["kind"])
        leaf and leaf["r"]["kind"] == "gap" and not self.findings and self.gap(seq, leaf["r"]["body"])
        self.before, self.tree, self.last = self.tree, pushed(self.tree, hashed), hashed
        self.heads(seq + 1)
        self.suspicion = self.suspicion and (self.suspicion[0], pushed(self.suspicion[1], hashed))
        if not self.suspicion and not self.findings and any(found != root(self.tree) for found in self.roots.get(seq + 1, [])):
            self.find(seq, "or one before it was rewritten: the root is not the one that was signed")
        try:  # What a leaf says counts only where it and all before it are what was logged.
            if not self.findings:
                self.stream(leaf, leaf["r"], leaf["r"]["body"])
                self.beside(seq, leaf["r"], leaf["r"]["body"], leaf.get("d", {}), openings)
                self.state(seq, leaf["r"], leaf["r"]["body"], leaf.get("d", {}))
        except WRONG as why:
            self.find(seq, str(why))

    def place(self, seq, h, kind):
        (h["log"] != self.origin or h["seq"] != seq or seq and kind == "genesis") and self.find(seq, "belongs to another log or another place")
        follows = h["prev"] == (self.last or sha256(b"actpass-genesis-v1\0", h["log"].encode())).hex()
        self.resolve(follows)
        seq or follows or self.find(0, "does not follow from its origin")
        if not follows and not {seq, seq - 1} & self.findings.keys():
            self.suspicion = seq, pushed(self.before, bytes.fromhex(h["prev"]))
        follows and self.time and h["time"] <= self.time and self.find(seq, "is not later than the leaf before it")
        self.time = h["time"]

    def gap(self, seq, body):
        """Part of the log is lost: whatever was open is over, and anchors are passed over that a signed gap names."""
        lost, sizes = [(it["size"], it["root"]) for it in body.get("lost", [])], [it["size"] for it in body.get("lost", [])]
        if (body["size"], body["root"]) != (seq, root(self.tree).hex()) or [seq, *sizes] != sorted({seq, *sizes}) or len(sizes) > 16:
            self.find(seq, "says that part of the log is lost after other leaves than those before it, or others than can be")
        self.lost = {(str(of), base64.b64encode(bytes.fromhex(it)).decode()): seq for of, it in lost} | self.lost
        self.notes = sorted((2**64 if of == "anchor" and tuple(note.split("\n")[1:3]) in self.lost else at, of, note) for at, of, note in self.notes)
        self.gaps[seq], self.open, self.asked = f"what was logged after the first {seq} leaves is lost, as leaf {seq} says", {}, {}
        self.streams = {name: stream | {"ended": True} for name, stream in self.streams.items()}

    def resolve(self, before):  # A broken link: its own `prev` was changed, or the leaf before it, where what follows fits that.
        self.suspicion and self.find(self.suspicion[0] - before, "was changed, or does not follow the leaf before it")
        self.suspicion = None

    def stream(self, leaf, r, body):
        name = r.get("stream") or body.get("stream")
        if r["kind"] == "stream_opened":
            (not point(key := unbase64(body["key"], url=True)) or sha256(key).hex() != name) and refuse("opens a stream under a key that is not its own")
            self.streams.setdefault(name, {"key": key, "next": 0, "head": bytes(32), "unsigned": None, "ended": False})
        elif r["kind"] == "stream_ended":
            self.streams[name]["ended"] = True
        elif "d" in leaf:
            stream = self.streams[name]
            (stream["ended"] or (r["seq"], r["prev"]) != (stream["next"], stream["head"].hex()) or len(written(r)) > 24576) and refuse("does not continue a stream that is open")
            stream["next"], stream["head"] = r["seq"] + 1, sha256(b"actpass.record/1\0", written(r))
            batch = b"actpass.batch/1\0" + name.encode() + b"\0" + stream["head"]
            "s" in leaf and not signed(stream["key"], batch, unbase64(leaf["s"], url=True)) and refuse("its batch signature does not fit")
            stream["unsigned"] = None if "s" in leaf else stream["unsigned"] or leaf["h"]["seq"]

    def beside(self, seq, r, body, d, openings):
        """What lies beside a leaf, and salts and texts that are disclosed of it: it commits to each of them."""
        kind, blob = r["kind"], lambda text: self.blobs.get(sha256(text.encode()).hex())
        fit = openings and all(sha256(unbase64(it["salt"], url=True), it["text"].encode()).hex() == body["action"]["commitments"][name] for name, it in openings.items())
        self.opened += openings is not None and (fit or refuse("the texts disclosed of it are not those it commits to"))
        if kind == "sealed" and sha256(kept := blob(f"actpass.sealed/1\n{body['approval']}") or b"").hex() != body["blob"]:
            self.gaps.setdefault("requests", f"the request that leaf {seq} says is kept is not there")
            kept and refuse("the request kept for its approval is not the one whose digest it names")
        denied = d.get("reason") == "not_revealed" and (d["verdict"] == "deny" if kind == "intent" else "enforced" in body)
        if kind in ("intent", "decision") and "action" in body and not denied:
            if body["action"]["commitments"] and blob(f"actpass.side/1\n{self.name}\n{seq}") is None:
                self.gaps.setdefault("texts", f"texts that leaves commit to are not there, first those of leaf {seq}")
            elif kind == "intent" and not body["action"]["commitments"]:
                refuse("asks for an action that it does not commit to")

    def state(self, seq, r, body, d):
        """Of what leaves claim: a bundle is the one named, an outcome settles once, a grant is used once, a stamp is a vote key's."""
        at, used, kind = (r.get("stream"), body.get("of", r.get("seq"))), d.get("approval", {}), r["kind"]
        if kind == "bundle" and sha256(self.blobs.get(body["digest"], b"")).hex() != body["digest"]:
            self.gaps["bundle"] = f"bundle {body['digest']} is not at hand: what leaves claim from there on is not checked"
            body["digest"] in self.blobs and refuse("the bytes kept for its bundle are not that bundle")
        if "bundle" in self.gaps:
            return
        self.votes = body["vote_keys"] if kind == "keys" else self.votes
        if kind == "vote" and (self.votes or "signed" in body):
            stamp = body["signed"]
            said, key = stamp["vote"], unbase64(self.votes[stamp["key_id"]], url=True)
            sound = signed(key, b"actpass.vote/1\0" + written(said), unbase64(stamp["signature"], url=True))
            if not sound or (said["user"], said["grant"], said["digest"]) != (body["user"], body["grant"], self.asked[body["approval"]][0]):
                refuse("its vote is not what a key that the log names has stamped")
        self.asked |= {used["id"]: (d["digest"], d.get("subject"), self.time)} if used.get("state") == "asked" else {}
        if d.get("verdict") == "permit":
            if used and (used["state"] != "used" or self.asked[used["id"]][0] != d["digest"] or used["id"] in self.used.values()):
                refuse("uses a grant that was not asked for, or was used")
            self.open[at], self.used[at] = used.get("id"), used.get("id", at)
        if kind == "erasure":
            month, of = body.get("before", ""), "before" if "before" in body else "generation"
            ((month == "") != ("subject" in body) or (month == "") != ("generation" in body) or (body["id"],) in self.erased or of in self.erased and
             body[of] <= self.erased[of] or month > self.time or month[8:] not in ("", "01T00:00:00.000000Z")) and refuse("erases neither a subject nor months, or anew")
            self.erased |= {of: body[of], (body["id"],): None}  # What was asked about these is over.
            self.asked = {each: it for each, it in self.asked.items() if it[2] >= month and it[1] != body.get("subject", "")}
        if kind == "outcome":
            result = body["result"]
            back = {"approval_returned": self.open[at]} if self.open.get(at) and result == "not_sent" else {}
            if d.get("settles") != ({"result": result, "released": result in ("not_sent", "failed")} | back if at in self.open else None):
                refuse("settles what is settled, or something else")
            self.open.pop(at, None)
            self.used.pop(at if back else None, None)
        if kind == "stream_ended" or kind == "note" and body["note"] == "restarted":
            self.open = {each: grant for each, grant in self.open.items() if each[0] != r.get("stream", body.get("stream"))}

    def end(self):
        size = self.heads() or self.tree[0]
        self.given in [None, *self.keys] or self.find(0, "names another key than the one given, and none that follows is that one")
        for _, at, found in [it for it in self.passed if it[0] > self.signed_to]:
            self.roots.setdefault(at, []).append(found) if at > size else self.find(at - 1, "has another root than an anchor, and nothing signed says that it is lost")
        self.suspicion and self.resolve(all(found == root(self.suspicion[1]) for found in self.roots.get(self.suspicion[1][0], [])))
        max(self.roots, default=0) > size and self.find(size, f"is missing: the log was seen with {max(self.roots)} leaves")
        self.gaps |= {"head": f"no signed checkpoint covers leaf {self.signed_to} and what follows" if size else "the log has no leaves"} if not size or self.signed_to < size else {}
        self.gaps |= {name: f"no batch signature covers the last records of stream {name}" for name, stream in self.streams.items() if stream["unsigned"]}

# Exported files, and what is known of them from elsewhere.
NO_LEAF = b'{"blob":', b'{"disclosed":', b'{"checkpoint":'
def spelled(line, *names, sort=False):
    value = parsed(line)
    return value if list(value) == list(names) and written(value, sort) == line else refuse("another spelling")

def read(data):
    """The first line, the checkpoint, blobs by name, leaves with what is disclosed of each, and where lines begin that are wrong."""
    first, last, blobs, leaves, wrong, at, summed, opened = None, None, {}, [], [], 0, hashlib.sha256(), None
    while (end := data.find(b"\n", at, at + (2 << 20))) >= 0:
        line = data[at:end]
        wrong.extend([at] if last is not None or opened is not None and line.startswith(NO_LEAF) else [])
        try:
            if at == 0:
                version, count, name, key = (first := spelled(line, "export", "leaves", "log", "key")).values()
                first = first if version == "actpass.export/1" and fits(count, "count") and fits([name, key], "[text]") else None
            elif line.startswith(NO_LEAF[0]):
                of = spelled(line, "blob")["blob"]
                sound = list(of) == ["bytes", "kind", "name"] and of["kind"] in ("side_frame", "sealed", "bundle") and fits(of["name"], "hash")
                blobs[of["name"]] = unbase64(of["bytes"]) if sound else refuse("no blob")
            elif line.startswith(NO_LEAF[1]):
                it = spelled(line, "disclosed", sort=True)["disclosed"]
                opened = it["openings"] if fits(it, "disclosed") and it["seq"] == len(leaves) else refuse("discloses nothing of the next leaf")
            elif line.startswith(NO_LEAF[2]):
                it = spelled(line, "checkpoint", "sha256")
                last = it["checkpoint"] if fits([it["checkpoint"], it["sha256"]], "[text]") else refuse("no last line")
                (it["sha256"] != summed.hexdigest() or first and first["leaves"] != len(leaves)) and refuse("another sum, or another number of leaves")
            else:
                opened, _ = None, leaves.append((line, opened))
        except WRONG:
            wrong.append(at)
        at, _ = end + 1, summed.update(line + b"\n")
    return first, last, blobs, leaves, wrong + ([at] if last is not None and at < len(data) else [])

def verified(path, key, anchors):
    first, last, blobs, leaves, wrong = read(open(path, "rb").read())
    if not first:
        return {"class": "invalid", "damaged": 0, "findings": [], "gaps": [], "missing": []}
    name, of = first["log"], [note.split("\n")[0].removesuffix("\r") for note in anchors]
    missing = [other for other in of + ([key[0]] if key and key[0] else []) if other != name]
    notes = [("checkpoint", last)] * (last is not None) + [("anchor", note) for note, log in zip(anchors, of) if log == name]
    log = Log(name, notes, blobs, (name, key[1]) if key and key[0] in (None, name) else None)
    for line, openings in leaves:
        log.leaf(line, openings)
    log.end()
    wrong = wrong or ([0] if log.origin not in (None, name) else [])
    gaps = list(log.gaps.values()) + ([] if last is not None else ["its end: it was cut off"])
    return {"class": "invalid" if log.findings or wrong or missing else "incomplete" if gaps else "valid", "log": name, "leaves": len(leaves), "disclosed": log.opened,
            "damaged": wrong[0] if wrong else None, "findings": [{"leaf": seq, "what": what} for seq, what in sorted(log.findings.items())],
            "gaps": gaps, "missing": missing}

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, options in {"file": {"nargs": "+"}, "--key": {}, "--anchor": {"action": "append", "default": []}, "--output": {"choices": ["text", "json"]}}.items():
        parser.add_argument(name, **options)
    try:
        args = parser.parse_args()
        words = [line.split() for line in open(args.key, encoding="utf-8") if line.strip()] if args.key else None
        key = words and (verifier(words[0][0]) if "+" in words[0][0] else (None, unbase64(words[0][0], url=True)))
        notes = [re.findall("(?:(?!\u2014).*\n)*(?:\u2014.*\n?)+", open(path, encoding="utf-8").read()) for path in args.anchor]
        (words is not None and len(words) != 1 or key and ("ended" in words[0] or not point(key[1])) or [] in notes) and refuse("not one Ed25519 public key that counts, or no signed checkpoint")
        answers = [{"file": path} | verified(path, key, sum(notes, [])) for path in args.file]
    except (SystemExit, OSError, ValueError) as why:
        print(f"actpass_verify: {why}", file=sys.stderr)
        return 1 if str(why) != "0" else 0
    for it in answers:
        lines = [f"leaf {each['leaf']}: {each['what']}" for each in it["findings"]] + [f"log {log} is not here" for log in it["missing"]]
        lines += [f"line at byte {it['damaged']} is damaged"] * (it["damaged"] is not None) + [f"not checked: {gap}" for gap in it["gaps"] + NOT_CHECKED]
        print(json.dumps(it | {"not_checked": NOT_CHECKED}) if args.output == "json" else "\n  ".join([f"{it['class'].upper()}: {it['file']}", *lines]))
    return max({"valid": 0, "incomplete": 2, "invalid": 3}[it["class"]] for it in answers)

if __name__ == "__main__":
    sys.exit(main())
